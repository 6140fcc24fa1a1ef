"""Traces by OpenTelemetry, by its conventions for messaging and HTTP. Imported only when they are wanted.

One order is one tree: request → message sent → message processed → call to the provider → message sent → ...
Each message's span stands in its ``traceparent`` header, so whoever processes it goes on below it. What a
person does to a saga has a trace of its own; the order's trace goes on, and the two link to each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from importlib.metadata import version
from typing import Any, Final

from fastapi.telemetry import TelemetryConfig
from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import Scope
from structlog.typing import EventDict

from contracts.envelope import TRACEPARENT
from messaging.transport import Delivery, Message
from participants.provider_http import Call, ProviderExchange, Reply

VERSION: Final = version("oms-saga-orchestrator")

_W3C: Final = TraceContextTextMapPropagator()
_UNWATCHED: Final = frozenset({"/livez", "/readyz", "/metrics"})


class OpenTelemetryTracing:
    """The `messaging.tracing.Tracing` of OpenTelemetry."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    @contextmanager
    def sending(self, outgoing: list[Message]) -> Iterator[None]:
        """See `Tracing.sending`. A span lasts until its message is durable; publishing follows at once."""
        asked_by = trace.get_current_span()
        spans: list[Span] = []
        for at, message in enumerate(outgoing):
            span = self._sent(message, asked_by)
            spans.append(span)
            outgoing[at] = replace(message, headers={**message.headers, TRACEPARENT: _traceparent(span)})
        try:
            yield
        except BaseException as error:
            for span in spans:
                _mark_failed(span, error)
            raise
        finally:
            for span in spans:
                span.end()

    def began(self, deliveries: Sequence[Delivery]) -> None:
        """See `Tracing.began`."""
        fresh = [delivery for delivery in deliveries if delivery.span is None]
        links = [Link(self._received(fresh))] if len(fresh) > 1 else []
        for delivery in fresh:
            span = self._tracer.start_span(
                f"process {_source(delivery)}",
                context=_context(delivery.headers) or Context(),
                kind=SpanKind.CONSUMER,
                attributes={
                    **_messaging("process", _source(delivery), delivery.routing_key),
                    "messaging.message.id": delivery.message_id or "",
                    "messaging.message.conversation_id": delivery.correlation_id or "",
                    "messaging.message.body.size": len(delivery.body),
                    "oms.message.type": delivery.type or "",
                },
                links=links,
            )
            delivery.span = span
            delivery.headers = {**delivery.headers, TRACEPARENT: _traceparent(span)}

    def failed(self, delivery: Delivery, error: Exception) -> None:
        """See `Tracing.failed`."""
        if delivery.span is not None:
            _mark_failed(delivery.span, error)

    def ended(self, deliveries: Sequence[Delivery]) -> None:
        """See `Tracing.ended`."""
        for delivery in deliveries:
            if delivery.span is not None:
                delivery.span.end()
                delivery.span = None

    def within(self, traceparent: str | None) -> AbstractContextManager[None]:
        """See `Tracing.within`."""
        return _within(traceparent)

    def current(self) -> str | None:
        """See `Tracing.current`."""
        span = trace.get_current_span()
        return _traceparent(span) if span.get_span_context().is_valid else None

    def _sent(self, message: Message, asked_by: Span) -> Span:
        """The message's span: below what it came from, and linked with a person's request from elsewhere."""
        parent = _context(message.headers)
        asked = asked_by.get_span_context()
        elsewhere = parent is not None and asked.is_valid and asked.trace_id != _trace_id(parent)
        destination = ":".join(part for part in (message.exchange, message.routing_key) if part)
        span = self._tracer.start_span(
            f"send {destination}",
            context=parent,
            kind=SpanKind.PRODUCER,
            attributes={
                **_messaging("send", destination, message.routing_key),
                "messaging.message.id": str(message.message_id),
                "messaging.message.conversation_id": str(message.correlation_id or ""),
                "messaging.message.body.size": len(message.body),
                "oms.message.type": message.type,
            },
            links=[Link(asked)] if elsewhere else [],
        )
        if elsewhere:
            asked_by.add_link(span.get_span_context())
        return span

    def _received(self, deliveries: Sequence[Delivery]) -> SpanContext:
        """A span for a batch, to which its messages link."""
        queue = deliveries[0].queue
        span = self._tracer.start_span(
            f"receive {queue}",
            context=Context(),
            kind=SpanKind.CLIENT,
            attributes={
                **_messaging("receive", queue, None),
                "messaging.batch.message_count": len(deliveries),
            },
        )
        span.end()
        return span.get_span_context()


class TracedExchange:
    """A way to a provider whose requests are spans, and tell the provider of them."""

    def __init__(self, exchange: ProviderExchange, provider: str, tracer: Tracer) -> None:
        self._exchange = exchange
        self._provider = provider
        self._tracer = tracer

    async def perform(self, call: Call) -> Reply:
        """See `ProviderExchange.perform`."""
        attributes = {
            "http.request.method": call.method,
            "url.path": call.path,
            "peer.service": self._provider,
        }
        with self._tracer.start_as_current_span(
            call.method,
            kind=SpanKind.CLIENT,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                reply = await self._exchange.perform(replace(call, traceparent=_traceparent(span)))
            except BaseException as error:
                _mark_failed(span, error)
                raise
            span.set_attribute("http.response.status_code", reply.status)
            if reply.status >= 400:
                span.set_attribute("error.type", str(reply.status))
                span.set_status(Status(StatusCode.ERROR))
            return reply

    async def close(self) -> None:
        """See `ProviderExchange.close`."""
        await self._exchange.close()


def exporting_provider(service: str) -> TracerProvider:
    """Sends traces by OTLP over HTTP, as the `OTEL_*` variables say."""
    provider = TracerProvider(resource=resource_of(service))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def resource_of(service: str) -> Resource:
    """Who sends the traces; what the environment says comes first."""
    name = service if service == "oms" else f"oms-{service}"
    ours = {"service.name": name, "service.namespace": "oms", "service.version": VERSION}
    said = OTELResourceDetector().detect().attributes
    return Resource.create({name: value for name, value in ours.items() if name not in said})


def http_config(provider: TracerProvider) -> TelemetryConfig:
    """What the web framework traces: requests, except those that only ask how a process is."""
    return {
        "tracing": True,
        "tracer_provider": provider,
        "metrics": False,
        "logs": False,
        "operation_spans": False,
        "exclude": _unwatched,
    }


def _unwatched(scope: Scope) -> bool:
    return scope.get("path") in _UNWATCHED


def log_context(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Puts the ids of the current trace into a log entry; a processor of structlog's."""
    current = trace.get_current_span().get_span_context()
    if current.is_valid:
        event.setdefault("trace_id", trace.format_trace_id(current.trace_id))
        event.setdefault("span_id", trace.format_span_id(current.span_id))
    return event


@contextmanager
def _within(traceparent: str | None) -> Iterator[None]:
    token = context.attach(_context({TRACEPARENT: traceparent}) or Context())
    try:
        yield
    finally:
        context.detach(token)


def _context(headers: Mapping[str, Any]) -> Context | None:
    """The context in a message's headers; None when there is none."""
    carried = headers.get(TRACEPARENT)
    if not isinstance(carried, str):
        return None
    extracted = _W3C.extract({TRACEPARENT: carried}, context=Context())
    return extracted if trace.get_current_span(extracted).get_span_context().is_valid else None


def _trace_id(parent: Context) -> int:
    return trace.get_current_span(parent).get_span_context().trace_id


def _traceparent(span: Span) -> str:
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, context=trace.set_span_in_context(span, Context()))
    return carrier[TRACEPARENT]


def _mark_failed(span: Span, error: BaseException) -> None:
    """Says what kind of error it was and no more: its text may repeat what a provider was told."""
    span.set_attribute("error.type", type(error).__name__)
    span.set_status(Status(StatusCode.ERROR))


def _messaging(operation: str, destination: str, routing_key: str | None) -> dict[str, str]:
    said = {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": destination,
    }
    if routing_key is not None:
        said["messaging.rabbitmq.destination.routing_key"] = routing_key
    return said


def _source(delivery: Delivery) -> str:
    """Where a message was taken from: ``exchange:routing key:queue``, each part once."""
    parts = (delivery.exchange, delivery.routing_key, delivery.queue)
    return ":".join(dict.fromkeys(part for part in parts if part))
