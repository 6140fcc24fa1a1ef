"""What another installation in the same virtual host says and wants is none of our business (M4)."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from contracts.commands import COMMANDS
from contracts.envelope import INSTALLATION
from messaging.transport import Message
from simulation.checkers.inspection import Checker, Objections, Reaction
from simulation.checkers.knowledge import Knowledge
from simulation.facts import Committed, HandedOut
from simulation.storage.orchestrator import HISTORY
from simulation.storage.participants import LEDGER
from simulation.storage.transaction import INSTALLATION as OURS
from simulation.strangers import ITS_WORDS


def is_foreign(message: Message) -> bool:
    """Whether another installation has sent it."""
    return message.headers.get(INSTALLATION) not in (None, str(OURS))


class StrangersAreRefused(Checker):
    """What another installation sends has no effect and moves no saga (M4)."""

    rule = "another installation is refused (M4)"

    def __init__(self, known: Knowledge) -> None:
        super().__init__(known)
        self._its_sagas: set[UUID | None] = set()

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {HandedOut: self._handed_out, Committed: self._committed}

    def _handed_out(self, fact: HandedOut) -> Objections:
        """A command is for a saga of its own, unless it is a dead letter."""
        message = fact.message
        if is_foreign(message) and message.type in COMMANDS and fact.queue.endswith(".commands"):
            self._its_sagas.add(message.correlation_id)
        return ()

    def _committed(self, fact: Committed) -> Objections:
        for change in fact.of(LEDGER):
            if change.after is not None and change.after.saga_id in self._its_sagas:
                yield str(change.after.saga_id), f"{change.after.command} is done for another installation"
        for change in fact.of(HISTORY):
            if change.after is not None and ITS_WORDS in str(change.after.accepted):
                yield str(change.after.saga_id), "its saga believes another installation"


ALL = (StrangersAreRefused,)
