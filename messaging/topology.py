"""Which exchanges, queues and bindings the services need (`docs/broker.md`), built as plain data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from contracts.routing import (
    COMMANDS_EXCHANGE,
    EVENTS_EXCHANGE,
    ORCHESTRATOR,
    OUTCOMES_QUEUE,
    PARTICIPANTS,
    batch_key,
    command_queue,
    dead_letter_queue,
    failure_exchange,
    retry_queue,
)
from messaging.installation import Identity
from messaging.transport import Binding, Exchange, Queue, Topology

DELIVERY_LIMIT: Final = 100
"""Redeliveries after which the broker itself dead-letters: the backstop for crashing consumers (D1)."""

DEAD_LETTER_DELIVERY_LIMIT: Final = 1_000_000
"""Dead-letter queues practically never drop; -1 would, on RabbitMQ 3.x, at the first failure."""

EXCHANGES: Final = (Exchange(COMMANDS_EXCHANGE, "direct"), Exchange(EVENTS_EXCHANGE, "topic"))


def installation_of(identity: Identity) -> Topology:
    """Nothing but whose the virtual host has to be (M4)."""
    return Topology(installation=identity.installation_id)


def consumed_queue(name: str, retry_delays_s: Sequence[float]) -> Topology:
    """A queue with its dead-letter queue, one retry queue a delay, and the exchange that leads to these."""
    dead_letters = Queue(dead_letter_queue(name), DEAD_LETTER_DELIVERY_LIMIT)
    retries = tuple(
        Queue(retry_queue(name, delay_s), DELIVERY_LIMIT, dead_letter_queue=name, ttl_s=delay_s)
        for delay_s in retry_delays_s
    )
    exchange = failure_exchange(name)
    return Topology(
        (Exchange(exchange, "direct"),),
        (Queue(name, DELIVERY_LIMIT, dead_letter_queue=dead_letters.name), dead_letters, *retries),
        tuple(Binding(queue.name, exchange, queue.name) for queue in (dead_letters, *retries)),
    )


def participant_topology(participant: str, retry_delays_s: Sequence[float]) -> Topology:
    """What one participant consumes: its commands, with retries and dead letters.

    A built-in participant's queue asks for batches from its beginning (M5).
    """
    queue = command_queue(participant)
    commands = Topology(
        EXCHANGES,
        bindings=(Binding(queue, COMMANDS_EXCHANGE, participant),),
        first_bindings=(batches_of_commands(participant),) if participant in PARTICIPANTS else (),
    )
    return consumed_queue(queue, retry_delays_s) + commands


def batches_of_commands(participant: str) -> Binding:
    """How a participant's queue asks for commands in batches (M5)."""
    return Binding(command_queue(participant), COMMANDS_EXCHANGE, batch_key(participant))


def batches_of_outcomes(participant: str) -> Binding:
    """How the orchestrator's queue asks for one participant's outcomes in batches (M5).

    Whoever else has bound a queue for these outcomes does not hear of those that travel so.
    """
    return Binding(OUTCOMES_QUEUE, failure_exchange(command_queue(participant)), batch_key(ORCHESTRATOR))


def orchestrator_topology(outcome_keys: Iterable[str], retry_delays_s: Sequence[float]) -> Topology:
    """The outcome queue, bound for exactly the outcomes that the registered definitions await."""
    bindings = tuple(Binding(OUTCOMES_QUEUE, EVENTS_EXCHANGE, key) for key in sorted(set(outcome_keys)))
    return consumed_queue(OUTCOMES_QUEUE, retry_delays_s) + Topology(EXCHANGES, bindings=bindings)
