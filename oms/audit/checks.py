"""What an outside auditor must find, as pure functions: facts in, objections out.

Every objection names the check it comes from and the participant whose work it is about, so that a
person's verdict on that work (S19) can explain it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from contracts.commands import (
    AuthorizePayment,
    CapturePayment,
    ChargePayment,
    ClaimRefund,
    ClaimUnshipped,
    CommitInventory,
    RefundPart,
    RefundUnshipped,
    ReserveInventory,
    RestockItems,
    ShipOrder,
)
from contracts.currencies import MINOR_UNIT_EXPONENTS, format_amount
from contracts.routing import INVENTORY, ORCHESTRATOR, PAYMENT, SHIPPING
from oms.audit.checklist import Check, Objection
from oms.audit.facts import LedgerFact, OrderFacts, Quantities, StockFact

HOLDING: Final = "done"
"""The state of a reservation that holds stock."""

_STANDS: Final = frozenset({"done", "consumed"})
_TAKING: Final = {ChargePayment.__name__: "charge", CapturePayment.__name__: "capture"}
"""The works that take money, as a person calls them."""

_UNSETTLED: Final = frozenset({"intent", "undoing", "reversing"})
EFFECTIVE: Final = _STANDS | _UNSETTLED
"""The states of work that has, or may have, an effect that stands."""


def objections(facts: OrderFacts) -> Iterator[Objection]:
    """All that is wrong with one ended order. What cannot be read is all that is said (S25)."""
    unreadable = list(_unreadable(facts))
    if unreadable:
        yield from unreadable
        return
    checks = (
        (
            *(_reserved_once, _charged_once, _captured_as_authorized, _unshipped_given_back),
            *(_shipped_once, _reduced_once, _returned_once),
        )
        if facts.saga.completed
        else (_nothing_reserved, _money_back, _nothing_authorized, _nothing_shipped, _stock_untouched)
    )
    for check in checks:
        yield from check(facts)


def return_objections(facts: OrderFacts) -> Iterator[Objection]:
    """All that is wrong with one ended return. What cannot be read is all that is said (S25)."""
    unreadable = list(_unreadable(facts))
    if unreadable:
        yield from unreadable
    elif facts.saga.completed:
        yield from _refunded_in_part(facts)
        yield from _taken_in_once(facts)
    else:
        yield from _nothing_returned(facts)


def _unreadable(facts: OrderFacts) -> Iterator[Objection]:
    if not facts.saga.readable:
        yield Objection(Check.READABLE, ORCHESTRATOR, "the order's document does not say what was ordered")
    for row in facts.ledger:
        if not row.readable:
            message = f"{row.participant}'s ledger does not say what came of {row.step}"
            yield Objection(Check.READABLE, row.participant, message)


def step_objections(
    facts: OrderFacts, participants: Collection[str], at: Mapping[str, str]
) -> Iterator[Objection]:
    """All that is otherwise in the ledgers of these participants than an ended saga of any kind says.

    Args:
        at: which participant does each step; empty where the definition is not known here.
    """
    if facts.saga.pieces is None:
        yield Objection(Check.READABLE, ORCHESTRATOR, "the saga's state cannot be read")
        return
    rows = [row for row in facts.ledger if row.participant in participants]
    for row in rows:
        if not row.readable:
            message = f"{row.participant}'s ledger does not say what came of {row.step}"
            yield Objection(Check.READABLE, row.participant, message)
        piece = facts.saga.pieces.get(row.step)
        if piece is not None and (piece.settled or row.state == "settled"):
            continue
        said = "done" if piece is not None and piece.stands else "not done, or undone"
        if (row.state in _STANDS) is not (said == "done") or row.state in _UNSETTLED:
            message = f"{row.participant}'s ledger: {row.step} is {row.state}, but its saga says {said}"
            yield Objection(Check.STEPS_AGREE, row.participant, message)
    known = {(row.participant, row.step) for row in rows}
    for name, piece in facts.saga.pieces.items():
        participant = at.get(name.partition("[")[0])
        if piece.stands and participant in participants and (participant, name) not in known:
            message = f"its saga says that {name} is done, but {participant}'s ledger knows nothing of it"
            yield Objection(Check.STEPS_AGREE, str(participant), message)


def stock_objections(stock: StockFact) -> Iterator[Objection]:
    """All that is wrong with one product."""
    if stock.on_hand is None:
        held = f"{stock.held} held, movements of {stock.moved or 0}"
        yield Objection(Check.STOCK_ADDS_UP, INVENTORY, f"it has no stock row, but {held}")
        return
    moved = stock.moved or 0
    if moved != stock.on_hand:
        message = f"{stock.on_hand} on hand, but its movements add up to {moved}"
        yield Objection(Check.STOCK_ADDS_UP, INVENTORY, message)
    if stock.held != stock.reserved:
        message = f"{stock.reserved} reserved, but the ledger's reservations hold {stock.held}"
        yield Objection(Check.RESERVED_AGREES, INVENTORY, message)
    for location, (there, taken, held_there) in stock.places.items():
        if not held_there == taken <= there:
            message = (
                f"at {location}: {taken} of {there} reserved, the ledger's reservations hold {held_there}"
            )
            yield Objection(Check.RESERVED_AGREES, INVENTORY, message)
    if not 0 <= stock.reserved <= stock.on_hand:
        message = f"{stock.reserved} reserved of {stock.on_hand} on hand"
        yield Objection(Check.RESERVED_AGREES, INVENTORY, message)


# -- completed orders -----------------------------------------------------------------------------------


def _reserved_once(facts: OrderFacts) -> Iterator[Objection]:
    rows = _standing(facts, ReserveInventory.__name__)
    if len(rows) != 1:
        yield Objection(Check.RESERVED_ONCE, INVENTORY, f"reserved {_times(len(rows))}")
    for row in rows:
        if row.state != "consumed":
            yield Objection(Check.RESERVED_ONCE, INVENTORY, "the reservation is still held")
        if dict(row.quantities) != dict(facts.saga.ordered):
            message = f"reserved {_listed(row.quantities)}, ordered {_listed(facts.saga.ordered)}"
            yield Objection(Check.RESERVED_ONCE, INVENTORY, message)


def _charged_once(facts: OrderFacts) -> Iterator[Objection]:
    due = (_taken(facts), facts.saga.currency)
    said = [(row.amount, row.currency) for command in _TAKING for row in _standing(facts, command)]
    if said != [due]:
        message = f"payment's ledger: charged {_sums(said)} for a total of {_sum(*due)}"
        yield Objection(Check.CHARGED_ONCE, PAYMENT, message)
    if facts.money is None:
        return
    taken = [(charge.amount, charge.currency) for charge in facts.money.charges]
    if taken != [due] and not (due[0] == 0 and not taken):
        message = f"provider: charged {_sums(taken)} for a total of {_sum(*due)}"
        yield Objection(Check.CHARGED_ONCE, PAYMENT, message)
    yield from _given_back_as_returned(facts)


def _given_back_as_returned(facts: OrderFacts) -> Iterator[Objection]:
    """Between what had come back before the provider's books were read, and what has by now."""
    if not facts.returns.readable:
        return
    least, most = (
        sum(each.total for each in those) + _taken(facts) - facts.saga.kept
        for those in (facts.returns.completed, facts.returns.standing)
    )
    assert facts.money is not None
    currency = facts.saga.currency
    for told, given_back in (("refunds", sum(facts.money.refunds)), ("charges", _refunded(facts))):
        if least <= given_back <= most:
            continue
        due = least if given_back < least else most
        message = f"provider: {_sum(given_back, currency)} was given back (as its {told} say)"
        yield Objection(Check.CHARGED_ONCE, PAYMENT, f"{message}, returned was {_sum(due, currency)}")


def _taken(facts: OrderFacts) -> int:
    """What is due to be taken: a capture is of what was shipped, a charge comes before it (S31)."""
    captures = bool(facts.rows(AuthorizePayment.__name__))
    return facts.saga.kept if captures else facts.saga.total


def _unshipped_given_back(facts: OrderFacts) -> Iterator[Objection]:
    """Of an order that was charged; less is captured of one that was not."""
    worth = _taken(facts) - facts.saga.kept
    due = [(worth, facts.saga.currency)] if worth else []
    for command, what in ((ClaimUnshipped, "claimed"), (RefundUnshipped, "refunded")):
        said = [(row.amount, row.currency) for row in _standing(facts, command.__name__)]
        if said != due:
            message = f"payment's ledger: {what} {_sums(said)} of what could not be shipped, due {_sums(due)}"
            yield Objection(Check.UNSHIPPED_GIVEN_BACK, PAYMENT, message)


def _captured_as_authorized(facts: OrderFacts) -> Iterator[Objection]:
    """Of orders that were charged there is nothing to say."""
    check = Check.CAPTURED_AS_AUTHORIZED
    captured = len(_standing(facts, CapturePayment.__name__))
    authorized = len(_standing(facts, AuthorizePayment.__name__))
    if captured != authorized:
        message = f"payment's ledger: authorized {_times(authorized)}, captured {_times(captured)}"
        yield Objection(check, PAYMENT, message)
    for each in facts.money.authorizations if facts.money else ():
        if each.left:
            message = f"provider: {_sum(each.left, each.currency)} is authorized still"
            yield Objection(check, PAYMENT, message)
    yield from _captured_at_provider(facts)


def _captured_at_provider(facts: OrderFacts) -> Iterator[Objection]:
    """The provider's two books agree: what authorizations count as captured is what was charged."""
    if facts.money is None or not facts.money.authorizations:
        return
    captured = sum(each.captured for each in facts.money.authorizations)
    taken = sum(charge.amount for charge in facts.money.charges)
    if captured != taken:
        currency = facts.saga.currency
        message = f"provider: {_sum(captured, currency)} captured, but {_sum(taken, currency)} charged"
        yield Objection(Check.CAPTURED_AS_AUTHORIZED, PAYMENT, message)


def _shipped_once(facts: OrderFacts) -> Iterator[Objection]:
    rows = _standing(facts, ShipOrder.__name__)
    due = facts.saga.parcels
    expected = "" if due == 1 else f", its parcels are {due}"
    if len(rows) != due:
        message = f"shipping's ledger: shipped {_times(len(rows))}{expected}"
        yield Objection(Check.SHIPPED_ONCE, SHIPPING, message)
    if facts.parcels is not None and len(facts.parcels) != due:
        message = f"provider: shipped {_times(len(facts.parcels))}{expected}"
        yield Objection(Check.SHIPPED_ONCE, SHIPPING, message)


def _reduced_once(facts: OrderFacts) -> Iterator[Objection]:
    rows = _standing(facts, CommitInventory.__name__)
    if len(rows) != 1:
        yield Objection(Check.REDUCED_ONCE, INVENTORY, f"inventory's ledger: reduced {_times(len(rows))}")
    reduced = {reduction.sku: reduction.quantity for reduction in facts.reductions}
    due = facts.saga.shipped
    if reduced != dict(due):
        what = "shipped" if facts.saga.unshipped else "ordered"
        message = f"stock was reduced by {_listed(reduced)}, {what} were {_listed(due)}"
        yield Objection(Check.REDUCED_ONCE, INVENTORY, message)
    for reduction in facts.reductions:
        if reduction.rows != 1:
            message = f"stock of {reduction.sku} was reduced {_times(reduction.rows)}"
            yield Objection(Check.REDUCED_ONCE, INVENTORY, message)


def _returned_once(facts: OrderFacts) -> Iterator[Objection]:
    returned: Counter[str] = Counter()
    for each in facts.returns.standing:
        returned.update(each.ordered)
    for sku, quantity in sorted(returned.items()):
        shipped = facts.saga.shipped.get(sku, 0)
        if quantity > shipped:
            message = f"{quantity} x {sku} came back, or are to, of {shipped} that were shipped"
            yield Objection(Check.RETURNED_ONCE, ORCHESTRATOR, message)


# -- returns --------------------------------------------------------------------------------------------


def _refunded_in_part(facts: OrderFacts) -> Iterator[Objection]:
    due = (facts.saga.total, facts.saga.currency)
    said = [(row.amount, row.currency) for row in _standing(facts, RefundPart.__name__)]
    if said != [due]:
        message = f"payment's ledger: refunded {_sums(said)} for goods worth {_sum(*due)}"
        yield Objection(Check.REFUNDED_IN_PART, PAYMENT, message)


def _taken_in_once(facts: OrderFacts) -> Iterator[Objection]:
    rows = _standing(facts, RestockItems.__name__)
    if len(rows) != 1:
        yield Objection(Check.TAKEN_IN_ONCE, INVENTORY, f"inventory's ledger: taken in {_times(len(rows))}")
    for row in rows:
        if dict(row.quantities) != dict(facts.saga.ordered):
            message = f"took in {_listed(row.quantities)}, returned were {_listed(facts.saga.ordered)}"
            yield Objection(Check.TAKEN_IN_ONCE, INVENTORY, message)
        moved = {each.sku: each.quantity for each in facts.restockings}
        if moved != dict(row.restocked):
            message = f"stock was raised by {_listed(moved)}, restocked were {_listed(row.restocked)}"
            yield Objection(Check.TAKEN_IN_ONCE, INVENTORY, message)
    for each in facts.restockings:
        if each.rows != 1:
            message = f"stock of {each.sku} was raised {_times(each.rows)}"
            yield Objection(Check.TAKEN_IN_ONCE, INVENTORY, message)


def _nothing_returned(facts: OrderFacts) -> Iterator[Objection]:
    for command in (ClaimRefund, RefundPart, RestockItems):
        for row in facts.rows(command.__name__):
            if row.state in _STANDS | _UNSETTLED:
                message = f"{row.participant}'s ledger: {row.step} is {row.state}"
                yield Objection(Check.NOTHING_RETURNED, row.participant, message)
    if facts.restockings:
        raised = {each.sku: each.quantity for each in facts.restockings}
        yield Objection(Check.NOTHING_RETURNED, INVENTORY, f"stock was raised by {_listed(raised)}")


# -- rejected and cancelled orders ----------------------------------------------------------------------


def _nothing_reserved(facts: OrderFacts) -> Iterator[Objection]:
    for row in facts.rows(ReserveInventory.__name__):
        if row.state in _STANDS | _UNSETTLED:
            message = f"the reservation of {_listed(row.quantities)} is {row.state}"
            yield Objection(Check.NOTHING_RESERVED, INVENTORY, message)


def _money_back(facts: OrderFacts) -> Iterator[Objection]:
    for command, what in _TAKING.items():
        for row in facts.rows(command):
            if row.state in _STANDS | _UNSETTLED:
                message = f"payment's ledger: the {what} of {_sum(row.amount, row.currency)} is {row.state}"
                yield Objection(Check.MONEY_BACK, PAYMENT, message)
    if facts.money is None:
        return
    taken = sum(charge.amount for charge in facts.money.charges)
    for told, given_back in (("refunds", sum(facts.money.refunds)), ("charges", _refunded(facts))):
        if taken != given_back:
            currency = facts.saga.currency
            amounts = f"took {_sum(taken, currency)}, gave back {_sum(given_back, currency)}"
            yield Objection(Check.MONEY_BACK, PAYMENT, f"provider: {amounts} (as its {told} say)")


def _nothing_authorized(facts: OrderFacts) -> Iterator[Objection]:
    for row in facts.rows(AuthorizePayment.__name__):
        if row.state in _STANDS | _UNSETTLED:
            message = (
                f"payment's ledger: the authorization of {_sum(row.amount, row.currency)} is {row.state}"
            )
            yield Objection(Check.NOTHING_AUTHORIZED, PAYMENT, message)
    for each in facts.money.authorizations if facts.money else ():
        if each.left:
            message = f"provider: {_sum(each.left, each.currency)} is authorized still"
            yield Objection(Check.NOTHING_AUTHORIZED, PAYMENT, message)


def _nothing_shipped(facts: OrderFacts) -> Iterator[Objection]:
    for row in facts.rows(ShipOrder.__name__):
        if row.state in _STANDS | _UNSETTLED:
            yield Objection(
                Check.NOTHING_SHIPPED, SHIPPING, f"shipping's ledger: the shipment is {row.state}"
            )
    if facts.parcels:
        yield Objection(Check.NOTHING_SHIPPED, SHIPPING, f"provider: shipped {_times(len(facts.parcels))}")


def _stock_untouched(facts: OrderFacts) -> Iterator[Objection]:
    for row in facts.rows(CommitInventory.__name__):
        if row.state in _STANDS | _UNSETTLED:
            message = f"inventory's ledger: the reduction is {row.state}"
            yield Objection(Check.STOCK_UNTOUCHED, INVENTORY, message)
    if facts.reductions:
        reduced = {reduction.sku: reduction.quantity for reduction in facts.reductions}
        yield Objection(Check.STOCK_UNTOUCHED, INVENTORY, f"stock was reduced by {_listed(reduced)}")


# -- words ----------------------------------------------------------------------------------------------


def _standing(facts: OrderFacts, command: str) -> list[LedgerFact]:
    return [row for row in facts.rows(command) if row.state in _STANDS]


def _refunded(facts: OrderFacts) -> int:
    return sum(charge.refunded for charge in facts.money.charges) if facts.money else 0


def _times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")


def _listed(quantities: Quantities) -> str:
    return " + ".join(f"{quantity} x {sku}" for sku, quantity in sorted(quantities.items())) or "nothing"


def _sums(amounts: Sequence[tuple[int | None, str | None]]) -> str:
    return " + ".join(_sum(*amount) for amount in amounts) or "nothing"


def _sum(amount: int | None, currency: str | None) -> str:
    if amount is None or currency not in MINOR_UNIT_EXPONENTS:
        return "an unknown amount" if amount is None else str(amount)
    return format_amount(amount, currency)
