"""Rules about what comes back: no more than was ordered, refunded as claimed, taken in once (S28)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from uuid import UUID

from contracts.returns import AcceptedReturn, Disposition
from orchestrator.core.state import Saga, Status
from orchestrator.sagas.order_return import GOODS_RECEIVED
from simulation.checkers.inspection import Checker, Objections, Reaction
from simulation.checkers.knowledge import Knowledge, is_return, shipped_of
from simulation.facts import Committed, Refunded
from simulation.storage.orchestrator import SAGAS
from simulation.storage.participants import MOVEMENTS, Movement


class NothingReturnedTwice(Checker):
    """All returns of an order that were not undone are of no more than it shipped (S28)."""

    rule = "nothing is returned twice (S28)"

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Committed: self._committed}

    def _committed(self, fact: Committed) -> Objections:
        for change in fact.of(SAGAS):
            if change.before is None and is_return(change.after):
                yield from self._within_the_order(change.after)

    def _within_the_order(self, made: Saga) -> Objections:
        about, order = str(made.saga_id), _order_of(self.known, made)
        if order is None or not self.known.shipped[str(order.subject_id)]:
            yield about, "it is a return of what was not shipped"
            return
        left = Counter(shipped_of(order))
        for each in self.known.sagas.values():
            others = is_return(each) and each.input.order_id == order.subject_id
            if others and each.status is not Status.COMPENSATED:
                for line in each.input.lines:
                    left[line.sku] -= line.quantity
        for sku, count in left.items():
            if count < 0:
                yield about, f"{-count} more of {sku} come back than were ordered"


class RefundedAsReturned(Checker):
    """A return gives back what it is worth, once, and all of them never more than was taken (S28, P6)."""

    rule = "refunded as returned (S28)"

    def __init__(self, known: Knowledge) -> None:
        super().__init__(known)
        self._given_back: Counter[UUID] = Counter()

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Refunded: self._refunded}

    def _refunded(self, fact: Refunded) -> Objections:
        made = self.known.return_of(fact)
        if made is None:
            return
        self._given_back[made.saga_id] += fact.amount
        if self._given_back[made.saga_id] != made.input.amount:
            yield (
                str(made.saga_id),
                f"{self._given_back[made.saga_id]} are given back, it is worth {made.input.amount}",
            )
        if GOODS_RECEIVED not in made.signals:
            yield str(made.saga_id), "money is given back for goods that nobody has seen"
        if self.known.money_kept(fact.order_id) < 0:
            yield str(made.saga_id), "more is given back than was taken"

    def at_the_end(self) -> Objections:
        """Money went back for those returns that ended well, and for no other."""
        for saga in self.known.sagas.values():
            due = saga.input.amount if is_return(saga) and saga.status is Status.COMPLETED else 0
            if self._given_back[saga.saga_id] != due:
                yield str(saga.saga_id), f"{saga.label}, but {self._given_back[saga.saga_id]} were given back"


class TakenInOnce(Checker):
    """What can be sold again is in stock once, what cannot is not, and only once its money is back (S28)."""

    rule = "taken in once, as the warehouse says (S28)"

    def __init__(self, known: Knowledge) -> None:
        super().__init__(known)
        self._taken_in: dict[UUID, Counter[str]] = {}

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Committed: self._committed}

    def _committed(self, fact: Committed) -> Objections:
        for change in fact.of(MOVEMENTS):
            movement: Movement = change.after
            if movement.saga_id is None or movement.quantity < 0:
                continue
            made = self.known.sagas.get(movement.saga_id)
            if made is None or not is_return(made):
                yield str(movement.saga_id), "something is restocked that nobody returned"
                continue
            known = self._taken_in.setdefault(made.saga_id, Counter())
            known[movement.sku] += movement.quantity
            if known[movement.sku] > _to_restock(made)[movement.sku]:
                yield str(made.saga_id), f"{known[movement.sku]} of {movement.sku} are restocked"

    def at_the_end(self) -> Objections:
        """See `Checker.at_the_end`."""
        for saga in self.known.sagas.values():
            if is_return(saga):
                due = _to_restock(saga) if saga.status is Status.COMPLETED else Counter[str]()
                found = self._taken_in.get(saga.saga_id, Counter())
                if found != due:
                    yield str(saga.saga_id), f"{saga.label}, but {dict(found)} are restocked"


def _order_of(known: Knowledge, made: Saga) -> Saga | None:
    saga_id = known.saga_of.get(str(made.input.order_id))
    return None if saga_id is None else known.sagas.get(saga_id)


def _to_restock(made: Saga) -> Counter[str]:
    """What the warehouse's word says of it; nothing while there is none."""
    signal = made.signals.get(GOODS_RECEIVED)
    if signal is None:
        return Counter()
    found: Counter[str] = Counter()
    for sku, quantity in _fit_for_sale(made.input, signal.body):
        found[sku] += quantity
    return found


def _fit_for_sale(given: AcceptedReturn, body: Mapping[str, object]) -> Iterator[tuple[str, int]]:
    lines = body["lines"]
    assert isinstance(lines, list | tuple)
    lost = {line["sku"] for line in lines if line["disposition"] == Disposition.WRITE_OFF}
    for line in given.lines:
        if line.sku not in lost:
            yield line.sku, line.quantity


OF_ORDERS = (NothingReturnedTwice, RefundedAsReturned, TakenInOnce)
