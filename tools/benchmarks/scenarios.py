"""What is compared with what, and what is aimed at."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from contracts.routing import Batches
from tools.benchmarks import contenders
from tools.benchmarks.measuring import Contender, Footprint, Measurement

BUSY: Final = 256
"""Sagas in flight where throughput is compared."""

IN_FLIGHT: Final = (1, 64, 256, 1000)
"""For the curves."""


@dataclass(frozen=True, slots=True)
class Side:
    """One contender under one load."""

    contender: Contender
    workload: str
    in_flight: int

    @property
    def name(self) -> str:
        """For tables: who, with what, how many at once."""
        return f"{self.contender.name} · {self.workload} · {self.in_flight}"


@dataclass(slots=True)
class Samples:
    """What several repetitions of one side gave."""

    measurements: list[Measurement] = field(default_factory=list)
    footprints: list[Footprint] = field(default_factory=list)

    def each(self) -> list[Samples]:
        """Every repetition by itself."""
        return [
            Samples([one], [print_]) for one, print_ in zip(self.measurements, self.footprints, strict=True)
        ]

    @property
    def per_second(self) -> float:
        """The median throughput."""
        return statistics.median(each.per_second for each in self.measurements)

    @property
    def p50_ms(self) -> float:
        """The median of the median latencies."""
        return statistics.median(each.p50_ms for each in self.measurements)

    @property
    def p99_ms(self) -> float:
        """The median of the 99th percentiles."""
        return statistics.median(each.p99_ms for each in self.measurements)

    @property
    def messages_per_second(self) -> float:
        """Messages moved."""
        return self.per_second * statistics.median(each.messages for each in self.footprints)

    @property
    def cpu_ms(self) -> float:
        """CPU per saga of everything that takes part, in milliseconds."""
        return statistics.median(sum(each.cpu_ms.values()) for each in self.measurements)

    @property
    def spread(self) -> float:
        """Between the best and the worst throughput, as a share of the median."""
        values = [each.per_second for each in self.measurements]
        return (max(values) - min(values)) / self.per_second if self.per_second else float("nan")


Metric = Callable[[Samples], float]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A row of the table: ours against the best of its peers, as a ratio.

    Attributes:
        goal: what the ratio should reach, or stay below where ``smaller_is_better``; None where the row is
            there to be read.
    """

    name: str
    title: str
    ours: Side
    peers: tuple[Side, ...]
    metric: Metric
    unit: str
    goal: float | None = None
    smaller_is_better: bool = False

    def verdict(self, samples: Mapping[Side, Samples]) -> Verdict:
        """The row's figures: a ratio for each repetition, whose two sides saw the same machine."""
        ours = self.metric(samples[self.ours])
        best = min if self.smaller_is_better else max
        peer = best(self.peers, key=lambda side: self.metric(samples[side]))
        pairs = zip(samples[self.ours].each(), samples[peer].each(), strict=False)
        ratios = tuple(_ratio(self.metric(one), self.metric(other)) for one, other in pairs)
        return Verdict(self, ours, self.metric(samples[peer]), peer, ratios)


def _ratio(one: float, other: float) -> float:
    return one / other if other else float("nan")


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a comparison came out.

    Attributes:
        ratios: of each repetition.
    """

    comparison: Comparison
    ours: float
    theirs: float
    peer: Side
    ratios: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """The median of the ratios."""
        return statistics.median(self.ratios)

    @property
    def reached(self) -> bool | None:
        """Whether the goal is reached; None where there is none, or repetitions lie on both sides of it."""
        verdicts = {self._reached(each) for each in self.ratios}
        return verdicts.pop() if len(verdicts) == 1 else None

    def _reached(self, ratio: float) -> bool | None:
        goal = self.comparison.goal
        if goal is None:
            return None
        return ratio <= goal if self.comparison.smaller_is_better else ratio >= goal


def _throughput(samples: Samples) -> float:
    return samples.per_second


def _median_latency(samples: Samples) -> float:
    return samples.p50_ms


def _tail_latency(samples: Samples) -> float:
    return samples.p99_ms


def _messages(samples: Samples) -> float:
    return samples.messages_per_second


def _cpu(samples: Samples) -> float:
    return samples.cpu_ms


def _ours(workload: str, in_flight: int = BUSY) -> Side:
    return Side(contenders.OURS, workload, in_flight)


def _floor(workload: str, in_flight: int = BUSY) -> Side:
    return Side(contenders.FLOOR, workload, in_flight)


ONE_LINE: Final = "one-line"
HTTP: Final = Side(contenders.OVER_HTTP, ONE_LINE, BUSY)
DBOS: Final = tuple(
    Side(contenders.dbos(style, processes), ONE_LINE, in_flight)
    for style, processes, in_flight in (("async", 1, 32), ("async", 2, 64), ("threads", 2, 64))
)
"""DBOS in one process and in two, as coroutines and as threads; the fastest of these counts."""

FASTSTREAM: Final = Side(contenders.FASTSTREAM, ONE_LINE, 64)
CLIENTS: Final = contenders.CLIENTS
PAST: Final = Side(contenders.WITH_PAST, ONE_LINE, BUSY)


def comparisons() -> tuple[Comparison, ...]:
    """All rows, in the order in which they are shown."""
    ours, floor = _ours(ONE_LINE), _floor(ONE_LINE)
    lower = Side(contenders.FLOOR_IN_BATCHES, ONE_LINE, BUSY)
    rate = "sagas/s"
    return (
        Comparison("dbos", "sagas/s at 256 in flight / DBOS at its best", ours, DBOS, _throughput, rate, 12),
        Comparison("dbos", "… over HTTP / DBOS", HTTP, DBOS, _throughput, rate, 12),
        Comparison("faststream", "… / FastStream by hand", ours, (FASTSTREAM,), _throughput, rate),
        Comparison("floor", "sagas/s at 256 in flight / floor", ours, (floor,), _throughput, rate, 1),
        Comparison("floor", "… over HTTP / floor", HTTP, (floor,), _throughput, rate, 0.9),
        Comparison("floor", "… / floor whose messages travel in batches", ours, (lower,), _throughput, rate),
        Comparison("floor", "… CPU per saga / floor", ours, (floor,), _cpu, "ms", None, True),
        Comparison(
            "new-order",
            "… New-Order / floor",
            _ours("new-order"),
            (_floor("new-order"),),
            _throughput,
            rate,
            0.8,
        ),
        Comparison(
            "alone",
            "median latency alone / floor",
            _ours(ONE_LINE, 1),
            (_floor(ONE_LINE, 1),),
            _median_latency,
            "ms",
            1.5,
            True,
        ),
        Comparison(
            "alone",
            "the same in one process / in four",
            Side(contenders.IN_ONE, ONE_LINE, 1),
            (_ours(ONE_LINE, 1),),
            _median_latency,
            "ms",
            0.6,
            True,
        ),
        *_batches(),
        *_lingering(),
        Comparison("hot", "one hot SKU / spread SKUs", _ours("hot"), (ours,), _throughput, rate, 0.95),
        Comparison("history", "with a past / empty tables", PAST, (ours,), _throughput, rate, 0.95),
        *_intake(),
        Comparison(
            "failing",
            "20 % failing / all good, messages/s",
            _ours("failing"),
            (ours,),
            _messages,
            "messages/s",
            0.95,
        ),
    )


def _batches() -> Sequence[Comparison]:
    sides = {each: Side(contenders.with_batches(each), ONE_LINE, BUSY) for each in Batches}
    singly = (sides[Batches.NONE],)
    return tuple(
        Comparison(
            "batches", f"{title} in batches / singly", sides[each], singly, metric, unit, None, smaller
        )
        for each, title in ((Batches.COMMANDS, "commands"), (Batches.ALL, "commands and outcomes"))
        for metric, unit, smaller in ((_throughput, "sagas/s", False), (_cpu, "ms", True))
    )


def _lingering() -> Sequence[Comparison]:
    at_once, at_once_alone = (Side(contenders.lingering(0), ONE_LINE, in_flight) for in_flight in (BUSY, 1))
    under_load = tuple(
        Comparison(
            "linger",
            f"lingering for {seconds * 1000:g} ms / never",
            Side(contenders.lingering(seconds), ONE_LINE, BUSY),
            (at_once,),
            metric,
            unit,
            None,
            smaller,
        )
        for seconds in (0.005, 0.015)
        for metric, unit, smaller in ((_throughput, "sagas/s", False), (_cpu, "ms", True))
    )
    alone = Side(contenders.lingering(0.005), ONE_LINE, 1)
    never = (at_once_alone,)
    return (
        *under_load,
        Comparison("linger", "… for 5 ms, alone", alone, never, _median_latency, "ms", None, True),
    )


def _intake() -> Sequence[Comparison]:
    accepting = Side(contenders.ACCEPTING, ONE_LINE, CLIENTS)
    insert = (Side(contenders.INSERT, ONE_LINE, CLIENTS),)
    return (
        Comparison(
            "intake", "POST /orders accepted / one insert", accepting, insert, _throughput, "orders/s", 1.3
        ),
        Comparison("intake", "… 99th percentile", accepting, insert, _tail_latency, "ms", 1, True),
    )


def curves() -> tuple[Side, ...]:
    """For the pictures: throughput and latency over what is in flight."""
    return tuple(
        Side(contender, ONE_LINE, in_flight)
        for in_flight in IN_FLIGHT
        for contender in (contenders.OURS, contenders.FLOOR)
    )


NAMES: Final = tuple(dict.fromkeys(comparison.name for comparison in comparisons()))
