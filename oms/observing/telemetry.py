"""Whether traces are wanted, and what is used when they are not: nothing.

The standard variables of OpenTelemetry switch them on: `OTEL_EXPORTER_OTLP_ENDPOINT` (or
`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`), unless `OTEL_SDK_DISABLED` is ``true`` or `OTEL_TRACES_EXPORTER` is
``none``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

import structlog
from fastapi.telemetry import TelemetryConfig
from structlog.typing import Processor

from messaging.tracing import UNTRACED, Tracing
from orchestrator.http.dependencies import untraced
from participants.provider_http import ProviderExchange

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

log = structlog.get_logger(__name__)

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
EXTRA: Final = "oms-saga-orchestrator[telemetry]"


def _as_it_is(exchange: ProviderExchange, _provider: str) -> ProviderExchange:
    return exchange


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class Telemetry:
    """How a process takes part in traces.

    Attributes:
        http: for the web framework.
        exchange: makes the way to a provider, given with its name, tell of its calls.
        flush: sends what is left; waits for it.
        log_context: puts the ids of the current trace into logs.
    """

    tracing: Tracing = UNTRACED
    http: Callable[[], TelemetryConfig] = untraced
    exchange: Callable[[ProviderExchange, str], ProviderExchange] = _as_it_is
    flush: Callable[[], None] = _nothing
    log_context: Processor | None = None

    async def close(self) -> None:
        """Send what is left, without holding up the event loop."""
        if self.flush is not _nothing:
            await asyncio.to_thread(self.flush)


OFF: Final = Telemetry()


def wanted(environment: Mapping[str, str]) -> bool:
    """Whether the environment asks for traces."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if environment.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() == "none":
        return False
    return any(environment.get(name, "").strip() for name in ENDPOINTS)


def telemetry_of(service: str, environment: Mapping[str, str]) -> Telemetry:
    """What a process does about traces; the adapter is imported only when they are wanted.

    An environment that asks for them where the extra is not installed must not keep orders waiting: it is
    said in the log, and there are none.
    """
    if not wanted(environment):
        return OFF
    if find_spec("opentelemetry.sdk") is None or find_spec("opentelemetry.exporter") is None:
        log.warning("traces are asked for but cannot be made", install=f"pip install '{EXTRA}'")
        return OFF
    from oms.observing.traces import exporting_provider

    return telemetry_over(exporting_provider(service))


def telemetry_over(provider: TracerProvider) -> Telemetry:
    """Traces given to a provider of OpenTelemetry's, which samples and exports them."""
    from oms.observing.traces import OpenTelemetryTracing, TracedExchange, http_config, log_context

    tracer = provider.get_tracer("oms")
    return Telemetry(
        tracing=OpenTelemetryTracing(tracer),
        http=lambda: http_config(provider),
        exchange=lambda exchange, name: TracedExchange(exchange, name, tracer),
        flush=provider.shutdown,
        log_context=log_context,
    )
