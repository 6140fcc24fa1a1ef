"""Traces: when they are wanted, what they cost when they are not, and how spans hang together."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from random import Random
from uuid import UUID, uuid4

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from structlog.testing import capture_logs

from messaging.consumer import Failed, Hops
from messaging.log_context import ids_of
from messaging.retries import RetryPolicy
from messaging.tracing import UNTRACED
from messaging.transport import Delivery, Message
from oms.observing.telemetry import OFF, telemetry_of, wanted
from oms.observing.traces import OpenTelemetryTracing, TracedExchange, resource_of
from orchestrator.codec import dump_state, load_saga
from orchestrator.core import machine, timers
from orchestrator.core.definition import StepPolicy
from orchestrator.core.registry import Registry
from orchestrator.core.state import Saga
from orchestrator.engine import Engine
from orchestrator.sagas.order_fulfillment import order_fulfillment
from orchestrator.storage import NewSaga
from participants.provider_http import Call, Reply
from participants.provider_terms import ProviderUnavailable
from tests.support.orders import NOON, an_order

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
DEFINITION = order_fulfillment(StepPolicy())

# -- the switch -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "on"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_SDK_DISABLED": "True"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_SERVICE_NAME": "shop"}, False),
    ],
)
def test_the_standard_variables_say_whether_traces_are_wanted(environment: dict[str, str], on: bool) -> None:
    assert wanted(environment) is on


def test_while_off_nothing_of_the_sdk_is_imported() -> None:
    program = (
        "import sys; from oms.observing.telemetry import telemetry_of; import oms.processes, oms.cli.app;"
        "telemetry_of('api', {});"
        "unwanted = ('opentelemetry.sdk', 'opentelemetry.exporter', 'oms.observing.traces');"
        "print([name for name in sys.modules if name.startswith(unwanted)])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_where_the_extra_is_missing_orders_do_not_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oms.observing.telemetry.find_spec", lambda _: None)
    assert telemetry_of("api", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}) is OFF


def test_while_off_messages_and_deliveries_stay_as_they_are() -> None:
    outgoing, delivery = [a_message()], a_delivery()
    before = list(outgoing)
    with UNTRACED.sending(outgoing), UNTRACED.within(TRACEPARENT):
        UNTRACED.began([delivery])
    assert outgoing == before
    assert outgoing[0] is before[0]
    assert (delivery.headers, delivery.span) == ({"traceparent": TRACEPARENT}, None)
    assert UNTRACED.current() is None


@pytest.mark.parametrize(
    ("environment", "name"),
    [({}, "oms-api"), ({"OTEL_SERVICE_NAME": "shop"}, "shop")],
)
def test_a_process_is_named_by_its_service_unless_the_environment_names_it(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], name: str
) -> None:
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    resource = resource_of("api")
    assert resource.attributes["service.name"] == name
    assert resource.attributes["service.namespace"] == "oms"


# -- spans ------------------------------------------------------------------------------------------------


class Spans:
    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = provider.get_tracer("test")
        self.tracing = OpenTelemetryTracing(self.tracer)


@pytest.fixture
def spans() -> Spans:
    return Spans()


def a_message(**headers: str) -> Message:
    return Message(
        uuid4(),
        "ChargePayment",
        "oms.commands",
        "payment",
        b"{}",
        uuid4(),
        "orchestrator",
        NOON,
        True,
        headers,
    )


def a_delivery(**changes: object) -> Delivery:
    delivery = Delivery(
        queue="payment.commands",
        body=b"{}",
        message_id=str(uuid4()),
        type="ChargePayment",
        correlation_id=str(UUID(int=7)),
        headers={"traceparent": TRACEPARENT},
        exchange="oms.commands",
        routing_key="payment",
        redelivered=False,
    )
    for name, value in changes.items():
        setattr(delivery, name, value)
    return delivery


def test_what_comes_of_a_delivery_hangs_below_it(spans: Spans) -> None:
    delivery = a_delivery()
    spans.tracing.began([delivery])
    outgoing = [a_message(traceparent=str(delivery.headers["traceparent"]))]
    with spans.tracing.sending(outgoing):
        pass
    spans.tracing.ended([delivery])
    sent, processed = spans.exporter.get_finished_spans()
    assert sent.parent is not None
    assert processed.context is not None
    assert sent.parent.span_id == processed.context.span_id
    assert sent.context is not None
    assert outgoing[0].headers["traceparent"] == f"00-{TRACE}-{sent.context.span_id:016x}-01"


def test_a_delivery_that_was_held_back_has_one_span(spans: Spans) -> None:
    delivery = a_delivery()
    spans.tracing.began([delivery])
    spans.tracing.began([delivery])
    spans.tracing.ended([delivery])
    assert len(spans.exporter.get_finished_spans()) == 1


def test_the_messages_of_a_batch_link_to_its_span_and_stay_in_their_own_traces(spans: Spans) -> None:
    deliveries = [a_delivery(), a_delivery(headers={})]
    spans.tracing.began(deliveries)
    spans.tracing.ended(deliveries)
    batch, *processed = spans.exporter.get_finished_spans()
    assert batch.attributes is not None
    assert batch.attributes["messaging.batch.message_count"] == 2
    assert batch.context is not None
    for span in processed:
        assert [link.context.span_id for link in span.links] == [batch.context.span_id]
    traces = {f"{span.context.trace_id:032x}" for span in processed if span.context}
    assert TRACE in traces
    assert len(traces) == 2


def test_a_failure_shows_on_the_span(spans: Spans) -> None:
    delivery = a_delivery()
    spans.tracing.began([delivery])
    spans.tracing.failed(delivery, ValueError("no"))
    spans.tracing.ended([delivery])
    [span] = spans.exporter.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes is not None
    assert span.attributes["error.type"] == "ValueError"


def test_messages_whose_commit_failed_have_failed(spans: Spans) -> None:
    with pytest.raises(OSError, match="away"), spans.tracing.sending([a_message()]):
        raise OSError("away")
    [span] = spans.exporter.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR


@pytest.mark.parametrize("carried", ["", "nonsense", f"00-{'0' * 32}-00f067aa0ba902b7-01", 7])
def test_a_context_that_is_none_begins_a_trace(spans: Spans, carried: object) -> None:
    delivery = a_delivery(headers={"traceparent": carried})
    spans.tracing.began([delivery])
    spans.tracing.ended([delivery])
    [span] = spans.exporter.get_finished_spans()
    assert span.parent is None


class Provider:
    """Replies with a status, or not at all."""

    def __init__(self, answer: Callable[[Call], Reply]) -> None:
        self.calls: list[Call] = []
        self._answer = answer

    async def perform(self, call: Call) -> Reply:
        self.calls.append(call)
        return self._answer(call)

    async def close(self) -> None: ...


def _silent(_: Call) -> Reply:
    raise ProviderUnavailable("no reply")


async def test_a_provider_is_told_the_trace(spans: Spans) -> None:
    provider = Provider(lambda _: Reply(201, {}))
    with spans.tracing.within(TRACEPARENT):
        await TracedExchange(provider, "payment_gateway", spans.tracer).perform(
            Call("POST", "/charges", "key")
        )
    [span] = spans.exporter.get_finished_spans()
    assert span.context is not None
    assert provider.calls[0].traceparent == f"00-{TRACE}-{span.context.span_id:016x}-01"
    assert span.attributes is not None
    assert span.attributes["http.response.status_code"] == 201


@pytest.mark.parametrize("answer", [_silent, lambda _: Reply(503, None)])
async def test_a_call_without_success_has_failed(spans: Spans, answer: Callable[[Call], Reply]) -> None:
    exchange = TracedExchange(Provider(answer), "carrier", spans.tracer)
    with suppress(ProviderUnavailable):
        await exchange.perform(Call("POST", "/shipments"))
    [span] = spans.exporter.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR


def _repeating(_: Call) -> Reply:
    raise ProviderUnavailable("pm_secret was refused")


async def test_an_error_s_text_stays_out_of_traces(spans: Spans) -> None:
    """A provider may repeat what is sensitive."""
    delivery = a_delivery()
    spans.tracing.began([delivery])
    spans.tracing.failed(delivery, ProviderUnavailable("pm_secret was refused"))
    spans.tracing.ended([delivery])
    with suppress(ProviderUnavailable):
        await TracedExchange(Provider(_repeating), "carrier", spans.tracer).perform(
            Call("POST", "/shipments")
        )
    told = [span.to_json() for span in spans.exporter.get_finished_spans()]
    assert len(told) == 2
    assert "pm_secret" not in "".join(told)


# -- what a saga keeps ------------------------------------------------------------------------------------


class Transaction:
    """Takes what the engine writes."""

    def __init__(self) -> None:
        self.sagas: list[Saga] = []
        self.messages: list[Message] = []

    def add_sagas(self, started: Sequence[NewSaga]) -> None:
        self.sagas.extend(each.saga for each in started)

    def send(self, messages: Sequence[Message]) -> None:
        self.messages.extend(messages)

    def add_history(self, _: object) -> None: ...

    def after_commit(self, _: object) -> None: ...


def started(traceparent: str | None) -> tuple[Engine, Transaction]:
    engine = Engine(Registry([DEFINITION]), uuid4, Random(1))
    transaction = Transaction()
    transition = machine.start(DEFINITION, uuid4(), uuid4(), an_order(), NOON)
    engine.start(transaction, [(transition, "c-1", traceparent)], NOON)  # type: ignore[arg-type]
    return engine, transaction


def test_what_is_sent_again_goes_on_in_the_order_s_trace() -> None:
    engine, transaction = started(TRACEPARENT)
    [saga] = transaction.sagas
    work = engine.work_on({saga.saga_id: saga}, datetime.now(UTC))
    engine.resend(work, DEFINITION, saga, saga.awaited[0], timers.Resend(final=False))
    first, again = transaction.messages[0], work.messages[0]
    assert first.headers["traceparent"] == again.headers["traceparent"] == TRACEPARENT


def test_a_saga_keeps_its_trace_in_its_stored_state_and_stores_nothing_without_one() -> None:
    _, traced = started(TRACEPARENT)
    _, plain = started(None)
    assert TRACEPARENT in dump_state(traced.sagas[0])
    assert "traceparent" not in dump_state(plain.sagas[0])
    assert "traceparent" not in plain.messages[0].headers
    saga = traced.sagas[0]
    columns = {
        name: getattr(saga, name)
        for name in ("saga_id", "subject_id", "definition", "definition_version", "created_at", "updated_at")
    }
    assert load_saga(columns, {"traceparent": TRACEPARENT}, saga.input).traceparent == TRACEPARENT


# -- logs -------------------------------------------------------------------------------------------------


def test_logs_speak_of_a_message_by_saga_message_and_trace() -> None:
    delivery = a_delivery(message_id="m-1")
    assert ids_of(delivery) == {"saga_id": str(UUID(int=7)), "message_id": "m-1", "trace_id": TRACE}
    assert ids_of(a_delivery(message_id=None, correlation_id=None, headers={})) == {}


async def test_a_message_that_gives_up_is_logged_with_its_ids() -> None:
    class Stored(Transaction):
        async def now(self) -> datetime:
            return NOON

        async def outbox_holds(self, message_ids: Sequence[UUID]) -> set[UUID]:
            return set()

    hops = Hops(RetryPolicy((1,), 1), uuid4, "payment")
    with capture_logs() as lines:
        await hops.after_failures(Stored(), [Failed(a_delivery(message_id="m-1"), ValueError("no"))])
    [line] = lines
    assert line["event"] == "message gave up"
    assert (line["saga_id"], line["message_id"], line["trace_id"]) == (str(UUID(int=7)), "m-1", TRACE)
