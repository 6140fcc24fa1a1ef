"""A kit participant on a stage: given a command, which answer? Without a broker."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from contracts.commands import Command
from contracts.envelope import Direction
from contracts.events import OutcomeEvent
from contracts.routing import COMMANDS_EXCHANGE, command_queue
from messaging.compose import command_message
from messaging.identifiers import time_ordered_ids
from messaging.transport import Delivery
from participants.kit.handler import KitHandler
from participants.kit.participant import Participant

_new_id = time_ordered_ids(random.SystemRandom())


class _UnitOfWork(Protocol):
    async def run(self, work: Any, /) -> Any: ...


class Stage:
    """Serves one command after the other, each in a transaction, as the participant's process does."""

    def __init__(self, participant: Participant, unit_of_work: _UnitOfWork) -> None:
        self.participant = participant
        self._unit_of_work = unit_of_work
        self._handler = KitHandler(participant, _new_id)

    def saga(self) -> StagedSaga:
        """A saga of its own, which asks for work."""
        return StagedSaga(self)

    async def ask(self, command: type[Command], **fields: Any) -> OutcomeEvent:
        """What is answered to a command of a saga of its own; see `StagedSaga.ask`."""
        return await self.saga().ask(command, **fields)

    async def execute(self, statement: Any, parameters: Any = None) -> list[Any]:
        """The rows that a statement gives, in a transaction of its own: to prepare, or to look."""

        async def work(transaction: Any) -> list[Any]:
            result = await transaction.execute(statement, parameters)
            return list(result.all()) if result.returns_rows else []

        rows: list[Any] = await self._unit_of_work.run(work)
        return rows

    async def serve(self, command: Command) -> OutcomeEvent:
        """What is answered to a command as it stands. Raises whatever makes its message fail."""

        async def work(transaction: Any) -> Any:
            now = await transaction.now()
            message = command_message(command, self.participant.name, _new_id(), now, "stage")
            failures = await self._handler(transaction, [_delivered(message)])
            if failures:
                raise failures[0].error
            return transaction.outgoing[-1]

        answer = await self._unit_of_work.run(work)
        return self.participant.outcomes[answer.type].model_validate_json(answer.body)


@dataclass(frozen=True)
class StagedSaga:
    """One saga on a stage. The same command again is a copy of it, as after a lost answer (P2)."""

    stage: Stage
    saga_id: UUID = field(default_factory=_new_id)
    subject_id: UUID = field(default_factory=_new_id)

    async def ask(self, command: type[Command], step: str | None = None, **fields: Any) -> OutcomeEvent:
        """What is answered to a command, a compensation among them.

        Args:
            step: the piece of work; of a command and its compensation it is the same unless given.
            fields: of the command.

        Raises:
            PermanentFailure: the message would be a dead letter.
            Exception: what the effect raised; the message would be tried again.
        """
        for each in self.stage.participant.steps:
            if command in (each.work.command, each.work.compensation):
                forward = command is each.work.command
                direction = Direction.FORWARD if forward else Direction.COMPENSATING
                asked = {"step": step or each.work.name.lower()[:60], "direction": direction}
                identity = {"saga_id": self.saga_id, "order_id": self.subject_id}
                return await self.stage.serve(command(**identity, **asked, **fields))
        raise LookupError(f"{self.stage.participant.name} does not do {command.__name__}")


def _delivered(message: Any) -> Delivery:
    return Delivery(
        queue=command_queue(message.routing_key),
        body=message.body,
        message_id=str(message.message_id),
        type=message.type,
        correlation_id=str(message.correlation_id),
        headers=message.headers,
        exchange=COMMANDS_EXCHANGE,
        routing_key=message.routing_key,
        redelivered=False,
    )
