"""The numbers of one process in the text format of Prometheus. The hot path only adds to plain counters."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from messaging.measures import Distribution, Kind, Measure, Reading, Series, summed

log = structlog.get_logger(__name__)

REQUEST_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

LOOK_TIMEOUT_S: Final = 2.0
"""Seconds that a look at a database or the broker may take; without it the rest is told."""

REQUESTS: Final = Measure(
    "oms_http_request_duration_seconds",
    Kind.HISTOGRAM,
    "Until a response began; the route is the template.",
    ("method", "route", "status"),
)
BUILD: Final = Measure("oms_build_info", Kind.GAUGE, "Always 1.", ("version", "python"))

MEASURES: Final = (REQUESTS, BUILD)

Look = Callable[[], AsyncIterator[Reading]]
"""Reads numbers from somewhere else: a database, the broker."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the numbers come from.

    Attributes:
        parts: what the parts of this process have counted.
        looks: what has to be asked for; one that fails, or is too slow, is left out.
    """

    parts: Sequence[Callable[[], Iterable[Reading]]] = ()
    looks: Sequence[Look] = ()


class Metrics:
    """All numbers of one process."""

    def __init__(self, sources: Sources, version: str = "") -> None:
        self._sources = sources
        self._build = BUILD.of(version, platform.python_version())
        self._registry = CollectorRegistry(auto_describe=False)
        self._families = _Families()
        self._registry.register(self._families)
        ProcessCollector(registry=self._registry)
        self.requests = Histogram(
            REQUESTS.name,
            REQUESTS.said,
            REQUESTS.labels,
            buckets=REQUEST_SECONDS,
            registry=self._registry,
        )

    async def exposition(self) -> bytes:
        """Everything as text, without what cannot be asked for just now."""
        readings: list[Reading] = [(self._build, 1)]
        for part in self._sources.parts:
            readings += part()
        for looked in await asyncio.gather(*(_look(look) for look in self._sources.looks)):
            readings += looked
        self._families.readings = summed(readings)
        return generate_latest(self._registry)


async def _look(look: Look) -> list[Reading]:
    try:
        async with asyncio.timeout(LOOK_TIMEOUT_S):
            return [reading async for reading in look()]
    except Exception as error:
        log.warning("metrics are not complete", error=f"{type(error).__name__}: {error}"[:300])
        return []


class _Families(Collector):
    """The readings that were taken last, by measure."""

    readings: dict[Series, float | Distribution]

    def __init__(self) -> None:
        self.readings = {}

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        families: dict[Measure, Metric] = {}
        for series, value in self.readings.items():
            measure = series.measure
            family = families.get(measure)
            if family is None:
                family = families[measure] = _FAMILIES[measure.kind](
                    measure.name, measure.said, labels=measure.labels
                )
            _add(family, series.values, value)
        yield from families.values()


_FAMILIES: Final = {
    Kind.COUNTER: CounterMetricFamily,
    Kind.GAUGE: GaugeMetricFamily,
    Kind.HISTOGRAM: HistogramMetricFamily,
}


def _add(family: Metric, labels: Sequence[str], value: float | Distribution) -> None:
    if isinstance(value, Distribution):
        assert isinstance(family, HistogramMetricFamily)
        family.add_metric(labels, list(_buckets(value)), value.total)
    else:
        assert isinstance(family, CounterMetricFamily | GaugeMetricFamily)
        family.add_metric(labels, value)


def _buckets(distribution: Distribution) -> Iterator[tuple[str, float]]:
    reached = 0
    for bound, count in zip((*distribution.bounds, float("inf")), distribution.counts, strict=True):
        reached += count
        yield ("+Inf" if bound == float("inf") else str(float(bound))), reached
