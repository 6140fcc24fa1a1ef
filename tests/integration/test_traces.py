"""One order's trace over a real RabbitMQ and PostgreSQL: one tree, from the request to the last answer."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from pydantic import SecretStr

from contracts.routing import PARTICIPANTS
from messaging.rabbitmq import RabbitMqTransport
from oms.definitions import registry
from oms.observing.telemetry import Telemetry, telemetry_over
from oms.processes import Service, orchestrator_service, serving_api, started
from oms.settings import load_settings
from oms.wiring import Parts, participant_service, parts_of
from orchestrator.sagas.order_fulfillment import END_STATUSES
from orchestrator.service import topology
from tests.conformance.leftovers import remove
from tests.support.orders import AN_ORDER

pytestmark = [pytest.mark.rabbitmq, pytest.mark.postgresql]

TRACE: Final = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER: Final = "00f067aa0ba902b7"
TRACEPARENT: Final = f"00-{TRACE}-{CALLER}-01"
ADMIN: Final = {"Authorization": "Bearer a-token-for-tests"}
TAKES_S: Final = 240
"""A guard against hanging. Nothing is sent again so soon: an order is one tree."""


class Watched:
    """All services in this event loop, and every span that they have ended."""

    def __init__(self, http: httpx.AsyncClient, exporter: InMemorySpanExporter, parts: Parts) -> None:
        self.http = http
        self.parts = parts
        self._exporter = exporter

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    async def submit(self, headers: dict[str, str] | None = None, **changes: Any) -> dict[str, Any]:
        """Submit an order; the order as it was accepted."""
        stock = {"on_hand": 100}
        await self.http.put("/inventory/SKU-1", json=stock, headers=ADMIN)
        answer = await self.http.post("/orders", json={**AN_ORDER, **changes}, headers=headers)
        assert answer.status_code == 202, answer.text
        order: dict[str, Any] = answer.json()
        return order

    async def order(self, headers: dict[str, str] | None = None) -> dict[str, Any]:
        """Submit an order and wait for its end; the order as it ended."""
        order = await self.submit(headers)
        async with asyncio.timeout(TAKES_S):
            while order["status"] not in END_STATUSES:
                await asyncio.sleep(0.05)
                order = (await self.http.get(f"/orders/{order['order_id']}")).json()
        return order

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(TAKES_S):
            while not condition():
                await asyncio.sleep(0.02)


@asynccontextmanager
async def everything(
    broker_url: str, database_url: str, prefix: str, telemetry: Telemetry, exporter: InMemorySpanExporter
) -> AsyncIterator[Watched]:
    settings = load_settings(
        database_url=database_url,
        broker_url=(broker_url,),
        payment_gateway_url="sandbox",
        carrier_url="sandbox",
        admin_token=SecretStr("a-token-for-tests"),
        retry_delays_s=(0.2,),
        max_attempts=3,
        resend_after_s=TAKES_S,
    )

    def transport(service: str) -> RabbitMqTransport:
        return RabbitMqTransport([broker_url], prefix=prefix, name=service)

    async with AsyncExitStack() as exits:
        parts = await exits.enter_async_context(parts_of(settings, transport, telemetry))
        services = [participant_service(parts, name) for name in PARTICIPANTS]
        local: list[Service] = [*services, orchestrator_service(parts, exits)]
        await (await exits.enter_async_context(started(local)))
        assert settings.admin_token is not None
        serving = serving_api(parts, "127.0.0.1", 0, settings.admin_token, local)
        url = await exits.enter_async_context(serving)
        http = await exits.enter_async_context(httpx.AsyncClient(base_url=url, timeout=60))
        yield Watched(http, exporter, parts)
    await remove(broker_url, prefix, topology(registry(settings), settings.retry_policy))


@pytest.fixture
async def watched(broker_url: str, migrated_database_url: str, unique_prefix: str) -> AsyncIterator[Watched]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    async with everything(
        broker_url, migrated_database_url, unique_prefix, telemetry_over(provider), exporter
    ) as running:
        yield running


def trace_of(span: ReadableSpan) -> str:
    return f"{span.context.trace_id:032x}" if span.context else ""


def of_trace(spans: Iterable[ReadableSpan], trace: str) -> dict[int, ReadableSpan]:
    return {span.context.span_id: span for span in spans if span.context and trace_of(span) == trace}


def path_to(span: ReadableSpan, tree: dict[int, ReadableSpan]) -> list[str]:
    """Names from the root down to a span."""
    names: list[str] = []
    here: ReadableSpan | None = span
    while here is not None:
        names.append(here.name.replace(":t", " t").split(" ")[0] + " " + _what(here))
        here = tree.get(here.parent.span_id) if here.parent else None
    return names[::-1]


def _what(span: ReadableSpan) -> str:
    attributes = span.attributes or {}
    return str(
        attributes.get("oms.message.type") or attributes.get("peer.service") or attributes.get("http.route")
    )


LONGEST: Final = [
    "POST /orders",
    "send ReserveInventory",
    "process ReserveInventory",
    "send InventoryReservedEvent",
    "process InventoryReservedEvent",
    "send ChargePayment",
    "process ChargePayment",
    "send PaymentSuccessfulEvent",
    "process PaymentSuccessfulEvent",
    "send ShipOrder",
    "process ShipOrder",
    "send OrderFulfilledEvent",
    "process OrderFulfilledEvent",
    "send CommitInventory",
    "process CommitInventory",
    "send InventoryReducedEvent",
    "process InventoryReducedEvent",
]


async def test_one_order_is_one_tree_from_the_request_to_the_last_answer(watched: Watched) -> None:
    order = await watched.order({"traceparent": TRACEPARENT})
    assert order["status"] == "completed"

    def last_answer() -> Sequence[ReadableSpan]:
        return [
            span
            for span in watched.spans
            if span.name.startswith("process ") and _what(span) == LONGEST[-1][8:]
        ]

    await watched.until(last_answer)
    tree = of_trace(watched.spans, TRACE)
    [last] = last_answer()
    assert path_to(last, tree) == LONGEST

    roots = [span for span in tree.values() if span.parent is None or span.parent.span_id not in tree]
    assert [(span.name, f"{span.parent.span_id:016x}") for span in roots if span.parent] == [
        ("POST /orders", CALLER)
    ]
    assert roots[0].kind is SpanKind.SERVER


async def test_calls_to_providers_are_spans_of_the_command_that_needs_them(watched: Watched) -> None:
    await watched.order({"traceparent": TRACEPARENT})
    await watched.until(lambda: any(_what(span) == "OrderFulfilledEvent" for span in watched.spans))
    tree = of_trace(watched.spans, TRACE)
    calls = [
        span
        for span in tree.values()
        if span.kind is SpanKind.CLIENT and "peer.service" in (span.attributes or {})
    ]
    above = {_what(span): _what(tree[span.parent.span_id]) for span in calls if span.parent}
    assert above == {"payment_gateway": "ChargePayment", "carrier": "ShipOrder"}


async def test_spans_say_what_the_conventions_for_messaging_ask(watched: Watched) -> None:
    await watched.order({"traceparent": TRACEPARENT})
    [sent] = [
        span for span in watched.spans if span.name.startswith("send ") and _what(span) == "ReserveInventory"
    ]
    attributes = dict(sent.attributes or {})
    assert sent.kind is SpanKind.PRODUCER
    assert attributes["messaging.system"] == "rabbitmq"
    assert attributes["messaging.operation.type"] == "send"
    assert attributes["messaging.destination.name"] == "oms.commands:inventory"
    await watched.until(lambda: any(_what(span) == "InventoryReservedEvent" for span in watched.spans))
    [processed] = [
        span
        for span in watched.spans
        if span.name.startswith("process ") and _what(span) == "ReserveInventory"
    ]
    attributes = dict(processed.attributes or {})
    assert processed.kind is SpanKind.CONSUMER
    assert attributes["messaging.operation.type"] == "process"
    assert attributes["messaging.destination.name"] == "oms.commands:inventory:inventory.commands"
    assert attributes["messaging.message.conversation_id"]


async def test_without_a_caller_s_trace_an_order_begins_one(watched: Watched) -> None:
    await watched.order()
    posts = [span for span in watched.spans if span.name == "POST /orders"]
    assert [span.parent for span in posts] == [None]
    tree = of_trace(watched.spans, trace_of(posts[0]))
    assert Counter(name.partition(" ")[0] for name in (span.name for span in tree.values()))["send"] >= 5


async def test_a_person_s_retry_goes_on_in_the_order_s_trace_and_is_linked(watched: Watched) -> None:
    order = await watched.submit({"traceparent": TRACEPARENT}, payment_method="pm_gateway_down")
    saga_id = order["saga_id"]

    async def dead_letters() -> list[dict[str, Any]]:
        found = await watched.http.get("/admin/dead-letters", params={"saga_id": saga_id}, headers=ADMIN)
        items: list[dict[str, Any]] = found.json()["items"]
        return items

    async with asyncio.timeout(TAKES_S):
        while not (letters := await dead_letters()):
            await asyncio.sleep(0.05)
    action = {"reason": "the gateway is back", "expected_version": letters[0]["version"]}
    answer = await watched.http.post(
        f"/admin/dead-letters/{letters[0]['dead_letter_id']}/replay", json=action, headers=ADMIN
    )
    assert answer.status_code < 300, answer.text
    await watched.until(lambda: any(span.name.endswith("/replay") for span in watched.spans))
    [request] = [span for span in watched.spans if span.name.endswith("/replay")]
    assert trace_of(request) != TRACE
    [link] = request.links
    replayed = of_trace(watched.spans, TRACE)[link.context.span_id]
    assert _what(replayed) == "ChargePayment"
    assert [each.context.span_id for each in replayed.links] == [
        request.context.span_id if request.context else 0
    ]
