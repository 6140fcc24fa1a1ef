"""Effects in a participant's own database: all of a command's life but the effect itself (P1-P5, P7, S19).

The effect, its ledger row and its answer commit together, so nothing is ever unknown: what a command may do
is decided by the ledger alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from contracts.commands import SettleStep
from contracts.envelope import Direction
from contracts.events import OUTCOMES, OutcomeEvent, Rejection
from messaging.identifiers import NewId
from participants.commands import Offer, Received, Works
from participants.fence import Move, State
from participants.gate import check_not_expired, check_same_order, move_for, opened
from participants.ledger import Ledger, LedgerRow, StoredOutcome
from participants.replies import Sender, nothing_to_undo, refused, stored
from participants.verdicts import (
    LEADS_TO,
    RULINGS,
    Ruling,
    Rulings,
    accept,
    accepted_before,
    denial,
    refuse,
    ruling_on,
)

_NOT_HERE: Final = (State.DONE, State.TOMBSTONE)
OWN_RULINGS: Final[Rulings] = {
    (direction, verdict): {
        state: ruling
        for state, ruling in cells.items()
        if not (direction is Direction.COMPENSATING and state in _NOT_HERE and ruling is not Ruling.AGREE)
    }
    for (direction, verdict), cells in RULINGS.items()
}
"""What is held here can be undone here, and what was never held cannot be: no verdict replaces that."""


class OwnEffects:
    """Base of handlers whose effects are in their own database."""

    def __init__(
        self, name: str, works: Works, new_id: NewId, outcomes: Mapping[str, type[OutcomeEvent]] = OUTCOMES
    ) -> None:
        """
        Args:
            outcomes: the events that it answers with, by type.
        """
        self._works = works
        self._new_id = new_id
        self._sender = Sender(name, new_id, outcomes)

    def _told_by_the_ledger(self, received: Received, ledger: Ledger, now: datetime) -> StoredOutcome | None:
        """What is answered without an effect; None where the effect has to be done, or undone.

        Raises:
            PermanentFailure: the command contradicts the ledger (P2, P7, P11, S19); nothing has changed.
        """
        row = ledger.get(received.saga_id, received.step)
        check_not_expired(row, received, ledger.low_water_mark)
        command = received.command
        if isinstance(command, SettleStep):
            return self._judge(received, command, row, ledger, now)
        match move_for(row, received):
            case Move.REPEAT:
                assert row is not None
                return row.outcome(received.direction)
            case Move.REFUSE:
                return refused(received)
            case Move.BURY:
                return self._bury(received, row, ledger, now)
            case _:
                return None

    def _did(
        self,
        received: Received,
        work: Offer,
        event: OutcomeEvent,
        ledger: Ledger,
        now: datetime,
        details: Mapping[str, Any],
    ) -> StoredOutcome:
        """P1, P8: note what was done, or refused, and the answer."""
        outcome = stored(event, self._new_id())
        state = State.REJECTED if isinstance(event, Rejection) else State.DONE
        ledger.put(opened(received, work, state, now, forward=outcome, details=details))
        return outcome

    def _undid(self, row: LedgerRow, outcome: StoredOutcome, ledger: Ledger, now: datetime) -> StoredOutcome:
        """P3: note that it was undone, and the answer."""
        ledger.put(replace(row, state=State.UNDONE, compensation=outcome, updated_at=now))
        return outcome

    def _bury(
        self, received: Received, row: LedgerRow | None, ledger: Ledger, now: datetime
    ) -> StoredOutcome:
        """P4: nothing was held; leave a tombstone, so that nothing ever will be."""
        work = received.work
        assert work is not None
        row = row or opened(received, work, State.TOMBSTONE, now)
        outcome = nothing_to_undo(work, row, self._new_id())
        ledger.put(replace(row, state=State.TOMBSTONE, compensation=outcome, updated_at=now))
        return outcome

    def _judge(
        self,
        received: Received,
        command: SettleStep,
        row: LedgerRow | None,
        ledger: Ledger,
        now: datetime,
    ) -> StoredOutcome:
        """S19: here the ledger knows everything, so a verdict is accepted only where the ledger agrees."""
        check_same_order(row, received)
        before = accepted_before(row, command)
        if before is not None:
            return before
        ruling = ruling_on(OWN_RULINGS, row, command)
        if ruling not in LEADS_TO:
            return refuse(received, command, denial(row), self._new_id())
        judged, answer = accept(row, received, command, LEADS_TO[ruling], now, self._new_id())
        ledger.put(judged)
        return answer
