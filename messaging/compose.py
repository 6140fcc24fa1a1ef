"""Commands and events as messages: the one place that knows which property and header holds what."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from contracts.commands import AdvanceLowWaterMark, Command
from contracts.envelope import (
    ATTEMPT,
    CAUSATION_ID,
    EVENT_ID,
    SCHEMA_VERSION,
    SCHEMA_VERSION_HEADER,
    TRACEPARENT,
)
from contracts.events import Event, OutcomeEvent
from contracts.routing import COMMANDS_EXCHANGE, EVENTS_EXCHANGE
from contracts.wire import written
from messaging.errors import Poison
from messaging.retries import parse_id
from messaging.transport import Delivery, Message


def command_message(
    command: Command,
    participant: str,
    message_id: UUID,
    now: datetime,
    app_id: str,
    causation_id: str | None = None,
    traceparent: str | None = None,
) -> Message:
    """A command on its way to a participant; mandatory, because without a queue it would be lost."""
    return Message(
        message_id=message_id,
        type=type(command).__name__,
        exchange=COMMANDS_EXCHANGE,
        routing_key=participant,
        body=written(command),
        correlation_id=command.saga_id,
        app_id=app_id,
        timestamp=now,
        mandatory=True,
        headers={ATTEMPT: 1, **_headers(causation_id, traceparent)},
    )


def instruction_message(
    instruction: AdvanceLowWaterMark, participant: str, message_id: UUID, now: datetime, app_id: str
) -> Message:
    """An instruction on its way to a participant; it belongs to no saga, so nothing correlates it."""
    return Message(
        message_id=message_id,
        type=type(instruction).__name__,
        exchange=COMMANDS_EXCHANGE,
        routing_key=participant,
        body=instruction.model_dump_json().encode(),
        correlation_id=None,
        app_id=app_id,
        timestamp=now,
        mandatory=True,
        headers={ATTEMPT: 1, **_headers(None, None)},
    )


def event_message(
    event: Event,
    message_id: UUID,
    event_id: UUID,
    now: datetime,
    app_id: str,
    causation_id: str | None = None,
    traceparent: str | None = None,
) -> Message:
    """An event on its way to whoever listens; mandatory only where a saga awaits it.

    Args:
        event_id: stays the same however often the event is sent (P2, M3); the message id does not.
    """
    return stored_event_message(
        type(event).__name__,
        event.key,
        written(event),
        event.saga_id,
        message_id,
        event_id,
        now,
        app_id,
        mandatory=isinstance(event, OutcomeEvent),
        causation_id=causation_id,
        traceparent=traceparent,
    )


def stored_event_message(
    type_name: str,
    key: str,
    body: bytes,
    saga_id: UUID,
    message_id: UUID,
    event_id: UUID,
    now: datetime,
    app_id: str,
    *,
    mandatory: bool,
    causation_id: str | None = None,
    traceparent: str | None = None,
) -> Message:
    """An event whose body has been stored, sent (again) under a message id of its own (P2)."""
    return Message(
        message_id=message_id,
        type=type_name,
        exchange=EVENTS_EXCHANGE,
        routing_key=key,
        body=body,
        correlation_id=saga_id,
        app_id=app_id,
        timestamp=now,
        mandatory=mandatory,
        headers={EVENT_ID: str(event_id), **_headers(causation_id, traceparent)},
    )


def check_envelope(delivery: Delivery) -> UUID:
    """The saga id of a message whose envelope is sound.

    Raises:
        Poison: no usable correlation id, or a schema version that is not known here (S13, S16).
    """
    saga_id = parse_id(delivery.correlation_id)
    if saga_id is None:
        raise Poison("bad_envelope", "correlation_id is not a saga id")
    check_version(delivery)
    return saga_id


def check_version(delivery: Delivery) -> None:
    """Raises Poison where the schema version of a message is not known here (S13, S16)."""
    version = delivery.headers.get(SCHEMA_VERSION_HEADER, SCHEMA_VERSION)
    if version != SCHEMA_VERSION:
        raise Poison("unknown_version", f"schema-version {str(version)[:40]!r} is not known here")


def traceparent_of(delivery: Delivery) -> str | None:
    """The W3C trace context that a delivery carries, if any."""
    value = delivery.headers.get(TRACEPARENT)
    return value if isinstance(value, str) and len(value) <= 55 else None


def _headers(causation_id: str | None, traceparent: str | None) -> dict[str, str | int]:
    headers: dict[str, str | int] = {SCHEMA_VERSION_HEADER: SCHEMA_VERSION}
    if causation_id is not None:
        headers[CAUSATION_ID] = causation_id
    if traceparent is not None:
        headers[TRACEPARENT] = traceparent
    return headers
