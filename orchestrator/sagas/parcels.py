"""The parcels of an order: one from each location of its stock; what is given back of those refused (S31).

Pure functions of an order and the results of its saga, and the stages that are made of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from contracts.commands import ClaimUnshipped, ItemQuantity, RefundUnshipped, VoidRemainder
from contracts.events import PaymentPartlyRefundedEvent, RefundClaimedEvent, RemainderVoidedEvent
from contracts.limits import DEFAULT_LOCATION
from contracts.orders import AcceptedOrder
from contracts.routing import PAYMENT
from orchestrator.core.definition import ForEach, Results, Step, StepKind, StepPolicy

PARCELS: Final = "parcels"
"""The for-each whose branches are the parcels; the items are as `parcels_of` gives them."""

RESERVE: Final = "reserve"
AUTHORIZE: Final = "authorize"
CHARGE: Final = "charge"
"""Steps whose results are read here."""

Parcel = Mapping[str, Any]
"""``location``, and ``lines``, each with ``sku`` and ``quantity``."""


def parcels_of(order: AcceptedOrder, results: Results) -> list[Parcel]:
    """What is to be shipped from where: what was taken, by location in the order of their names."""
    taken = results.get(RESERVE, {}).get("taken") or [
        {"sku": line.sku, "quantity": line.quantity} for line in order.lines
    ]
    found: dict[str, list[Mapping[str, Any]]] = {}
    for line in taken:
        inside = {"sku": line["sku"], "quantity": line["quantity"]}
        found.setdefault(line.get("location") or DEFAULT_LOCATION, []).append(inside)
    return [{"location": location, "lines": found[location]} for location in sorted(found)]


def items_of(parcels: Iterable[Parcel]) -> tuple[ItemQuantity, ...]:
    """Their lines, each with where it is from."""
    return tuple(
        ItemQuantity(
            sku=line["sku"],
            quantity=line["quantity"],
            location=None if parcel["location"] == DEFAULT_LOCATION else parcel["location"],
        )
        for parcel in parcels
        for line in parcel["lines"]
    )


def shipped_parcels(results: Results) -> list[Parcel]:
    """Those that are with the carrier."""
    return list(_parcels(results, "succeeded"))


def refused_parcels(results: Results) -> list[Parcel]:
    """Those that the carrier did not take, and that will not leave any more."""
    return list(_parcels(results, "rejected"))


def _parcels(results: Results, outcome: str) -> Iterator[Parcel]:
    return (each["item"] for each in results.get(PARCELS, ()) if each["outcome"] == outcome)


def pieces_in(parcels: Iterable[Parcel]) -> Counter[str]:
    """How many of each product."""
    found: Counter[str] = Counter()
    for line in (line for parcel in parcels for line in parcel["lines"]):
        found[line["sku"]] += line["quantity"]
    return found


def together(parcels: Iterable[Parcel]) -> tuple[ItemQuantity, ...]:
    """Their lines, each product once, wherever it is from."""
    return tuple(ItemQuantity(sku=sku, quantity=count) for sku, count in pieces_in(parcels).items())


def prices(order: AcceptedOrder) -> Mapping[str, int]:
    """What a piece of each product is worth; the lower of two prices, which no order of today has."""
    found: dict[str, int] = {}
    for line in order.lines:
        found[line.sku] = min(line.unit_price, found.get(line.sku, line.unit_price))
    return found


def unshipped_worth(order: AcceptedOrder, results: Results) -> int:
    """The price of what could not be shipped, in minor units."""
    of = prices(order)
    return sum(of[sku] * count for sku, count in pieces_in(refused_parcels(results)).items())


def shipped_worth(order: AcceptedOrder, results: Results) -> int:
    """The price of what was shipped: all that is kept in the end."""
    return order.total - unshipped_worth(order, results)


def to_commit(order: AcceptedOrder, results: Results) -> Mapping[str, Any]:
    """Nothing is said of an order that was shipped whole."""
    whole = not refused_parcels(results)
    return {} if whole else {"shipped": items_of(shipped_parcels(results))}


def ends_as(order: AcceptedOrder, results: Results) -> str:
    """`ENDS`, by what was shipped."""
    return ENDS[1] if refused_parcels(results) else ENDS[0]


ENDS: Final = ("completed", "partially_fulfilled")


def told_of_a_part(order: AcceptedOrder, results: Results) -> Mapping[str, Any]:
    """The fields of an `OrderPartiallyFulfilledEvent`."""
    return {
        "shipped": together(shipped_parcels(results)),
        "not_shipped": together(refused_parcels(results)),
        "amount": shipped_worth(order, results),
        "currency": order.currency,
    }


def shipping(ship: Step) -> ForEach:
    """The parcels, side by side: the order turns round where none of them leaves (S22)."""
    return ForEach(PARCELS, parcels_of, ship)


def refunding(policy: StepPolicy) -> tuple[ForEach, ...]:
    """Of an order that was charged: what could not be shipped is claimed, and refunded."""
    claim = Step(
        name="claim_unshipped",
        participant=PAYMENT,
        kind=StepKind.RETRIABLE,
        command=ClaimUnshipped,
        arguments=_to_refund,
        success=RefundClaimedEvent,
        policy=policy,
    )
    refund = Step(
        name="refund_unshipped",
        participant=PAYMENT,
        kind=StepKind.RETRIABLE,
        command=RefundUnshipped,
        arguments=_to_refund,
        success=PaymentPartlyRefundedEvent,
        keeps=("amount", "reference"),
        policy=policy,
    )
    return ForEach("unshipped_claims", _unshipped, claim), ForEach("unshipped_refunds", _unshipped, refund)


def voiding(policy: StepPolicy) -> ForEach:
    """Of an order whose money was set aside: what was not captured is set aside no more."""
    void = Step(
        name="void_remainder",
        participant=PAYMENT,
        kind=StepKind.RETRIABLE,
        command=VoidRemainder,
        arguments=_to_void,
        success=RemainderVoidedEvent,
        keeps=("amount", "reference"),
        policy=policy,
    )
    return ForEach("remainders", _unshipped, void)


def _unshipped(order: AcceptedOrder, results: Results) -> list[int]:
    """What is to be given back, if there is anything."""
    worth = unshipped_worth(order, results)
    return [worth] if worth else []


def _to_refund(order: AcceptedOrder, results: Results, amount: int) -> Mapping[str, Any]:
    return {
        "charge": results[CHARGE]["reference"],
        "charged": order.total,
        "amount": amount,
        "currency": order.currency,
    }


def _to_void(order: AcceptedOrder, results: Results, amount: int) -> Mapping[str, Any]:
    return {
        "authorization": results[AUTHORIZE]["reference"],
        "amount": amount,
        "currency": order.currency,
    }
