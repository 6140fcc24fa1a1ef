"""What one transaction has decided: which commands are done, failed, postponed or to be asked about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from messaging.consumer import Failed
from messaging.transport import Delivery, Message
from participants.breaker import Admission
from participants.commands import Received
from participants.ledger import Ledger, LedgerRow
from participants.provider_plan import Question


@dataclass(slots=True)
class Served:
    """What became of commands within one transaction."""

    answers: list[Message] = field(default_factory=list)
    failures: list[Failed] = field(default_factory=list)


class OwnSteps(Protocol):
    """What serves those commands of the participant whose effects are in its own database."""

    async def serve(
        self, transaction: Any, received: Sequence[Received], ledger: Ledger, now: datetime
    ) -> Served:
        """Serve them in order; their ledger rows are put into the ledger, and nothing is sent."""


@dataclass(slots=True, eq=False)
class Call:
    """One command whose provider is being asked, and what arrived for the same work meanwhile.

    Begun later than ``begin_by`` the call could outlast what its intent says about it (P10): a commit or a
    process that was held up for so long does not make it.
    """

    received: Received
    question: Question
    admission: Admission
    begin_by: float
    waiting: list[Received] = field(default_factory=list)


@dataclass(slots=True)
class Batch:
    """What one transaction has decided; made anew for each run of it."""

    began: float
    calls: list[tuple[Received, Question]] = field(default_factory=list)
    rows: list[LedgerRow] = field(default_factory=list)
    done: list[Delivery] = field(default_factory=list)
    postponed: list[Delivery] = field(default_factory=list)
    failures: list[Failed] = field(default_factory=list)
