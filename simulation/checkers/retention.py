"""Rules about what is let go of: only what is at rest, and nothing comes of it any more (P7)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final
from uuid import UUID

from contracts.routing import PAYMENT, SHIPPING
from messaging.identifiers import time_of
from orchestrator.core.state import ENDED
from simulation.checkers.inspection import Checker, Objections, Reaction
from simulation.checkers.knowledge import CHARGE, SHIP
from simulation.facts import Charged, Committed, Shipped
from simulation.servers import BEGINNING
from simulation.storage.participants import LEDGER

LEAST_AGE: Final = timedelta(days=6)
"""What is younger is never pruned, whatever the clocks of two services think of each other."""


class PrunesWhatIsAtRest(Checker):
    """No row goes whose saga runs, or has an open incident or dead letter (P7)."""

    rule = "nothing of a running saga is pruned (P7)"

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Committed: self._committed}

    def _committed(self, fact: Committed) -> Objections:
        for change in fact.removed_from(LEDGER):
            saga = self.known.sagas.get(change.before.saga_id)
            if saga is None:
                continue
            about = str(saga.saga_id)
            if saga.status not in ENDED or saga.incidents:
                yield about, f"{change.before.command} is pruned while its saga is {saga.status}"
            if any(
                row.is_open and row.dead.saga_id == saga.saga_id for row in self.known.dead_letters.values()
            ):
                yield about, f"{change.before.command} is pruned while a dead letter is open"
            now = BEGINNING + timedelta(seconds=self.known.at_s)
            if now + self.known.let_pass - time_of(saga.saga_id) < LEAST_AGE:
                yield about, f"{change.before.command} is pruned although its saga is young"


class NothingComesOfTheForgotten(Checker):
    """Behind the mark a command without a row never has an effect (P7)."""

    rule = "nothing comes of what was pruned (P7)"

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Committed: self._committed, Charged: self._charged, Shipped: self._shipped}

    def _committed(self, fact: Committed) -> Objections:
        for change in fact.of(LEDGER):
            row = change.after
            if change.before is None and (fact.service, row.command, row.saga_id) in self.known.pruned:
                yield str(row.saga_id), f"{row.command} was pruned, and is {row.state} again"

    def _charged(self, fact: Charged) -> Objections:
        yield from self._forgotten((PAYMENT, CHARGE[1]), fact.order_id, "charged")

    def _shipped(self, fact: Shipped) -> Objections:
        yield from self._forgotten((SHIPPING, SHIP[1]), fact.order_id, "shipped")

    def _forgotten(self, work: tuple[str, str], order_id: str, done: str) -> Objections:
        saga_id = self.known.saga_of.get(order_id, UUID(int=0))
        if (*work, saga_id) in self.known.pruned:
            yield str(saga_id), f"it is {done} long after its end"


ALL = (PrunesWhatIsAtRest, NothingComesOfTheForgotten)
