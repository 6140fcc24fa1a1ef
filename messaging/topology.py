"""Which exchanges, queues and bindings the services need (`broker.md`), built as plain data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from contracts.routing import (
    COMMANDS_EXCHANGE,
    EVENTS_EXCHANGE,
    OUTCOMES_QUEUE,
    command_queue,
    dead_letter_queue,
    retry_queue,
)
from messaging.transport import Binding, Exchange, Queue, Topology

DELIVERY_LIMIT: Final = 100
"""Redeliveries after which the broker itself dead-letters: the backstop for crashing consumers (D1)."""

DEAD_LETTER_DELIVERY_LIMIT: Final = 1_000_000
"""Dead-letter queues practically never drop; -1 would, on RabbitMQ 3.x, at the first failure."""

EXCHANGES: Final = (Exchange(COMMANDS_EXCHANGE, "direct"), Exchange(EVENTS_EXCHANGE, "topic"))


def consumed_queue(name: str, retry_delays_s: Sequence[float]) -> tuple[Queue, ...]:
    """A queue with its dead-letter queue and one retry queue a delay."""
    return (
        Queue(name, DELIVERY_LIMIT, dead_letter_queue=dead_letter_queue(name)),
        Queue(dead_letter_queue(name), DEAD_LETTER_DELIVERY_LIMIT),
        *(
            Queue(retry_queue(name, delay_s), DELIVERY_LIMIT, dead_letter_queue=name, ttl_s=delay_s)
            for delay_s in retry_delays_s
        ),
    )


def participant_topology(participant: str, retry_delays_s: Sequence[float]) -> Topology:
    """What one participant consumes: its commands, with retries and dead letters."""
    queue = command_queue(participant)
    return Topology(
        EXCHANGES, consumed_queue(queue, retry_delays_s), (Binding(queue, COMMANDS_EXCHANGE, participant),)
    )


def orchestrator_topology(outcome_keys: Iterable[str], retry_delays_s: Sequence[float]) -> Topology:
    """The outcome queue, bound for exactly the outcomes that the registered definitions await."""
    bindings = tuple(Binding(OUTCOMES_QUEUE, EVENTS_EXCHANGE, key) for key in sorted(set(outcome_keys)))
    return Topology(EXCHANGES, consumed_queue(OUTCOMES_QUEUE, retry_delays_s), bindings)
