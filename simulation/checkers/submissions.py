"""Rules about orders that are taken in: one order for a key, one for a reference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from uuid import UUID

from simulation.checkers.inspection import Checker, Objections, Reaction
from simulation.checkers.knowledge import Knowledge, is_return
from simulation.facts import Committed, NamedBefore, Submitted
from simulation.storage.orchestrator import SAGAS


class OneOrderForAKey(Checker):
    """Same key and same order: the same order; another order: refused; never two sagas (S14)."""

    rule = "one order for a key (S14)"

    def __init__(self, known: Knowledge) -> None:
        super().__init__(known)
        self._told: dict[tuple[str, str | None], tuple[UUID, bytes]] = {}
        self._submissions: Counter[str] = Counter()

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Submitted: self._submitted, Committed: self._committed}

    def _submitted(self, fact: Submitted) -> Objections:
        if fact.idempotency_key is None:
            return
        name = (fact.customer_id, fact.idempotency_key)
        if fact.order_id is None:
            known = self._told.get(name)
            if known is not None and known[1] == fact.fingerprint:
                yield str(known[0]), "the same order again was refused"
            return
        order_id, fingerprint = self._told.setdefault(name, (fact.order_id, fact.fingerprint))
        if (order_id, fingerprint) != (fact.order_id, fact.fingerprint):
            yield str(fact.order_id), f"key {name} stands for {order_id} as well"

    def _committed(self, fact: Committed) -> Objections:
        for change in fact.of(SAGAS):
            if change.before is None and not is_return(change.after):
                who = change.after.input.shipping_address.name
                self._submissions[who] += 1
                if self._submissions[who] > 1:
                    yield str(change.after.saga_id), f"the order of {who} has a second saga"


class OneSagaForAReference(Checker):
    """No two orders of a customer are called the same, and who is refused is told of the first one (S26)."""

    rule = "one saga for a reference (S26)"

    def __init__(self, known: Knowledge) -> None:
        super().__init__(known)
        self._named: dict[tuple[str, str], UUID] = {}

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {NamedBefore: self._refused, Committed: self._committed}

    def _committed(self, fact: Committed) -> Objections:
        for change in fact.of(SAGAS):
            order = change.after.input
            if change.before is not None or order.reference is None:
                continue
            name, order_id = (order.customer_id, order.reference), change.after.subject_id
            if self._named.setdefault(name, order_id) != order_id:
                yield str(change.after.saga_id), f"another order is called {order.reference} already"

    def _refused(self, fact: NamedBefore) -> Objections:
        if self._named.get((fact.customer_id, fact.reference)) != fact.order_id:
            yield str(fact.order_id), f"it is said to be called {fact.reference}, and is not"


OF_ORDERS = (OneOrderForAKey, OneSagaForAReference)
