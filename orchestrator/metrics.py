"""What is counted, in the text format of Prometheus. The hot path only adds to plain counters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from messaging.outbox import Outbox
from messaging.unit_of_work import StorageUnavailable
from orchestrator.core.state import END_STATUSES
from orchestrator.engine import Engine
from orchestrator.queries.gauges import GaugeQueries, Gauges

log = structlog.get_logger(__name__)

REQUEST_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

_ENGINE_COUNTS: Final[Mapping[str, tuple[str, str]]] = {
    "started": ("oms_sagas_started", "Sagas started"),
    "stale": ("oms_inputs_stale", "Inputs that changed nothing: duplicates and late answers"),
    "resent": ("oms_commands_resent", "Commands sent again because no answer came"),
    "unknown_version": ("oms_inputs_unknown_version", "Inputs for a definition version not known here"),
}

_GAUGES: Final[Mapping[str, tuple[str, str]]] = {
    "with_incident": ("oms_sagas_with_incident", "Sagas with an open incident"),
    "open_dead_letters": ("oms_dead_letters_open", "Dead letters that nobody has settled"),
    "outbox": ("oms_outbox_messages", "Messages written and not yet confirmed by the broker"),
    "outbox_age_s": ("oms_outbox_oldest_seconds", "Age of the oldest message in the outbox"),
    "overdue_s": ("oms_sagas_overdue_seconds", "For how long the longest waiting saga has been due"),
}


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the numbers come from.

    Attributes:
        values: further gauges: name → (help, value).
    """

    engines: Sequence[Engine] = ()
    outboxes: Sequence[Outbox] = ()
    storage: GaugeQueries | None = None
    values: Mapping[str, tuple[str, Callable[[], float]]] = field(default_factory=dict)


class Metrics:
    """All numbers of one process."""

    def __init__(self, sources: Sources) -> None:
        self._storage = sources.storage
        self._registry = CollectorRegistry(auto_describe=False)
        self._now = _Now()
        self._registry.register(_Counts(sources))
        self._registry.register(self._now)
        ProcessCollector(registry=self._registry)
        self.requests = Histogram(
            "oms_http_request_seconds",
            "Seconds until a response began",
            ("method", "route", "status"),
            buckets=REQUEST_SECONDS,
            registry=self._registry,
        )

    async def exposition(self) -> bytes:
        """Everything as text; without what the database would have to tell while it cannot be used."""
        self._now.gauges = None
        if self._storage is not None:
            try:
                self._now.gauges = await self._storage.read()
            except StorageUnavailable:
                log.warning("metrics without the database's part")
        return generate_latest(self._registry)


class _Counts(Collector):
    """Reads the counters that the parts keep."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        for key, (name, documentation) in _ENGINE_COUNTS.items():
            yield CounterMetricFamily(name, documentation, self._counted([key])[0])
        ended = CounterMetricFamily("oms_sagas_ended", "Sagas ended, by result", labels=["result"])
        results = sorted(END_STATUSES)
        for result, count in zip(results, self._counted(f"ended_{each}" for each in results), strict=True):
            ended.add_metric([result], count)
        yield ended
        yield self._receipts()
        for name, (documentation, value) in self._sources.values.items():
            yield GaugeMetricFamily(name, documentation, value())

    def _counted(self, keys: Iterable[str]) -> list[int]:
        return [sum(engine.counts[key] for engine in self._sources.engines) for key in keys]

    def _receipts(self) -> Metric:
        family = CounterMetricFamily("oms_messages_published", "Messages, by receipt", labels=["receipt"])
        totals: dict[str, int] = {}
        for outbox in self._sources.outboxes:
            for receipt, count in outbox.receipts.items():
                totals[receipt.value] = totals.get(receipt.value, 0) + count
        for receipt_name, count in sorted(totals.items()):
            family.add_metric([receipt_name], count)
        return family


class _Now(Collector):
    """What the database said last."""

    gauges: Gauges | None = None

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        if self.gauges is None:
            return
        active = GaugeMetricFamily("oms_sagas_active", "Sagas that have not ended", labels=["status"])
        active.add_metric(["running"], self.gauges.running)
        active.add_metric(["compensating"], self.gauges.compensating)
        yield active
        for attribute, (name, documentation) in _GAUGES.items():
            yield GaugeMetricFamily(name, documentation, getattr(self.gauges, attribute))
