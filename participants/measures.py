"""What is counted of a participant's provider, and of what it has pruned."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from messaging.measures import Kind, Measure, Reading
from participants.breaker import BreakerState
from participants.provider_consumer import ProviderConsumer
from participants.provider_plan import Ask
from participants.retention import Pruner

CALLS: Final = Measure(
    "oms_provider_calls_total",
    Kind.COUNTER,
    "Questions to a provider by how they ended: answered, failed (no answer) or abandoned (we gave up).",
    ("service", "question", "result"),
)
CALL_DURATION: Final = Measure(
    "oms_provider_call_duration_seconds",
    Kind.HISTOGRAM,
    "Until a question to a provider ended.",
    ("service", "question"),
)
UNDER_WAY: Final = Measure(
    "oms_provider_calls_under_way", Kind.GAUGE, "Calls to a provider that are not answered yet.", ("service",)
)
BREAKER: Final = Measure(
    "oms_breaker_state",
    Kind.GAUGE,
    "1 for the state in which the circuit breaker at the provider is, 0 for the others.",
    ("service", "state"),
)

PRUNED: Final = Measure(
    "oms_participant_rows_pruned_total",
    Kind.COUNTER,
    "Rows that a participant removed behind the low-water mark; stock movements become one adjustment.",
    ("service", "table"),
)

MEASURES: Final = (CALLS, CALL_DURATION, UNDER_WAY, BREAKER, PRUNED)


def read_calls(service: str, consumer: ProviderConsumer) -> Iterator[Reading]:
    """What the provider of one participant has done in this process, and where its breaker stands."""
    for (ask, result), count in consumer.calls.items():
        yield CALLS.of(service, question(ask), result.value), count
    for ask, seconds in consumer.call_seconds.items():
        yield CALL_DURATION.of(service, question(ask)), seconds
    yield UNDER_WAY.of(service), consumer.under_way
    now = consumer.breaker_state
    for state in BreakerState:
        yield BREAKER.of(service, state.value), float(state is now)


def read_pruned(service: str, pruner: Pruner) -> Iterator[Reading]:
    """What one participant has pruned in this process."""
    for table in pruner.tables:
        yield PRUNED.of(service, table), pruner.removed[table]


def question(ask: Ask) -> str:
    """A question's name as a label."""
    return ask.name.lower()
