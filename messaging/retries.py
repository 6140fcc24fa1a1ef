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
    ERROR_MESSAGE,
    ERROR_STACK,
    ERROR_TYPE,
    FIRST_FAILURE_AT,
    LAST_FAILURE_AT,
    MAX_ERROR_CHARACTERS,
    MAX_STACK_CHARACTERS,
    ORIGINAL_EXCHANGE,
    ORIGINAL_MESSAGE_ID,
    ORIGINAL_QUEUE,
    ORIGINAL_ROUTING_KEY,
    ORIGINAL_TYPE,
    PERMANENT,
)
from contracts.flaws import flaws_of_model
from contracts.routing import dead_letter_queue, failure_exchange, retry_queue
from contracts.sensitive import SENSITIVE_NAMES, without_sensitive
from messaging.errors import ForeignMessage, PermanentFailure
from messaging.headers import carried, short_text, storable
from messaging.transport import Delivery, Message

MAX_STACK_FRAMES: Final = 8

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
    return int(attempt) if isinstance(attempt, int) and 1 <= attempt < 2**31 else 1


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


def parse_id(text: str | None) -> UUID | None:
    """A message's identity as a UUID; None for anything else."""
    try:
        return UUID(text) if text else None
    except ValueError:
        return None


def _words_of(error: BaseException) -> str:
    """What an error says; that of a model says which field, and leaves out the shortened value."""
    return flaws_of_model(error) if isinstance(error, ValidationError) else str(error)


def _failure_headers(delivery: Delivery, error: BaseException, said: str, now: datetime) -> dict[str, Any]:
    kind = error.kind if isinstance(error, _HOPELESS) else type(error).__name__
    at = now.isoformat()
    return {
        ERROR_TYPE: short_text(kind),
        ERROR_MESSAGE: storable(said, MAX_ERROR_CHARACTERS),
        ERROR_STACK: storable(_short_stack(error), MAX_STACK_CHARACTERS),
        PERMANENT: isinstance(error, PermanentFailure),
        FIRST_FAILURE_AT: _kept(delivery, FIRST_FAILURE_AT, at),
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
    """The same body on its way to another queue, under a message id of its own (M1).

    ``headers`` and where it came from are on it however many headers its sender has given it (D1).
    """
    origin = {
        ORIGINAL_EXCHANGE: delivery.exchange,
        ORIGINAL_ROUTING_KEY: delivery.routing_key,
        ORIGINAL_QUEUE: delivery.queue,
        ORIGINAL_MESSAGE_ID: delivery.message_id,
        ORIGINAL_TYPE: delivery.type,
    }
    kept = {name: _kept(delivery, name, value or "") for name, value in origin.items()}
    return Message(
        message_id=message_id,
        type=short_text(delivery.type or ""),
        exchange=failure_exchange(delivery.queue),
        routing_key=queue,
        body=delivery.body,
        correlation_id=parse_id(delivery.correlation_id),
        app_id=app_id,
        timestamp=now,
        mandatory=True,
        headers=carried(delivery.headers, on_top={**kept, **headers}),
    )


def _kept(delivery: Delivery, name: str, otherwise: str) -> str:
    """What an earlier hop has written, which stays."""
    written = delivery.headers.get(name)
    return short_text(written if isinstance(written, str) else otherwise)
