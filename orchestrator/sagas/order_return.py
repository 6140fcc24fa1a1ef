"""The return of an order: claim its money, wait for the goods, refund a part, take the goods in (S28).

It follows the order's saga: what it is worth is worked out from the order as it was accepted, while that is
locked, so that no two returns are of the same goods. Until the goods are there it can be cancelled, and when
they do not come it ends by itself; both give the claim up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from contracts.commands import ClaimRefund, ItemQuantity, RefundPart, ReleaseRefundClaim, RestockItems
from contracts.currencies import format_amount
from contracts.events import (
    ItemsRestockedEvent,
    PartialRefundRejectedEvent,
    PaymentPartlyRefundedEvent,
    RefundClaimedEvent,
    RefundClaimRejectedEvent,
    RefundClaimReleasedEvent,
    ReturnCancelledEvent,
    ReturnCompletedEvent,
    ReturnRejectedEvent,
    ReturnRequestedEvent,
)
from contracts.examples import RETURN
from contracts.orders import AcceptedOrder
from contracts.returns import (
    ORDER_KEY,
    AcceptedReturn,
    AcceptedReturnLine,
    Disposition,
    GoodsReceived,
    Return,
)
from contracts.routing import INVENTORY, PAYMENT
from orchestrator.core.definition import (
    Announcement,
    Compensation,
    Labels,
    Results,
    SagaDefinition,
    SignalledBy,
    Step,
    StepKind,
    StepPolicy,
    Wait,
    step_name,
)
from orchestrator.core.following import Earlier, Follower, Follows, NotFollowed
from orchestrator.sagas.order_fulfillment import NAME as ORDERS
from orchestrator.sagas.order_fulfillment import SHIP, OrderStatus
from orchestrator.sagas.parcels import (
    PARCELS,
    Parcel,
    items_of,
    parcels_of,
    pieces_in,
    prices,
    shipped_parcels,
    shipped_worth,
)

NAME: Final = "order_return"

GOODS_RECEIVED: Final = "goods_received"
"""The wait for the goods, and the warehouse's signal that they are there."""

DAYS_30_S: Final = 30 * 24 * 3600.0

LABELS: Final = Labels(started="requested", completed="returned", rejected_as={"wait_deadline": "expired"})

_RETURNABLE: Final = (OrderStatus.SHIPPED, OrderStatus.COMPLETED, OrderStatus.PARTIALLY_FULFILLED)

_PAID_BY: Final = ("capture", "charge")
"""The steps whose result names the payment, in the order of preference."""


def accepted_return(asked: Return, order: Earlier, others: Sequence[Follower]) -> AcceptedReturn:
    """The return that is asked for, at the prices of the order.

    Raises:
        NotFollowed: the order was not shipped, does not have these goods, or they are in other returns.
    """
    if order.label not in _RETURNABLE:
        raise NotFollowed("not_shipped", f"The order is {order.label}: nothing of it can come back.")
    charge, step = _payment_of(order)
    results = {PARCELS: [each for name, each in order.results.items() if step_name(name) == SHIP != name]}
    shipped = shipped_parcels(results) or parcels_of(order.given, {})
    _check_quantities(asked, order.given, pieces_in(shipped), others)
    worth = prices(order.given)
    lines = tuple(
        AcceptedReturnLine(sku=sku, quantity=quantity, unit_price=worth[sku], location=location)
        for sku, location, quantity in _places(asked, shipped, others)
    )
    return AcceptedReturn(
        order_id=order.subject_id,
        lines=lines,
        reason=asked.reason,
        currency=order.given.currency,
        charge=charge,
        charged=shipped_worth(order.given, results) if step == "capture" else order.given.total,
    )


def _payment_of(order: Earlier) -> tuple[str, str]:
    """The gateway's name for the payment, and the step that made it."""
    for step in _PAID_BY:
        reference = order.results.get(step, {}).get("reference")
        if isinstance(reference, str):
            return reference, step
    detail = "By which payment the order was paid is not known here, so nothing can be given back."
    raise NotFollowed("payment_unknown", detail)


def _check_quantities(
    asked: Return, order: AcceptedOrder, shipped: Mapping[str, int], others: Sequence[Follower]
) -> None:
    ordered = _quantities(order)
    for line in asked.lines:
        if line.sku not in ordered:
            raise NotFollowed("not_ordered", f"The order has no {line.sku}.", sku=line.sku)
        sent = shipped.get(line.sku, 0)
        holding = [each for each in others if line.sku in _quantities(each.given)]
        left = sent - sum(_quantities(each.given)[line.sku] for each in holding)
        if line.quantity <= left:
            continue
        if not holding and sent < ordered[line.sku]:
            detail = f"{sent} of {line.sku} were shipped, {line.quantity} are to come back."
            raise NotFollowed("not_shipped", detail, sku=line.sku)
        if not holding:
            detail = f"{ordered[line.sku]} of {line.sku} were ordered, {line.quantity} are to come back."
            raise NotFollowed("more_than_ordered", detail, sku=line.sku)
        detail = f"{left} of {line.sku} can still come back: the return {holding[0].saga_id} has others."
        raise NotFollowed(
            "already_returned", detail, sku=line.sku, left=str(left), return_id=str(holding[0].saga_id)
        )


def _places(
    asked: Return, shipped: Sequence[Parcel], others: Sequence[Follower]
) -> Iterator[tuple[str, str | None, int]]:
    """What comes back of each parcel, in their order: product, location and pieces (S31)."""
    taken: Counter[tuple[str, str | None]] = Counter()
    for each in others:
        for line in each.given.lines:
            taken[line.sku, line.location] += line.quantity
    for line in asked.lines:
        wanted = line.quantity
        for item in items_of(shipped):
            if item.sku == line.sku and wanted:
                count = min(wanted, item.quantity - taken[item.sku, item.location])
                wanted -= count
                if count:
                    yield item.sku, item.location, count


def _quantities(document: AcceptedOrder | AcceptedReturn) -> Counter[str]:
    found: Counter[str] = Counter()
    for line in document.lines:
        found[line.sku] += line.quantity
    return found


def _worth(given: AcceptedReturn) -> Mapping[str, Any]:
    return {"amount": given.amount, "currency": given.currency}


def _items(given: AcceptedReturn) -> tuple[ItemQuantity, ...]:
    return tuple(
        ItemQuantity(sku=line.sku, quantity=line.quantity, location=line.location) for line in given.lines
    )


def _to_claim(given: AcceptedReturn, results: Results) -> Mapping[str, Any]:
    return {
        "paid_order_id": given.order_id,
        "charge": given.charge,
        "charged": given.charged,
        **_worth(given),
    }


def _to_refund(given: AcceptedReturn, results: Results) -> Mapping[str, Any]:
    return {**_to_claim(given, results), "reason": given.reason}


def _to_restock(given: AcceptedReturn, results: Results) -> Mapping[str, Any]:
    said = {line["sku"]: line["disposition"] for line in results[GOODS_RECEIVED]["lines"]}
    lost = tuple(item for item in _items(given) if said.get(item.sku) == Disposition.WRITE_OFF)
    return {"restock": tuple(item for item in _items(given) if item not in lost), "write_off": lost}


def _claimed(given: AcceptedReturn) -> str:
    return f"claimed {format_amount(given.amount, given.currency)} of {given.charge}"


def _unfit(given: AcceptedReturn, body: Mapping[str, Any]) -> str | None:
    """Why the warehouse's word is none about this return: it speaks of each line, and of nothing else."""
    said, awaited = {line["sku"] for line in body["lines"]}, {line.sku for line in given.lines}
    problems = [
        *_named("nothing is said of", awaited - said),
        *_named("it is not a return of", said - awaited),
    ]
    return "; ".join(problems) or None


def _named(what: str, skus: set[str]) -> Iterator[str]:
    if skus:
        yield f"{what} {', '.join(sorted(skus))[:300]}"


def _returned_order(given: AcceptedReturn, results: Results) -> Mapping[str, Any]:
    return {"returned_order_id": given.order_id}


def _requested(given: AcceptedReturn, results: Results) -> Mapping[str, Any]:
    return {**_returned_order(given, results), "lines": _items(given), **_worth(given)}


def _completed(given: AcceptedReturn, results: Results) -> Mapping[str, Any]:
    return {**_returned_order(given, results), **_worth(given)}


def order_return(policy: StepPolicy, within_s: float = DAYS_30_S) -> SagaDefinition:
    """The definition at its current version, with one policy for all of its steps.

    Args:
        within_s: seconds for which the goods are waited for.
    """
    return SagaDefinition(
        name=NAME,
        version=1,
        input=AcceptedReturn,
        examples=(RETURN,),
        labels=LABELS,
        follows=Follows(ORDERS, Return, ORDER_KEY, lambda asked: asked.order_id, accepted_return),
        announces={
            "started": Announcement(ReturnRequestedEvent, _requested),
            "completed": Announcement(ReturnCompletedEvent, _completed),
            "rejected": Announcement(ReturnRejectedEvent, _returned_order),
            "cancelled": Announcement(ReturnCancelledEvent, _returned_order),
        },
        course=_course(policy, within_s),
    )


def _course(policy: StepPolicy, within_s: float) -> tuple[Step | Wait, ...]:
    return (
        Step(
            name="claim",
            participant=PAYMENT,
            kind=StepKind.COMPENSATABLE,
            command=ClaimRefund,
            arguments=_to_claim,
            success=RefundClaimedEvent,
            rejection=RefundClaimRejectedEvent,
            compensation=Compensation(ReleaseRefundClaim, RefundClaimReleasedEvent),
            holds=_claimed,
            policy=policy,
        ),
        Wait(
            name=GOODS_RECEIVED,
            signal=GoodsReceived,
            deadline_s=within_s,
            fits=_unfit,
            waiting="awaiting_goods",
            milestone="received",
            signalled_by=SignalledBy.OPERATORS,
        ),
        Step(
            name="refund",
            participant=PAYMENT,
            kind=StepKind.PIVOT,
            command=RefundPart,
            arguments=_to_refund,
            success=PaymentPartlyRefundedEvent,
            rejection=PartialRefundRejectedEvent,
            milestone="refunded",
            keeps=("reference",),
            policy=policy,
        ),
        Step(
            name="restock",
            participant=INVENTORY,
            kind=StepKind.RETRIABLE,
            command=RestockItems,
            arguments=_to_restock,
            success=ItemsRestockedEvent,
            policy=policy,
        ),
    )
