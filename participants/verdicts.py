"""A person's verdicts on stuck work (S19): which of them the ledger accepts. Pure; one table.

`took_effect` and `no_effect` say how it is; `settled_outside` says that it was made right by other means.
In direction `compensating` the work judged is the compensation: `no_effect` there means that there was
nothing to undo. What nobody but the provider can know is asked of the provider first (P10).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from contracts.commands import SettleStep, Verdict
from contracts.envelope import Direction
from contracts.events import StepSettled
from participants.commands import Received
from participants.fence import State
from participants.ledger import UNASKED, LedgerRow, StoredOutcome
from participants.replies import identity, stored


class Ruling(StrEnum):
    """What a verdict does to a ledger row."""

    AGREE = "the ledger says so itself"
    BURY = "leave a tombstone: there is no effect and none may come"
    SETTLE = "mark it as settled outside"
    WRITE_OFF = "mark it as undone under the person's reference"
    FIND = "ask the provider what it knows; else take the person's reference"
    PROVE = "ask the provider for proof that there is no effect and none will come"
    DENY = "refuse the verdict"


_F, _C = Direction.FORWARD, Direction.COMPENSATING

Rulings = Mapping[tuple[Direction, Verdict], Mapping[State | None, Ruling]]

RULINGS: Final[Rulings] = {
    (_F, Verdict.TOOK_EFFECT): {
        State.INTENT: Ruling.FIND,
        State.DONE: Ruling.AGREE,
        State.CONSUMED: Ruling.AGREE,
        State.SETTLED: Ruling.AGREE,
    },
    (_F, Verdict.NO_EFFECT): {
        None: Ruling.BURY,
        State.INTENT: Ruling.PROVE,
        State.REJECTED: Ruling.BURY,
        State.TOMBSTONE: Ruling.AGREE,
        State.UNDONE: Ruling.AGREE,
    },
    (_F, Verdict.SETTLED_OUTSIDE): {
        None: Ruling.SETTLE,
        State.INTENT: Ruling.PROVE,
        State.TOMBSTONE: Ruling.SETTLE,
        State.SETTLED: Ruling.AGREE,
    },
    (_C, Verdict.TOOK_EFFECT): {
        State.DONE: Ruling.WRITE_OFF,
        State.REVERSING: Ruling.FIND,
        State.UNDONE: Ruling.AGREE,
        State.TOMBSTONE: Ruling.WRITE_OFF,
        State.SETTLED: Ruling.AGREE,
    },
    (_C, Verdict.NO_EFFECT): {
        None: Ruling.BURY,
        State.INTENT: Ruling.PROVE,
        State.UNDOING: Ruling.PROVE,
        State.REJECTED: Ruling.BURY,
        State.TOMBSTONE: Ruling.AGREE,
    },
    (_C, Verdict.SETTLED_OUTSIDE): {
        None: Ruling.SETTLE,
        State.INTENT: Ruling.SETTLE,
        State.DONE: Ruling.SETTLE,
        State.REJECTED: Ruling.SETTLE,
        State.UNDOING: Ruling.SETTLE,
        State.REVERSING: Ruling.SETTLE,
        State.UNDONE: Ruling.AGREE,
        State.TOMBSTONE: Ruling.SETTLE,
        State.CONSUMED: Ruling.SETTLE,
        State.SETTLED: Ruling.AGREE,
    },
}
"""Whatever has no entry is denied. A rejection has been told, and its saga turns round on it: no verdict
makes it a success afterwards (P2)."""

LEADS_TO: Final[Mapping[Ruling, State | None]] = {
    Ruling.AGREE: None,
    Ruling.BURY: State.TOMBSTONE,
    Ruling.SETTLE: State.SETTLED,
}
"""The state that a ruling leads to without asking anybody; None leaves it as it is."""

STANDING: Final[Mapping[State | None, str]] = {
    None: "no command for it has ever come here",
    State.INTENT: "its provider has given no definite answer yet",
    State.DONE: "its effect stands",
    State.REJECTED: "it was rejected and had no effect",
    State.UNDOING: "it is being compensated, and whether it had an effect is not known yet",
    State.REVERSING: "it had its effect, which is being undone",
    State.UNDONE: "it had its effect, which has been undone",
    State.TOMBSTONE: "it was compensated without having had an effect",
    State.CONSUMED: "its effect stands and the stock has left the house",
    State.SETTLED: "an earlier verdict has settled it",
}
"""How the ledger puts it to a person."""


def ruling_on(rulings: Rulings, row: LedgerRow | None, command: SettleStep) -> Ruling:
    """What becomes of a verdict."""
    state = None if row is None else row.state
    return rulings[command.direction, command.verdict].get(state, Ruling.DENY)


def denial(row: LedgerRow | None) -> str:
    """Why the ledger does not accept a verdict."""
    return f"the ledger disagrees: {STANDING[None if row is None else row.state]}"


def accepted_before(row: LedgerRow | None, command: SettleStep) -> StoredOutcome | None:
    """The answer to the same verdict, where it has been accepted already (P2)."""
    if row is None or row.verdict is None or row.verdict["said"] != _said(command):
        return None
    answer = row.verdict["answer"]
    return StoredOutcome(StepSettled.__name__, UUID(answer["event_id"]), answer["body"].encode())


def refuse(received: Received, command: SettleStep, reason: str, event_id: UUID) -> StoredOutcome:
    """The answer to a verdict that is not accepted; not stored, because things may stand otherwise later."""
    event = StepSettled(**identity(received), verdict=command.verdict, accepted=False, reason=reason)
    return stored(event, event_id)


def accept(
    row: LedgerRow | None,
    received: Received,
    command: SettleStep,
    state: State | None,
    now: datetime,
    event_id: UUID,
    reference: str | None = None,
) -> tuple[LedgerRow, StoredOutcome]:
    """The row with the verdict written into it, and the answer.

    Args:
        state: the row's new state; None leaves it as it is.
        reference: of the effect, as the ledger or the provider has it; the person's where there is none.
    """
    reference = reference or command.reference
    event = StepSettled(**identity(received), verdict=command.verdict, accepted=True, reference=reference)
    answer = stored(event, event_id)
    verdict: dict[str, Any] = {
        "said": _said(command),
        "at": now.isoformat(),
        "answer": {"event_id": str(event_id), "body": answer.body.decode()},
    }
    row = row or LedgerRow(
        saga_id=command.saga_id,
        step=command.step,
        order_id=command.order_id,
        command=UNASKED,
        state=State.TOMBSTONE,
        updated_at=now,
    )
    return replace(row, state=state or row.state, request=None, verdict=verdict, updated_at=now), answer


def _said(command: SettleStep) -> dict[str, Any]:
    return {
        "direction": command.direction.value,
        "verdict": command.verdict.value,
        "reference": command.reference,
        "amount": command.amount,
    }
