"""What an effect is given: the open transaction, the time, whose work it is, and what its saga holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import CursorResult, Executable

from contracts.commands import Command
from contracts.envelope import Direction
from contracts.events import CompensationOutcome, Effect, OutcomeEvent
from participants.fence import State
from participants.kit.storage import KitTransaction
from participants.ledger import Ledger, LedgerRow
from participants.provider_terms import idempotency_key

E = TypeVar("E", bound=OutcomeEvent)


@dataclass(frozen=True, slots=True)
class Held:
    """What an earlier step of the same saga did here and what still stands of it.

    Attributes:
        notes: what that step kept by `Work.keep`.
    """

    _row: LedgerRow

    def is_of(self, command: type[Command]) -> bool:
        """Whether it is the effect of this kind of step."""
        return self._row.command == command.__name__

    @property
    def notes(self) -> Mapping[str, Any]:
        """What that step kept by `Work.keep`."""
        return self._row.details


def held_of(rows: Iterable[LedgerRow]) -> tuple[Held, ...]:
    """What a saga holds here, given all its rows: done, not undone, not consumed."""
    return tuple(Held(row) for row in rows if row.state is State.DONE)


@dataclass(slots=True, eq=False)
class Work:
    """One command being served. Everything that it does commits with the answer, or not at all (P1).

    Attributes:
        command: what is asked for.
        now: the database's time, with its zone; an effect reads no other clock (S11).
    """

    command: Command
    now: datetime
    _transaction: KitTransaction
    _ledger: Ledger
    _notes: dict[str, Any] = field(default_factory=dict)

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
        return idempotency_key(self.saga_id, self.step, self.command.direction)

    @property
    def is_new(self) -> bool:
        """Nothing is known of this piece of work yet."""
        return self._ledger.get(self.saga_id, self.step) is None

    @property
    def notes(self) -> Mapping[str, Any]:
        """What was kept of this piece of work."""
        return self._notes

    async def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        """Execute a statement of SQLAlchemy in the transaction of this work.

        What the database raises ends the transaction, and the message is tried again as after any trouble.
        """
        return await self._transaction.execute(statement, parameters)

    def answer(self, event: type[E], **fields: Any) -> E:
        """The event that answers the command, with its identities filled in.

        A compensation's says `Effect.UNDONE` unless told otherwise. Raises pydantic's ValidationError where
        the fields make no such event.
        """
        identity = (self.saga_id, self.subject_id, self.step, self.command.direction)
        return answer(event, identity, fields)

    def keep(self, **notes: Any) -> None:
        """Note, as JSON, what later steps of the saga need of this one; nothing sensitive."""
        self._notes.update(notes)

    def held(self, command: type[Command]) -> tuple[Held, ...]:
        """What this saga holds here by the effects of a kind of step: done, not undone, not consumed."""
        return tuple(each for each in held_of(self._ledger.of_saga(self.saga_id)) if each.is_of(command))

    def consume(self, held: Held) -> None:
        """Use up what an earlier step holds: from now on it cannot be undone any more (P11)."""
        self._ledger.put(replace(held._row, state=State.CONSUMED, updated_at=self.now))


def answer(event: type[E], identity: tuple[UUID, UUID, str, Direction], fields: Mapping[str, Any]) -> E:
    """An event for whoever asked: saga, subject, step and direction."""
    saga_id, subject_id, step, direction = identity
    if direction is Direction.COMPENSATING and issubclass(event, CompensationOutcome):
        fields = {"effect": Effect.UNDONE, **fields}
    return event(saga_id=saga_id, order_id=subject_id, step=step, direction=direction, **fields)
