"""What is counted and how it is called, without any monitoring system: plain numbers of one event loop.

A part adds to plain counters and to `Distribution`; whoever is asked for metrics reads them (`Reading`).
No label is an identity or anything else that a stranger chooses: every label has few values.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from messaging.background import BackgroundLoops
from messaging.outbox import Outbox
from messaging.transport import Receipt

MESSAGES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500)
"""Bounds for sizes of batches."""

SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 21600)
"""Bounds for durations between a call's and a long saga's."""


class Distribution:
    """How values spread over buckets; adding one takes no lock."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """Values up to each bound and above the one before, and those above the last."""
        self.total = 0.0

    def add(self, value: float) -> None:
        """Take note of one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def __add__(self, other: Distribution) -> Distribution:
        both = Distribution(self.bounds)
        both.counts = [mine + its for mine, its in zip(self.counts, other.counts, strict=True)]
        both.total = self.total + other.total
        return both


class Kind(StrEnum):
    """What may be done with the numbers of a measure."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Measure:
    """A family of numbers, as Prometheus shows it.

    Attributes:
        name: with its unit; a counter's ends in ``_total``.
        said: what it means, a sentence.
    """

    name: str
    kind: Kind
    said: str
    labels: tuple[str, ...] = ()

    def of(self, *values: str) -> Series:
        """One of its series, by the values of its labels."""
        assert len(values) == len(self.labels), f"{self.name} has the labels {self.labels}"
        return Series(self, values)


@dataclass(frozen=True, slots=True)
class Series:
    """A measure with a value for each label."""

    measure: Measure
    values: tuple[str, ...]


Reading = tuple[Series, "float | Distribution"]

PUBLISHED: Final = Measure(
    "oms_messages_published_total",
    Kind.COUNTER,
    "Published messages by what the broker said: confirmed, returned (no queue took it), refused (a negative "
    "acknowledgement, or not writable) or unknown (no word came; the relay sends it again).",
    ("service", "receipt"),
)
RELAYED: Final = Measure(
    "oms_relay_published_total",
    Kind.COUNTER,
    "Messages that the relay published again because a crash or the broker had left them in the outbox.",
    ("service",),
)
VANISHED: Final = Measure(
    "oms_broker_vanished_total",
    Kind.COUNTER,
    "Exchanges and queues that were gone from the broker, with what they held, and have been declared again.",
    ("service",),
)
BATCH: Final = Measure(
    "oms_batch_messages", Kind.HISTOGRAM, "Messages taken at once, by queue.", ("service", "queue")
)
OUTBOX: Final = Measure(
    "oms_outbox_messages", Kind.GAUGE, "Messages written and not yet confirmed by the broker.", ("service",)
)
OUTBOX_AGE: Final = Measure(
    "oms_outbox_oldest_age_seconds", Kind.GAUGE, "Age of the oldest message in the outbox.", ("service",)
)

LOOP_FAILURES: Final = Measure(
    "oms_loop_failures_total", Kind.COUNTER, "Runs of a background loop that failed; it goes on.", ("loop",)
)
LOOP_FAILING: Final = Measure(
    "oms_loop_failing",
    Kind.GAUGE,
    "1 while a background loop fails again and again, and so gets nothing done; else 0.",
    ("loop",),
)

MEASURES: Final = (PUBLISHED, RELAYED, VANISHED, BATCH, OUTBOX, OUTBOX_AGE, LOOP_FAILURES, LOOP_FAILING)


def read_loops(services: Iterable[BackgroundLoops]) -> Iterator[Reading]:
    """How the background loops of a process fare."""
    for loops in services:
        for name, state in loops.states.items():
            yield LOOP_FAILURES.of(name), state.failures
            yield LOOP_FAILING.of(name), int(state.trouble is not None)


def read_traffic(service: str, outbox: Outbox, batches: Mapping[str, Distribution]) -> Iterator[Reading]:
    """What went in and out of one service in this process."""
    for receipt in Receipt:
        yield PUBLISHED.of(service, receipt.value), outbox.receipts[receipt]
    yield RELAYED.of(service), outbox.relayed
    for queue, sizes in batches.items():
        yield BATCH.of(service, queue), sizes


def summed(readings: Iterable[Reading]) -> dict[Series, float | Distribution]:
    """Readings of several parts; what several say of one series is added up."""
    sums: dict[Series, float | Distribution] = {}
    for series, value in readings:
        before = sums.get(series)
        if isinstance(before, Distribution) and isinstance(value, Distribution):
            sums[series] = before + value
        elif before is None or isinstance(before, Distribution) or isinstance(value, Distribution):
            sums[series] = value
        else:
            sums[series] = before + value
    return sums
