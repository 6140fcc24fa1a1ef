"""Takes dead letters off their queues into the table, and tells the saga that awaits them (D2, S10)."""

from __future__ import annotations

import json
from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any, Final, cast
from uuid import UUID

import structlog

from contracts.envelope import INSTALLATION, REPLAY_OF, Direction
from contracts.failures import (
    ERROR_MESSAGE,
    ERROR_STACK,
    FIRST_FAILURE_AT,
    LAST_FAILURE_AT,
    ORIGINAL_EXCHANGE,
    ORIGINAL_MESSAGE_ID,
    ORIGINAL_QUEUE,
    ORIGINAL_ROUTING_KEY,
    ORIGINAL_TYPE,
)
from contracts.routing import dead_letter_queue
from contracts.sensitive import SENSITIVE_NAMES, without_sensitive
from messaging.consumer import Failed
from messaging.errors import ForeignMessage
from messaging.headers import carried, storable
from messaging.identifiers import NewId
from messaging.installation import MAX_SHOWN_CHARACTERS, Identity
from messaging.retries import attempt_of, parse_id
from messaging.transport import Delivery
from messaging.unit_of_work import Transaction
from orchestrator.core.inputs import CommandDeadLettered
from orchestrator.core.state import Saga
from orchestrator.dead_letters.causes import cause_of
from orchestrator.engine import Engine, Happening, LockedSagas, UnknownVersion, UnreadableSaga
from orchestrator.storage import DeadLetter, DeadLetterStatus, OrchestratorTransaction

log = structlog.get_logger(__name__)

MAX_STORED_BODY_BYTES: Final = 256 * 1024
"""Longer bodies are cut, and such dead letters cannot be replayed (D2, S16)."""

CORRELATION: Final = "correlation-id"
"""Stored header that keeps the message's correlation id for its replay."""

COMMAND: Final = "command"
MESSAGE: Final = "message"
FOREIGN: Final = "foreign"
"""Begins the key of messages that one installation sent and another one got; they are not replayed (M4)."""

_BY_WORK: Final = attrgetter("work_key")
"""The order in which replicas lock the rows of what arrives at the same time (S18)."""

_FIRST: Final = datetime(2000, 1, 1, tzinfo=UTC)
_CLOCKS_DIFFER_BY: Final = timedelta(days=1)
"""At most, where anybody may have written a time."""


def message_key(death_id: object) -> str:
    """What deaths of a message that is no command are counted by: the id of its first (D2)."""
    return f"{MESSAGE}:{death_id}"


def replay_of(delivery: Delivery) -> str | None:
    """The key of the dead letter whose replay a delivery is; None where it is none (D3)."""
    first = delivery.headers.get(REPLAY_OF)
    death_id = parse_id(first) if isinstance(first, str) else None
    return message_key(death_id) if death_id else None


@dataclass(frozen=True, slots=True)
class CommandWork:
    """The piece of work that a dead command was for."""

    saga_id: UUID
    step: str
    direction: Direction

    @property
    def key(self) -> str:
        """What its dead letters are counted by (D2)."""
        return f"{COMMAND}:{self.saga_id}:{self.step}:{self.direction}"


@dataclass(frozen=True, slots=True)
class Collector:
    """Handles batches from the dead-letter queues. Whatever arrives is kept; nothing is refused."""

    engine: Engine
    new_id: NewId
    identity: Identity = field(default_factory=Identity)

    async def __call__(
        self, transaction: OrchestratorTransaction, deliveries: Sequence[Delivery]
    ) -> Sequence[Failed]:
        """Record every dead letter, and let the sagas concerned know in the same transaction.

        A death that is known already is no news: its saga may have been sent on its way again since (D2).
        """
        works = [self._work_of(delivery) for delivery in deliveries]
        saga_ids = {work.saga_id for work in works if work is not None}
        locked = await self.engine.lock(transaction, saga_ids)
        there = {*locked.sagas, *locked.unreadable}
        commands = [work if work and work.saga_id in there else None for work in works]
        died = [
            self._described(delivery, command, locked)
            for delivery, command in zip(deliveries, commands, strict=True)
        ]
        known = await transaction.known_deaths([(dead.work_key, dead.death_id) for dead in died])
        recorded = [
            self._told(dead, delivery, command, locked) if command else dead
            for dead, delivery, command in zip(died, deliveries, commands, strict=True)
            if (dead.work_key, dead.death_id) not in known
        ]
        transaction.record_deaths(sorted(recorded, key=_BY_WORK))
        self.engine.write(transaction, locked)
        return ()

    def _work_of(self, delivery: Delivery) -> CommandWork | None:
        """What died for a saga of ours. Another installation's sagas are none of our business (M4)."""
        if self.identity.refusal(delivery) is not None:
            return None
        return command_work(delivery, self.engine.registry.commands)

    def _described(self, delivery: Delivery, command: CommandWork | None, work: LockedSagas) -> DeadLetter:
        dead = dead_letter(delivery, self.new_id(), work.now, self.engine.registry.sensitive)
        if (refusal := self.identity.refusal(delivery)) is not None:
            dead = replace(dead, error_type=refusal.kind, error_message=str(refusal), permanent=False)
        if command is None:
            return _folded(dead, delivery) if dead.error_type == ForeignMessage.kind else dead
        return replace(
            dead,
            kind=COMMAND,
            work_key=command.key,
            saga_id=command.saga_id,
            step=command.step,
            direction=command.direction.value,
        )

    def _told(
        self, dead: DeadLetter, delivery: Delivery, command: CommandWork, work: LockedSagas
    ) -> DeadLetter:
        """A death that was not known yet, of which its saga has been told."""
        if command.saga_id in work.sagas and not _awaited(work.sagas[command.saga_id], command):
            return replace(dead, status=DeadLetterStatus.RESOLVED, cause="not awaited when it arrived")
        error = f"{dead.error_type}: {dead.error_message}"
        happened = CommandDeadLettered(command.step, command.direction, dead.permanent, error)
        answer = self.engine.fold(work, Happening(command.saga_id, happened, delivery.message_id))
        match answer:
            case UnknownVersion():
                return _untold(dead, "its saga's definition version was not known here")
            case UnreadableSaga(reason):
                return _untold(dead, f"what is stored of its saga could not be read: {reason}")
        return dead


@dataclass(frozen=True, slots=True)
class BareRecords:
    """Keeps a dead letter that could not be collected as it is: its bytes and the reason alone."""

    new_id: NewId

    async def after_failures(self, transaction: Transaction, failures: Sequence[Failed]) -> None:
        """Record them; there is no queue behind a dead-letter queue."""
        now = await transaction.now()
        storage = cast(OrchestratorTransaction, transaction)
        storage.record_deaths(sorted((self._bare(failed, now) for failed in failures), key=_BY_WORK))

    def _bare(self, failed: Failed, now: datetime) -> DeadLetter:
        bare = replace(failed.delivery, message_id=None, type=None, correlation_id=None, headers={})
        error = f"could not be collected: {type(failed.error).__name__}"
        return replace(dead_letter(bare, self.new_id(), now), error_type="uncollectable", error_message=error)


def _untold(dead: DeadLetter, why: str) -> DeadLetter:
    """Its saga cannot be told, so nothing would ever close it; a later death will be told (S13, S25)."""
    log.error("a dead letter's saga cannot be told", saga_id=str(dead.saga_id), problem=why)
    return replace(dead, status=DeadLetterStatus.RESOLVED, cause=f"{why}; a re-send brings it again")


def _folded(dead: DeadLetter, delivery: Delivery) -> DeadLetter:
    """One dead letter for each installation and queue, however much of it arrives (M4).

    What another installation has refused is folded too, unless a saga of ours waits for it: it is sent again.
    """
    whose = str(delivery.headers.get(INSTALLATION))[:MAX_SHOWN_CHARACTERS]
    return replace(dead, work_key=f"{FOREIGN}:{storable(whose)}:{dead.queue}")


def _awaited(saga: Saga, command: CommandWork) -> bool:
    return saga.waiting_for(command.step, command.direction) is not None


def command_work(delivery: Delivery, known: Container[str]) -> CommandWork | None:
    """The piece of work of a dead command; None for anything that is not a readable command.

    Args:
        known: the types of all commands that sagas ask for.
    """
    if _text(delivery.headers, ORIGINAL_TYPE, delivery.type) not in known:
        return None
    saga_id = parse_id(delivery.correlation_id)
    try:
        body = json.loads(delivery.body)
        work = CommandWork(UUID(body["saga_id"]), str(body["step"])[:70], Direction(body["direction"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return work if work.saga_id == saga_id and storable(work.step) == work.step else None


def dead_letter(
    delivery: Delivery, dead_letter_id: UUID, now: datetime, sensitive: Collection[str] = SENSITIVE_NAMES
) -> DeadLetter:
    """What is kept of a message from a dead-letter queue, whatever its state (D1).

    A message id that is no UUID is a stranger's and tells nothing apart: each such message is kept by itself.

    Args:
        sensitive: names of fields whose values the words about its error do not repeat.
    """
    headers = _discreet(delivery, sensitive)
    cause = cause_of(delivery, headers)
    death_id = str(parse_id(delivery.message_id) or dead_letter_id)
    return DeadLetter(
        dead_letter_id=dead_letter_id,
        kind=MESSAGE,
        work_key=replay_of(delivery) or message_key(death_id),
        death_id=death_id,
        queue=_text(headers, ORIGINAL_QUEUE, _original_queue(delivery)),
        type=_text(headers, ORIGINAL_TYPE, delivery.type),
        error_type=storable(cause.error_type),
        error_message=storable(cause.message),
        error_stack=_text(headers, ERROR_STACK, ""),
        permanent=cause.permanent,
        attempts=attempt_of(delivery),
        first_failed_at=_moment(headers, FIRST_FAILURE_AT, now),
        last_failed_at=_moment(headers, LAST_FAILURE_AT, now),
        exchange=_text(headers, ORIGINAL_EXCHANGE, delivery.exchange),
        routing_key=_text(headers, ORIGINAL_ROUTING_KEY, delivery.routing_key),
        message_id=_text(headers, ORIGINAL_MESSAGE_ID, delivery.message_id),
        headers={**carried(headers), CORRELATION: storable(delivery.correlation_id or "")},
        body=delivery.body[:MAX_STORED_BODY_BYTES],
        body_truncated=len(delivery.body) > MAX_STORED_BODY_BYTES,
        created_at=now,
    )


def _discreet(delivery: Delivery, sensitive: Collection[str]) -> Mapping[str, Any]:
    """The headers, of which those about the error repeat nothing sensitive, whoever has written them."""
    about_error = {
        name: without_sensitive(value, delivery.body, sensitive)
        for name in (ERROR_MESSAGE, ERROR_STACK)
        if isinstance(value := delivery.headers.get(name), str)
    }
    return {**delivery.headers, **about_error}


def _original_queue(delivery: Delivery) -> str:
    return delivery.queue.removesuffix(dead_letter_queue(""))


def _text(headers: Mapping[str, Any], name: str, otherwise: str | None) -> str:
    value = headers.get(name)
    return storable(value if isinstance(value, str) else otherwise or "")


def _moment(headers: Mapping[str, Any], name: str, otherwise: datetime) -> datetime:
    """When it failed, as its message says; a time at which nothing can have failed is not believed.

    PostgreSQL keeps times that Python cannot read, and nothing would read the row any more (S25).
    """
    written = headers.get(name)
    try:
        moment = datetime.fromisoformat(written if isinstance(written, str) else "")
    except ValueError:
        return otherwise
    known = moment.tzinfo is not None and _FIRST <= moment <= otherwise + _CLOCKS_DIFFER_BY
    return moment if known else otherwise
