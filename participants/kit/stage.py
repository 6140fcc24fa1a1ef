"""A participant on a stage: given a command, which answer? Without a broker."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from uuid import UUID

from contracts.commands import Command
from contracts.envelope import Direction
from contracts.events import OutcomeEvent
from contracts.routing import COMMANDS_EXCHANGE, command_queue
from messaging.compose import command_message
from messaging.consumer import Failed, Hops
from messaging.identifiers import time_ordered_ids
from messaging.installation import Identity
from messaging.retries import RetryPolicy
from messaging.transport import Delivery, Message
from participants.breaker import BreakerPolicy
from participants.kit.participant import Participant
from participants.kit.service import worker_of
from participants.provider_consumer import ProviderConsumer
from participants.provider_terms import ProviderUnavailable
from participants.service import ParticipantDeployment, ParticipantPace

_new_id = time_ordered_ids(random.SystemRandom())

PACE: Final = ParticipantPace(longest_call_s=5.0)
CALM: Final = BreakerPolicy(minimum_calls=1_000_000)
"""On a stage the breaker never opens: every command is on its own."""


class _UnitOfWork(Protocol):
    async def run(self, work: Any, /) -> Any: ...


class Stage:
    """Serves one command after the other by the consumer that the participant's process has."""

    def __init__(self, participant: Participant, unit_of_work: _UnitOfWork, provider: Any = None) -> None:
        self.participant = participant
        self.provider = provider
        self._unit_of_work = unit_of_work

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

    async def serve(self, *commands: Command) -> OutcomeEvent:
        """What is answered to a command as it stands, or, of a batch of them, to the last one.

        Raises whatever makes a message fail.
        """
        return (await self.serve_all(*commands))[-1]

    async def serve_all(self, *commands: Command) -> list[OutcomeEvent]:
        """What is answered to a batch of commands, in the order of the answers."""
        now = await self._unit_of_work.run(_now)
        name = self.participant.name
        sent = [command_message(each, name, _new_id(), now, "stage") for each in commands]
        return await self.deliver(*sent)

    async def deliver(self, *messages: Message) -> list[OutcomeEvent]:
        """The same of messages, whatever they say."""
        queue, heard = _Queue([_delivered(each, self.participant.name) for each in messages]), _Heard()
        rng = random.Random(0)  # noqa: S311  nothing here is secret
        deployment = ParticipantDeployment(None, _new_id, rng, RetryPolicy(), PACE)  # type: ignore[arg-type]
        worker = worker_of(
            deployment,
            self.participant,
            self.provider,
            CALM,
            queue,
            heard.units_of(self._unit_of_work),
            _Told(RetryPolicy(), _new_id, self.participant.name, heard=heard),
            Identity(),
        )
        await _until_served(worker, queue)
        if heard.failed:
            raise heard.failed[0]
        outcomes = self.participant.outcomes
        return [outcomes[each.type].model_validate_json(each.body) for each in heard.answers]


async def _now(transaction: Any) -> Any:
    return await transaction.now()


async def _until_served(worker: Any, queue: _Queue) -> None:
    """Until every delivery has been acknowledged."""
    tasks: list[asyncio.Future[None]] = [asyncio.ensure_future(_for_ever(worker.run_once))]
    if isinstance(worker, ProviderConsumer):
        tasks.append(asyncio.ensure_future(_for_ever(worker.answer_once)))
    done: asyncio.Future[Any] = asyncio.ensure_future(queue.served.wait())
    try:
        await asyncio.wait([*tasks, done], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in (*tasks, done):
            task.cancel()
        await asyncio.gather(*tasks, done, return_exceptions=True)


async def _for_ever(once: Any) -> None:
    while True:
        await once()


class _Queue:
    """A `Subscription` to these deliveries and no more."""

    def __init__(self, deliveries: Sequence[Delivery]) -> None:
        self.served = asyncio.Event()
        self._waiting = list(deliveries)
        self._left = len(deliveries)

    async def receive(self, limit: int) -> list[Delivery]:
        """See `Subscription.receive`."""
        if not self._waiting:
            await asyncio.get_running_loop().create_future()
        taken, self._waiting = self._waiting[:limit], self._waiting[limit:]
        return taken

    @property
    def arrived(self) -> int:
        """See `Subscription.arrived`."""
        return len(self._waiting)

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """See `Subscription.acknowledge`."""
        self._left -= len(deliveries)
        if self._left <= 0:
            self.served.set()

    async def pause(self) -> None:
        """See `Subscription.pause`."""

    async def resume(self) -> None:
        """See `Subscription.resume`."""

    async def close(self) -> None:
        """See `Subscription.close`."""


@dataclass
class _Heard:
    """What was answered and what failed, of transactions that were committed."""

    answers: list[Message] = field(default_factory=list)
    failed: list[Exception] = field(default_factory=list)

    def units_of(self, unit_of_work: _UnitOfWork) -> Any:
        """The unit of work, overheard."""
        heard = self

        class Overheard:
            async def run(self, work: Any) -> Any:
                sent: list[Message] = []

                async def overheard(transaction: Any) -> Any:
                    result = await work(transaction)
                    sent[:] = transaction.outgoing
                    return result

                result = await unit_of_work.run(overheard)
                heard.answers += sent
                return result

        return Overheard()


@dataclass(frozen=True, slots=True)
class _Told(Hops):
    """What becomes of messages that fail: it is told to whoever asked."""

    heard: _Heard = field(default_factory=_Heard)

    async def after_failures(self, transaction: Any, failures: Sequence[Failed]) -> None:
        """See `Hops.after_failures`."""
        self.heard.failed.extend(each.error for each in failures)

    async def postpone(self, transaction: Any, deliveries: Sequence[Delivery]) -> None:
        """See `Hops.postpone`."""
        if deliveries:
            self.heard.failed.append(ProviderUnavailable("the circuit breaker is open"))


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
            Exception: what the effect raised, or that its provider did not answer; it would be tried again.
        """
        return await self.stage.serve(self.command(command, step, **fields))

    def command(self, command: type[Command], step: str | None = None, **fields: Any) -> Command:
        """A command of this saga, to be served in a batch with others."""
        for each in self.stage.participant.steps:
            if command in (each.work.command, each.work.compensation):
                forward = command is each.work.command
                direction = Direction.FORWARD if forward else Direction.COMPENSATING
                asked = {"step": step or each.work.name.lower()[:60], "direction": direction}
                identity = {"saga_id": self.saga_id, "order_id": self.subject_id}
                return command(**identity, **asked, **fields)
        raise LookupError(f"{self.stage.participant.name} does not do {command.__name__}")


def _delivered(message: Message, name: str) -> Delivery:
    return Delivery(
        queue=command_queue(name),
        body=message.body,
        message_id=str(message.message_id),
        type=message.type,
        correlation_id=None if message.correlation_id is None else str(message.correlation_id),
        headers=message.headers,
        exchange=COMMANDS_EXCHANGE,
        routing_key=message.routing_key,
        redelivered=False,
    )
