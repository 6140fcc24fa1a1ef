"""What becomes of a message whose handling failed: a retry hop or the dead letters (D1). Pure."""

from __future__ import annotations

import traceback
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from pydantic import ValidationError

from contracts.envelope import ATTEMPT
from contracts.failures import (
    ERROR_MESSAGE as ERROR_MESSAGE,
)
from contracts.failures import (
    ERROR_STACK as ERROR_STACK,
)
from contracts.failures import (
    ERROR_TYPE as ERROR_TYPE,
)
from contracts.failures import (
    FIRST_FAILURE_AT as FIRST_FAILURE_AT,
)
from contracts.failures import (
    LAST_FAILURE_AT as LAST_FAILURE_AT,
)
from contracts.failures import (
    MAX_ERROR_CHARACTERS as MAX_ERROR_CHARACTERS,
)
from contracts.failures import (
    MAX_STACK_CHARACTERS as MAX_STACK_CHARACTERS,
)
from contracts.failures import (
    ORIGINAL_EXCHANGE as ORIGINAL_EXCHANGE,
)
from contracts.failures import (
    ORIGINAL_MESSAGE_ID as ORIGINAL_MESSAGE_ID,
)
from contracts.failures import (
    ORIGINAL_QUEUE as ORIGINAL_QUEUE,
)
from contracts.failures import (
    ORIGINAL_ROUTING_KEY as ORIGINAL_ROUTING_KEY,
)
from contracts.failures import (
    ORIGINAL_TYPE as ORIGINAL_TYPE,
)
from contracts.failures import (
    PERMANENT as PERMANENT,
)
from contracts.flaws import flaws_in_line
from contracts.routing import dead_letter_queue, failure_exchange, retry_queue
from contracts.sensitive import SENSITIVE_NAMES, without_sensitive
from messaging.errors import ForeignMessage, PermanentFailure
from messaging.transport import Delivery, Message

MAX_STACK_FRAMES: Final = 8
MAX_HEADER_CHARACTERS: Final = 4000
MAX_HEADERS: Final = 64

_HOPELESS: Final = (PermanentFailure, ForeignMessage)
"""What is not tried again here."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a transiently failing message is tried, and how long between.

    Attributes:
        delays_s: seconds before the second, third, ... attempt; the last one repeats.
        max_attempts: attempts in all before the message is a dead letter.
    """

    delays_s: tuple[float, ...] = (1, 5, 30)
    max_attempts: int = 5

    def delay_after(self, attempt: int) -> float | None:
        """Seconds to wait after the failed ``attempt`` (1, 2, ...); None when it was the last."""
        if attempt >= self.max_attempts:
            return None
        return self.delays_s[min(attempt, len(self.delays_s)) - 1]


def attempt_of(delivery: Delivery) -> int:
    """Which attempt a delivery is, from 1. Anything odd in the header counts as the first."""
    attempt = delivery.headers.get(ATTEMPT, 1)
    return attempt if isinstance(attempt, int) and 1 <= attempt < 2**31 else 1


def after_failure(
    delivery: Delivery,
    error: BaseException,
    policy: RetryPolicy,
    message_id: UUID,
    now: datetime,
    app_id: str,
    sensitive: Collection[str] = SENSITIVE_NAMES,
    about: Mapping[str, Any] | None = None,
) -> Message:
    """The message that takes a failed delivery to its next retry queue, or to its dead letters.

    Args:
        sensitive: names of fields whose values the words of the error must not repeat.
        about: what else than the message holds such fields.
    """
    attempt = attempt_of(delivery)
    delay_s = None if isinstance(error, _HOPELESS) else policy.delay_after(attempt)
    said = without_sensitive(_words_of(error), delivery.body, sensitive)
    failure = _failure_headers(delivery, error, without_sensitive(said, about, sensitive), now)
    if delay_s is None:
        queue = dead_letter_queue(delivery.queue)
        return _hop(delivery, queue, message_id, now, app_id, {**failure, ATTEMPT: attempt})
    queue = retry_queue(delivery.queue, delay_s)
    return _hop(delivery, queue, message_id, now, app_id, {**failure, ATTEMPT: attempt + 1})


def postpone(
    delivery: Delivery, policy: RetryPolicy, message_id: UUID, now: datetime, app_id: str
) -> Message:
    """The message that takes a delivery not worked on to the longest retry queue as it was (P9)."""
    queue = retry_queue(delivery.queue, policy.delays_s[-1])
    return _hop(delivery, queue, message_id, now, app_id, {ATTEMPT: attempt_of(delivery)})


def plain_headers(headers: Mapping[str, Any]) -> dict[str, Any]:
    """The headers that are plain short text or numbers; never ``x-death``, which brokers read differently."""
    kept = [
        (name, value)
        for name, value in headers.items()
        if not name.startswith("x-")
        and len(name) <= 128
        and isinstance(value, str | int | float | bool)
        and "\x00" not in f"{name}{value}"
    ][:MAX_HEADERS]
    return {name: value[:MAX_HEADER_CHARACTERS] if isinstance(value, str) else value for name, value in kept}


def parse_id(text: str | None) -> UUID | None:
    """A message's identity as a UUID; None for anything else."""
    try:
        return UUID(text) if text else None
    except ValueError:
        return None


def _words_of(error: BaseException) -> str:
    """What an error says; that of a model says which field, and leaves out the shortened value."""
    return f"{error.title}: {flaws_in_line(error)}" if isinstance(error, ValidationError) else str(error)


def _failure_headers(delivery: Delivery, error: BaseException, said: str, now: datetime) -> dict[str, Any]:
    kind = error.kind if isinstance(error, _HOPELESS) else type(error).__name__
    at = now.isoformat()
    return {
        ERROR_TYPE: kind,
        ERROR_MESSAGE: storable(said, MAX_ERROR_CHARACTERS),
        ERROR_STACK: storable(_short_stack(error), MAX_STACK_CHARACTERS),
        PERMANENT: isinstance(error, PermanentFailure),
        FIRST_FAILURE_AT: delivery.headers.get(FIRST_FAILURE_AT, at),
        LAST_FAILURE_AT: at,
    }


def _short_stack(error: BaseException) -> str:
    """The innermost frames, the last one called at the end.

    Source lines are left out: a provider that is down fails thousands of commands, and reading and parsing
    the sources for each would cost more than handling it.
    """
    frames = [(frame.f_code, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    return "\n".join(
        f"{code.co_filename}:{line} in {code.co_qualname}" for code, line in frames[-MAX_STACK_FRAMES:]
    )


def _hop(
    delivery: Delivery,
    queue: str,
    message_id: UUID,
    now: datetime,
    app_id: str,
    headers: Mapping[str, Any],
) -> Message:
    """The same body on its way to another queue, under a message id of its own (M1)."""
    origin = {
        ORIGINAL_EXCHANGE: delivery.exchange,
        ORIGINAL_ROUTING_KEY: delivery.routing_key,
        ORIGINAL_QUEUE: delivery.queue,
        ORIGINAL_MESSAGE_ID: delivery.message_id or "",
        ORIGINAL_TYPE: delivery.type or "",
    }
    carried = plain_headers(delivery.headers)
    origin = {name: carried.get(name, value) for name, value in origin.items()}
    return Message(
        message_id=message_id,
        type=_short(delivery.type or ""),
        exchange=failure_exchange(delivery.queue),
        routing_key=queue,
        body=delivery.body,
        correlation_id=parse_id(delivery.correlation_id),
        app_id=app_id,
        timestamp=now,
        mandatory=True,
        headers=plain_headers({**carried, **origin, **headers}),
    )


def _short(text: str) -> str:
    """Text within AMQP's 255 bytes for a property."""
    return storable(text, 255).encode()[:255].decode("utf-8", "ignore")


def storable(text: str, limit: int = MAX_HEADER_CHARACTERS) -> str:
    """Text that PostgreSQL and AMQP can hold: what they cannot is left out, and what is too long is cut."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()[:limit]
