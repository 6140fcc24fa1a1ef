"""Rules about what happens outside: money, parcels and stock, in which order and how often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from uuid import UUID

from contracts.routing import INVENTORY
from participants.fence import State
from participants.ledger import LedgerRow
from simulation.checkers.inspection import Checker, Objections, Reaction
from simulation.checkers.knowledge import (
    AUTHORIZE,
    CAPTURE,
    CHARGE,
    RESERVE,
    SHIP,
    holds,
    lines_of,
    parcel_of,
    refused_of,
    refused_worth,
)
from simulation.facts import AskedForNothing, Authorized, Charged, Committed, GivenUp, Refunded, Shipped
from simulation.storage.participants import LEDGER, MOVEMENTS, STOCK, Movement


class ChargedOnce(Checker):
    """However often the command and the call are repeated, an order is charged once (P2, P6)."""

    rule = "charged once (P6)"

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Charged: self._charged}

    def _charged(self, fact: Charged) -> Objections:
        count = len(self.known.charges[fact.order_id])
        if count > 1:
            yield self.known.name_of(fact.order_id), f"it is charged for the {count}. time"
        saga = self.known.sagas.get(self.known.saga_of.get(fact.order_id, UUID(int=0)))
        if saga is None:
            yield self.known.name_of(fact.order_id), "an order is charged that nobody has"
            return
        due = saga.input.total - (refused_worth(saga) if fact.captured else 0)
        if (fact.amount, fact.currency) != (due, saga.input.currency):
            yield str(saga.saga_id), f"charged {fact.amount} for a total of {due}"


class NothingForNothing(Checker):
    """No gateway is asked to take, set aside or give back an amount of 0, which it may refuse (P6)."""

    rule = "nothing is asked for where nothing is due (P6)"

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {AskedForNothing: self._asked}

    def _asked(self, fact: AskedForNothing) -> Objections:
        yield fact.key.partition(":")[0], f"the gateway is asked for an amount of 0 at {fact.path}"


class ShippedOnce(Checker):
    """However often the command and the call are repeated, an order is shipped once (P2, P6)."""

    rule = "shipped once (P6)"

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Shipped: self._shipped}

    def _shipped(self, fact: Shipped) -> Objections:
        split = parcel_of(fact.key) is not None
        count = self.known.parcels[fact.key] if split else self.known.shipped[fact.order_id]
        if count > 1:
            yield self.known.name_of(fact.order_id), f"it is shipped for the {count}. time"


class NothingWithoutReservation(Checker):
    """Nothing is charged whose stock is not held, nothing shipped that is not held and paid (S3, S6)."""

    rule = "no charge without reservation, no shipment without charge (S3)"

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Authorized: self._authorized, Charged: self._charged, Shipped: self._shipped}

    def _authorized(self, fact: Authorized) -> Objections:
        yield from self._reserved(fact.order_id, "authorized")

    def _charged(self, fact: Charged) -> Objections:
        yield from self._reserved(fact.order_id, "charged")

    def _shipped(self, fact: Shipped) -> Objections:
        yield from self._reserved(fact.order_id, "shipped")
        saga = self.known.sagas.get(self.known.saga_of.get(fact.order_id, UUID(int=0)))
        if saga is None:
            return
        captures = self.known.captures(saga)
        kept = self.known.set_aside[fact.order_id] if captures else self.known.money_kept(fact.order_id)
        if kept != saga.input.total:
            how = "authorized" if captures else "paid"
            yield str(saga.saga_id), f"it is shipped while {kept} of {saga.input.total} are {how}"

    def _reserved(self, order_id: str, done: str) -> Objections:
        saga_id = self.known.saga_of.get(order_id)
        row = self.known.row(RESERVE, saga_id)
        if (row is None or not holds(row)) and not self.known.was_lied_to(order_id):
            state = "never asked for" if row is None else row.state
            yield self.known.name_of(order_id), f"it is {done} while its reservation is {state}"


class NoEffectAfterTheGrave(Checker):
    """Once compensated, buried or settled, a step has no effect any more (P4, P5, P10)."""

    rule = "no effect after a compensation (P5)"

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {
            Authorized: self._authorized,
            Charged: self._charged,
            Shipped: self._shipped,
            Committed: self._committed,
        }

    def _authorized(self, fact: Authorized) -> Objections:
        yield from self._alive(CAPTURE if fact.renewed else AUTHORIZE, fact.order_id, "authorized")

    def _charged(self, fact: Charged) -> Objections:
        yield from self._alive(CAPTURE if fact.captured else CHARGE, fact.order_id, "charged")

    def _shipped(self, fact: Shipped) -> Objections:
        parcel = parcel_of(fact.key)
        if parcel is None:
            yield from self._alive(SHIP, fact.order_id, "shipped")
            return
        row = self.known.rows.get(parcel)
        yield from self._not_dead(None if row is None else row.state, fact.order_id, "shipped")

    def _alive(self, work: tuple[str, str], order_id: str, done: str) -> Objections:
        yield from self._not_dead(self.known.state(work, self.known.saga_of.get(order_id)), order_id, done)

    def _not_dead(self, state: State | None, order_id: str, done: str) -> Objections:
        dead = state in (State.TOMBSTONE, State.UNDONE, State.SETTLED, State.REJECTED)
        if dead and not self.known.was_lied_to(order_id):
            yield self.known.name_of(order_id), f"it is {done} although the ledger says {state}"

    def _committed(self, fact: Committed) -> Objections:
        if fact.service != INVENTORY:
            return
        for change in fact.of(LEDGER):
            gone = change.before is not None and change.before.state in (State.TOMBSTONE, State.UNDONE)
            if gone and change.after.state in (State.DONE, State.CONSUMED):
                yield str(change.after.saga_id), f"{change.before.state} becomes {change.after.state}"


class ReverseOrder(Checker):
    """What was done last is undone first: the money before the stock (S3, S4)."""

    rule = "compensation in reverse order (S3)"

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Refunded: self._back, GivenUp: self._back, Committed: self._committed}

    def _back(self, fact: Refunded | GivenUp) -> Objections:
        if isinstance(fact, Refunded) and self.known.return_of(fact) is not None:
            return
        if isinstance(fact, GivenUp) and fact.renewed:
            return
        state = self.known.state(RESERVE, self.known.saga_of.get(fact.order_id))
        excused = fact.by_hand or self.known.was_lied_to(fact.order_id)
        if state is not State.DONE and not excused:
            yield self.known.name_of(fact.order_id), f"money goes back while the reservation is {state}"

    def _committed(self, fact: Committed) -> Objections:
        for row in _released(fact):
            kept = self.known.money_kept(str(row.order_id)) + self.known.set_aside[str(row.order_id)]
            if kept and not self.known.was_lied_to(str(row.order_id)):
                yield str(row.saga_id), f"stock is released while {kept} are kept"


class NothingBackAfterThePivot(Checker):
    """Once the parcel is with the carrier nothing is undone any more (S6)."""

    rule = "nothing compensated past the pivot (S6)"

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Refunded: self._back, GivenUp: self._back, Committed: self._committed}

    def _back(self, fact: Refunded | GivenUp) -> Objections:
        returned = isinstance(fact, Refunded) and self.known.return_of(fact) is not None
        renewed = isinstance(fact, GivenUp) and fact.renewed
        due_back = returned or renewed or self._for_refused_parcels(fact)
        if self.known.shipped[fact.order_id] and not due_back:
            yield self.known.name_of(fact.order_id), "money goes back for an order that was shipped"

    def _for_refused_parcels(self, fact: Refunded | GivenUp) -> bool:
        """What the carrier did not take is given back once, at its price (S31)."""
        saga = self.known.sagas[self.known.saga_of[fact.order_id]]
        due = refused_worth(saga)
        if isinstance(fact, GivenUp):
            captured = self.known.state(CAPTURE, saga.saga_id)
            paid_otherwise = captured is State.SETTLED  # so that all of it is left
            after = captured is State.DONE or due == saga.input.total  # then there is nothing to capture
            return due > 0 and (paid_otherwise or (after and fact.amount <= due))
        before = self.known.refunded[fact.order_id] - self.known.returned_so_far(saga.subject_id)
        return due > 0 and fact.amount == due == before

    def _committed(self, fact: Committed) -> Objections:
        for row in _released(fact):
            if self.known.shipped[str(row.order_id)]:
                yield str(row.saga_id), "stock is released of an order that was shipped"


class CapturedAfterTheParcel(Checker):
    """Money that was set aside is taken after the parcel has left, and none stays so (S27)."""

    rule = "captured after the parcel left, nothing left authorized (S27)"

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Authorized: self._authorized, Charged: self._charged}

    def _authorized(self, fact: Authorized) -> Objections:
        """What has expired stands no more: never is more set aside than the order costs."""
        if fact.renewed and not self.known.shipped[fact.order_id]:
            yield self.known.name_of(fact.order_id), "it is authorized anew while its parcel is here"
        if fact.renewed and self.known.set_aside[fact.order_id] > fact.amount:
            yield self.known.name_of(fact.order_id), f"{self.known.set_aside[fact.order_id]} are set aside"

    def _charged(self, fact: Charged) -> Objections:
        if fact.captured and not self.known.shipped[fact.order_id]:
            yield self.known.name_of(fact.order_id), "it is captured while its parcel is here"
        if fact.captured and self.known.set_aside[fact.order_id] < 0:
            yield self.known.name_of(fact.order_id), "more is captured than was authorized"

    def at_the_end(self) -> Objections:
        """See `Checker.at_the_end`. Of what a person had paid in another way nothing was taken here."""
        for order_id, saga_id in self.known.saga_of.items():
            left, kept = self.known.set_aside[order_id], self.known.money_kept(order_id)
            settled = self.known.state(CAPTURE, saga_id) is State.SETTLED
            if left and not settled and not self.known.was_lied_to(order_id):
                yield str(saga_id), f"{left} are authorized still"
            if settled and kept and not self.known.was_lied_to(order_id):
                yield str(saga_id), f"settled outside, but {kept} are captured"


class StockWithinBounds(Checker):
    """Nothing is oversold, and what is reserved is what the ledger holds (P11)."""

    rule = "stock within bounds (P11)"

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Committed: self._committed}

    def _committed(self, fact: Committed) -> Objections:
        if fact.service != INVENTORY:
            return
        for sku in sorted({change.key for change in fact.of(STOCK)}):
            level = self.known.stock[sku]
            if not 0 <= level.reserved <= level.on_hand:
                yield sku, f"{level.reserved} reserved of {level.on_hand}"
            if self.known.held[sku] != level.reserved:
                yield sku, f"{level.reserved} reserved, but the ledger holds {self.known.held[sku]}"
        yield from self._places()
        for change in fact.of(LEDGER):
            yield from self._held_is_reserved(change.after)

    def _places(self) -> Objections:
        """What is held at a location is reserved there, and is there (S31)."""
        for (sku, location), level in self.known.places.items():
            held = self.known.held_at[sku, location]
            if not held == level.reserved <= level.on_hand:
                yield (
                    sku,
                    f"{level.reserved} of {level.on_hand} at {location} are reserved, {held} are held",
                )

    def _held_is_reserved(self, row: LedgerRow) -> Objections:
        for sku in lines_of(row):
            reserved = self.known.stock[sku].reserved if sku in self.known.stock else 0
            if self.known.held[sku] != reserved:
                yield sku, f"{reserved} reserved, but the ledger holds {self.known.held[sku]}"


class ReducedAsReserved(Checker):
    """Stock leaves the house once for an order, by what was reserved, after the parcel did (P11)."""

    rule = "stock reduced once, as reserved, after the shipment (P11)"

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Committed: self._committed}

    def _committed(self, fact: Committed) -> Objections:
        reduced: dict[UUID, dict[str, int]] = {}
        for change in fact.of(MOVEMENTS):
            movement: Movement = change.after
            if movement.saga_id is not None and movement.quantity < 0:
                reduced.setdefault(movement.saga_id, {})[movement.sku] = -movement.quantity
        for saga_id, quantities in reduced.items():
            row, saga = self.known.row(RESERVE, saga_id), self.known.sagas.get(saga_id)
            reserved = {} if row is None else lines_of(row)
            due = reserved if saga is None else Counter(reserved) - refused_of(saga)
            if row is None or row.state is not State.CONSUMED or quantities != due:
                yield str(saga_id), f"stock is reduced by {quantities}, reserved were {dict(due)}"
            if saga is not None and not self.known.shipped[str(saga.subject_id)]:
                yield str(saga_id), "stock is reduced for an order that was not shipped"
            times = sum(movement.saga_id == saga_id for movement in self.known.movements.values())
            if times != len(quantities):
                yield str(saga_id), "stock is reduced again"


def _released(fact: Committed) -> list[LedgerRow]:
    """Reservations that this commit has given back."""
    if fact.service != INVENTORY:
        return []
    return [
        change.after
        for change in fact.of(LEDGER)
        if change.before is not None and holds(change.before) and change.after.state is State.UNDONE
    ]


ALL = (
    ChargedOnce,
    NothingForNothing,
    ShippedOnce,
    NothingWithoutReservation,
    NoEffectAfterTheGrave,
    ReverseOrder,
    NothingBackAfterThePivot,
    CapturedAfterTheParcel,
    StockWithinBounds,
    ReducedAsReserved,
)
