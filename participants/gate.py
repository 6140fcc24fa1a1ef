"""The fence applied to one command: what it may do, or why it fails for good."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from contracts.envelope import Direction
from messaging.errors import PermanentFailure
from participants.commands import Offer, Received, payload_hash
from participants.fence import HASHED, Move, State, allowed
from participants.ledger import UNASKED, LedgerRow


def move_for(row: LedgerRow | None, received: Received) -> Move:
    """What a command that is no verdict may do.

    Raises:
        PermanentFailure: it contradicts what the ledger holds (P2, P11, S19).
    """
    if row is None:
        return allowed(None, received.direction, has_outcome=False)
    _check_same_work(row, received)
    move = allowed(row.state, received.direction, row.outcome(received.direction) is not None)
    if move is Move.FAIL_CONSUMED:
        raise PermanentFailure("consumed", f"{received.step} is consumed: its stock has left the house (P11)")
    if move is Move.FAIL_SETTLED:
        raise PermanentFailure("settled", f"{received.step} was settled by a person's verdict (S19)")
    if received.direction is Direction.FORWARD and move in HASHED:
        _check_same_payload(row, received)
    return move


def check_not_expired(row: LedgerRow | None, received: Received, low_water_mark: UUID | None) -> None:
    """Raises PermanentFailure for unknown work behind the mark: what was known of it may be pruned (P7)."""
    if row is None and low_water_mark is not None and received.saga_id < low_water_mark:
        raise PermanentFailure("expired", f"{received.step} is of a saga that has ended long ago (P7)")


def check_same_order(row: LedgerRow | None, received: Received) -> None:
    """Raises PermanentFailure where a command names another order than the ledger has for its step."""
    if row is not None and row.order_id != received.command.order_id:
        raise PermanentFailure("order_mismatch", f"{received.step} belongs to order {row.order_id}")


def _check_same_work(row: LedgerRow, received: Received) -> None:
    check_same_order(row, received)
    if received.work is not None and row.command not in (received.work.name, UNASKED):
        raise PermanentFailure(
            "step_mismatch", f"{received.step} of this saga was asked for as {row.command}"
        )


def _check_same_payload(row: LedgerRow, received: Received) -> None:
    if row.payload_hash is not None and row.payload_hash != payload_hash(received.command):
        raise PermanentFailure(
            "payload_mismatch", f"{received.step} was asked for with another payload before (P2)"
        )


def opened(received: Received, work: Offer, state: State, now: datetime, **more: Any) -> LedgerRow:
    """A new row for the work that a command asks for, or asks to compensate.

    Args:
        more: what else stands in it.
    """
    asked = received.direction is Direction.FORWARD
    return LedgerRow(
        saga_id=received.saga_id,
        step=received.step,
        order_id=received.command.order_id,
        command=work.name,
        state=state,
        updated_at=now,
        payload_hash=payload_hash(received.command) if asked else None,
        **more,
    )
