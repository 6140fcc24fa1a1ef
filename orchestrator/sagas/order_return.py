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
)
from orchestrator.core.following import Earlier, Follower, Follows, NotFollowed
from orchestrator.sagas.order_fulfillment import NAME as ORDERS
from orchestrator.sagas.order_fulfillment import OrderStatus

NAME: Final = "order_return"

GOODS_RECEIVED: Final = "goods_received"
"""The wait for the goods, and the warehouse's signal that they are there."""

DAYS_30_S: Final = 30 * 24 * 3600.0

LABELS: Final = Labels(started="requested", completed="returned", rejected_as={"wait_deadline": "expired"})

_RETURNABLE: Final = (OrderStatus.SHIPPED, OrderStatus.COMPLETED)

_PAID_BY: Final = ("capture", "charge")
"""The steps whose result names the payment, in the order of preference."""


def accepted_return(asked: Return, order: Earlier, others: Sequence[Follower]) -> AcceptedReturn:
    """The return that is asked for, at the prices of the order.

    Raises:
        NotFollowed: the order was not shipped, does not have these goods, or they are in other returns.
    """
    if order.label not in _RETURNABLE:
        raise NotFollowed("not_shipped", f"The order is {order.label}: nothing of it can come back.")
    charge = _payment_of(order)
    _check_quantities(asked, order.given, others)
    prices = _prices(order.given)
    lines = tuple(
        AcceptedReturnLine(sku=line.sku, quantity=line.quantity, unit_price=prices[line.sku])
        for line in asked.lines
    )
    return AcceptedReturn(
        order_id=order.subject_id,
        lines=lines,
        reason=asked.reason,
        currency=order.given.currency,
        charge=charge,
        charged=order.given.total,
    )


def _payment_of(order: Earlier) -> str:
    for step in _PAID_BY:
        reference = order.results.get(step, {}).get("reference")
        if isinstance(reference, str):
            return reference
    detail = "By which payment the order was paid is not known here, so nothing can be given back."
    raise NotFollowed("payment_unknown", detail)


def _check_quantities(asked: Return, order: AcceptedOrder, others: Sequence[Follower]) -> None:
    ordered = _quantities(order)
    for line in asked.lines:
        if line.sku not in ordered:
            raise NotFollowed("not_ordered", f"The order has no {line.sku}.", sku=line.sku)
        holding = [each for each in others if line.sku in _quantities(each.given)]
        left = ordered[line.sku] - sum(_quantities(each.given)[line.sku] for each in holding)
        if line.quantity <= left:
            continue
        if not holding:
            detail = f"{ordered[line.sku]} of {line.sku} were ordered, {line.quantity} are to come back."
            raise NotFollowed("more_than_ordered", detail, sku=line.sku)
        detail = f"{left} of {line.sku} can still come back: the return {holding[0].saga_id} has others."
        raise NotFollowed(
            "already_returned", detail, sku=line.sku, left=str(left), return_id=str(holding[0].saga_id)
        )


def _quantities(document: AcceptedOrder | AcceptedReturn) -> Counter[str]:
    found: Counter[str] = Counter()
    for line in document.lines:
        found[line.sku] += line.quantity
    return found


def _prices(order: AcceptedOrder) -> Mapping[str, int]:
    """What a piece of each product is worth; the lower of two prices, which no order of today has."""
    found: dict[str, int] = {}
    for line in order.lines:
        found[line.sku] = min(line.unit_price, found.get(line.sku, line.unit_price))
    return found


def _worth(given: AcceptedReturn) -> Mapping[str, Any]:
    return {"amount": given.amount, "currency": given.currency}


def _items(given: AcceptedReturn) -> tuple[ItemQuantity, ...]:
    return tuple(ItemQuantity(sku=line.sku, quantity=line.quantity) for line in given.lines)


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
