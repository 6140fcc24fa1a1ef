"""What an effect is given: the open transaction, the time, and whose work it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import CursorResult, Executable

from contracts.commands import Command
from contracts.events import CompensationOutcome, Effect, OutcomeEvent

E = TypeVar("E", bound=OutcomeEvent)

Execute = Callable[[Executable, Any], Awaitable[CursorResult[Any]]]
"""Executes a statement in the open transaction."""


@dataclass(frozen=True, slots=True)
class Work:
    """One command being served. Everything that it does commits with the answer, or not at all (P1).

    Attributes:
        command: what is asked for.
        now: the database's time, with its zone; an effect reads no other clock (S11).
    """

    command: Command
    now: datetime
    _execute: Execute

    @property
    def saga_id(self) -> UUID:
        """The saga that asks."""
        return self.command.saga_id

    @property
    def subject_id(self) -> UUID:
        """What the saga is about, such as an order: its customer's name for it."""
        return self.command.order_id

    @property
    def step(self) -> str:
        """The piece of work within its saga; with `saga_id` it names the effect, for ever."""
        return self.command.step

    @property
    def key(self) -> str:
        """The piece of work in one word, the same however often it is asked for: an idempotency key."""
        return f"{self.saga_id}:{self.step}:{self.command.direction.value}"

    async def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        """Execute a statement of SQLAlchemy in the transaction of this work.

        What the database raises ends the transaction, and the message is tried again as after any trouble.
        """
        return await self._execute(statement, parameters)

    def answer(self, event: type[E], **fields: Any) -> E:
        """The event that answers the command, with its identities filled in.

        A compensation's says `Effect.UNDONE` unless told otherwise. Raises pydantic's ValidationError where
        the fields make no such event.
        """
        identity: Mapping[str, Any] = {
            "saga_id": self.saga_id,
            "order_id": self.subject_id,
            "step": self.step,
            "direction": self.command.direction,
        }
        if issubclass(event, CompensationOutcome):
            fields = {"effect": Effect.UNDONE, **fields}
        return event(**identity, **fields)
