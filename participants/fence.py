"""What a participant may do about a command, given what its ledger remembers of that work.

**What lives here.** One table, from the state of a ledger row (or no row) and the direction of a command to
a move: do it, do it again, repeat the answer, refuse, undo, find out, bury. No storage, no messages, no
providers: those read the move and carry it out (`inventory.handlers`, `external`, `provider_consumer`).

**How it works.** A row stands for (saga, step) and is locked before anything is asked here, so two copies
of a command, or a command and its compensation, are never decided upon at once. `allowed` is a look-up;
what changes the row's state is the carrying out, in the transaction of the effect and of the answer.

**What must never happen.** An effect twice (P2). An effect after its compensation, however late the command
comes (P5). A compensation that finds nothing and leaves no tombstone: the late command would take effect
(P4). Silence: whoever asks again is answered again (P2, P3).

Rules: P1 to P6, P11 and S19, each named in its cell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from contracts.envelope import Direction


class State(StrEnum):
    """Where the work on one step stands, as the ledger row says."""

    INTENT = "intent"
    """The provider is being called, or was when we were interrupted: the effect is unknown (P6)."""
    DONE = "done"
    """The effect stands."""
    REJECTED = "rejected"
    """Refused for a business reason; there is no effect (P8)."""
    UNDOING = "undoing"
    """Compensated while at intent: what became of the effect is being found out (P6)."""
    REVERSING = "reversing"
    """The effect was there and its reversal is being asked of the provider (P6)."""
    UNDONE = "undone"
    """The effect was there and is reversed (P3)."""
    TOMBSTONE = "tombstone"
    """Compensated without an effect; none may ever come (P4, P5)."""
    CONSUMED = "consumed"
    """A reservation whose stock has left the house (P11)."""
    SETTLED = "settled"
    """A person has made it right outside of the system (S19)."""


class Move(StrEnum):
    """What a command may do."""

    ACT = "do the effect"
    ACT_AGAIN = "call again with the same key"
    REPEAT = "send the stored outcome again"
    REFUSE = "answer StepRefused"
    UNDO = "undo the effect"
    FIND_OUT = "find out what became of the effect, then undo that"
    BURY = "write a tombstone, answer that there was nothing"
    FAIL_CONSUMED = "permanent failure: consumed"
    FAIL_SETTLED = "permanent failure: settled by a person"


@dataclass(frozen=True, slots=True)
class Cell:
    """One entry of the table: the move, the rule it keeps, and what to do where `Move.REPEAT` has nothing."""

    move: Move
    rule: str
    without_outcome: Move | None = None


_F, _C = Direction.FORWARD, Direction.COMPENSATING

TABLE: Final[Mapping[tuple[State | None, Direction], Cell]] = {
    (None, _F): Cell(Move.ACT, "P1"),
    (State.INTENT, _F): Cell(Move.ACT_AGAIN, "P6"),
    (State.DONE, _F): Cell(Move.REPEAT, "P2"),
    (State.REJECTED, _F): Cell(Move.REPEAT, "P2"),
    (State.CONSUMED, _F): Cell(Move.REPEAT, "P2"),
    (State.UNDOING, _F): Cell(Move.REFUSE, "P5"),
    (State.REVERSING, _F): Cell(Move.REFUSE, "P5"),
    (State.UNDONE, _F): Cell(Move.REFUSE, "P5"),
    (State.TOMBSTONE, _F): Cell(Move.REFUSE, "P5"),
    (State.SETTLED, _F): Cell(Move.REPEAT, "S19", without_outcome=Move.REFUSE),
    (None, _C): Cell(Move.BURY, "P4"),
    (State.INTENT, _C): Cell(Move.FIND_OUT, "P6"),
    (State.DONE, _C): Cell(Move.UNDO, "P3"),
    (State.REJECTED, _C): Cell(Move.BURY, "P4"),
    (State.CONSUMED, _C): Cell(Move.FAIL_CONSUMED, "P11"),
    (State.UNDOING, _C): Cell(Move.FIND_OUT, "P6"),
    (State.REVERSING, _C): Cell(Move.UNDO, "P6"),
    (State.UNDONE, _C): Cell(Move.REPEAT, "P3"),
    (State.TOMBSTONE, _C): Cell(Move.REPEAT, "P4", without_outcome=Move.BURY),
    (State.SETTLED, _C): Cell(Move.REPEAT, "S19", without_outcome=Move.FAIL_SETTLED),
}
"""Every state, and no row at all, in both directions. A verdict has a table of its own (`verdicts`)."""

HASHED: Final = frozenset({Move.ACT_AGAIN, Move.REPEAT})
"""Moves of a forward command that only the same payload may make (P2)."""


def allowed(state: State | None, direction: Direction, has_outcome: bool) -> Move:  # noqa: FBT001
    """What a command may do.

    Args:
        state: the row's, None without a row.
        direction: forward for the step's command, compensating for its compensation.
        has_outcome: whether the row holds an outcome of this direction.
    """
    cell = TABLE[state, direction]
    if cell.move is Move.REPEAT and not has_outcome:
        if cell.without_outcome is None:
            raise AssertionError(f"a ledger row is {state} without a {direction} outcome")
        return cell.without_outcome
    return cell.move
