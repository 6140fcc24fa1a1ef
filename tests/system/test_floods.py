"""Clients that are slow, idle, too many or strangers: bounded memory, honest refusals, and orders go on."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import secrets
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import cycle
from typing import Any, Final
from uuid import uuid4

import aiohttp
import httpx
import psutil
import psycopg
import pytest
import pytest_asyncio
from sqlalchemy import make_url

from contracts.limits import MAX_BODY_BYTES
from orchestrator.tokens import MARK
from tests.system.deployment import ADMIN_TOKEN, Deployment, ServiceProcess, an_order

log = logging.getLogger(__name__)

pytestmark = [pytest.mark.rabbitmq, pytest.mark.asyncio(loop_scope="module")]

CLIENTS: Final = int(os.environ.get("OMS_TEST_FLOOD_CLIENTS", "80"))
"""Clients of each kind."""

REQUESTS: Final = 10
"""Requests that each client of a flood makes."""

STREAMS: Final = CLIENTS
WAITING: Final = 8
OPEN: Final = CLIENTS + 40
GROWTH: Final = max(128 * 1024 * 1024, CLIENTS * 256 * 1024)
"""Bytes by which the API may grow in each test: in a large one, what all bodies may take at once."""

LIMITED: Final = (
    sys.executable,
    "-c",
    f"""
import sys
from oms import connections, serving
from oms.cli import main
from orchestrator import intake
from orchestrator.http.crowd import Crowd
from orchestrator.progress import ProgressListener
connections.PATIENCE_S = {max(8, CLIENTS // 50)}
serving.UNREAD_S = 3
intake.WAITING_LIMIT = {WAITING}
Crowd.__init__.__defaults__ = ({OPEN},)
ProgressListener.__init__.__defaults__ = ({STREAMS},)
sys.exit(main())
""",
)
"""The command `oms` with limits that a test can reach."""

BEARER: Final = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
HEAD: Final = b"POST /orders HTTP/1.1\r\nHost: oms\r\nContent-Type: application/json\r\n"
ORDER: Final = json.dumps(an_order()).encode()

CUT_OFF: Final = b""

Talk = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def limited(deployment: Deployment) -> Deployment:
    """The deployment, its API with low limits."""
    await deployment.services["api"].end()
    await started(deployment.services["api"])
    async with deployment.client() as client:
        answer = await client.put("/inventory/SKU-1", json={"on_hand": 1_000_000})
        assert answer.status_code == 200, answer.text
    return deployment


async def started(api: ServiceProcess) -> None:
    await api.start(LIMITED)
    await api.ready()


@pytest_asyncio.fixture(loop_scope="module")
async def api(limited: Deployment) -> AsyncIterator[ServiceProcess]:
    """The API, which must not grow without bound, or lose a request, whatever the test does to it."""
    api = limited.services["api"]
    assert api.pid is not None
    before = psutil.Process(api.pid).memory_info().rss
    yield api
    assert api.pid is not None
    after = psutil.Process(api.pid).memory_info().rss
    log.info("the API has grown from %d by %d bytes", before, after - before)
    assert after < before + GROWTH
    assert "Exception in ASGI application" not in api.said


@asynccontextmanager
async def connected(port: int, count: int) -> AsyncIterator[list[Talk]]:
    """Connections that are cut at the end."""
    talks = [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]
    try:
        yield talks
    finally:
        for _, writer in talks:
            writer.transport.abort()


@asynccontextmanager
async def many_requests(url: str) -> AsyncIterator[aiohttp.ClientSession]:
    """A client without limits of its own."""
    async with aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(limit=0)) as session:
        yield session


async def refused_honestly(answer: aiohttp.ClientResponse) -> None:
    """A refusal is a problem that says when to come back."""
    assert answer.content_type == "application/problem+json"
    assert answer.headers["Retry-After"].isdigit()
    assert (await answer.json())["status"] == answer.status


async def ordered(deployment: Deployment, count: int) -> list[str]:
    """Good orders of a patient customer, who comes back when told to."""
    order_ids = []
    async with deployment.client() as client:
        for _ in range(count):
            answer = await client.post("/orders", json=an_order())
            while answer.status_code in (429, 503):
                answer = await client.post("/orders", json=an_order())
            assert answer.status_code == 202, answer.text
            order_ids.append(answer.json()["order_id"])
    return order_ids


async def all_completed(deployment: Deployment, order_ids: list[str]) -> None:
    async with asyncio.timeout(240), deployment.client() as client:
        for order_id in order_ids:
            while (await client.get(f"/orders/{order_id}")).json().get("status") != "completed":
                await asyncio.sleep(0.2)


# -- slow clients -------------------------------------------------------------------------------------------


async def half_a_head(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + b"X-More: and m")


async def half_a_body(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + b"Content-Length: 1000\r\n\r\n" + ORDER[:100])


async def a_byte_now_and_then(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD)
    while not writer.is_closing():
        writer.write(b"X")
        await asyncio.sleep(0.5)


async def a_body_now_and_then(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"1\r\nx\r\n")
        await asyncio.sleep(0.5)


async def never_reads(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    writer.write(b"GET /openapi.json HTTP/1.1\r\nHost: oms\r\n\r\n" * 16)


async def test_slow_clients_are_let_go_while_others_order(limited: Deployment, api: ServiceProcess) -> None:
    kinds = [half_a_head, half_a_body, a_byte_now_and_then, a_body_now_and_then, never_reads]
    async with connected(api.port, len(kinds) * CLIENTS // 4) as talks:
        being_slow = [asyncio.ensure_future(kind(*talk)) for talk, kind in zip(talks, cycle(kinds))]
        await all_completed(limited, await ordered(limited, 20))
        await nobody_is_connected(api, {writer.get_extra_info("sockname")[1] for _, writer in talks})
        for each in being_slow:
            each.cancel()


async def nobody_is_connected(api: ServiceProcess, ports: set[int]) -> None:
    """Wait until the API holds no connection to any of these ports."""
    assert api.pid is not None
    process = psutil.Process(api.pid)
    async with asyncio.timeout(200):
        while ports & {
            each.raddr.port for each in process.net_connections() if each.status != psutil.CONN_LISTEN
        }:
            await asyncio.sleep(0.2)


async def test_bodies_without_an_end_are_refused(limited: Deployment, api: ServiceProcess) -> None:
    async with connected(api.port, CLIENTS) as talks:
        refusals = await asyncio.gather(*(pushed_on(*talk) for talk in talks))
        assert b"HTTP/1.1 413" in refusals
        assert set(refusals) <= {b"HTTP/1.1 413", b"HTTP/1.1 408", CUT_OFF}
        await all_completed(limited, await ordered(limited, 10))


async def pushed_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Send a body until there is an answer; who is too slow at it is cut off before."""
    answered, sent = asyncio.ensure_future(first_words(reader)), 0
    writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    with suppress(ConnectionError):
        while not answered.done():
            writer.write(b"1000\r\n" + b" " * 4096 + b"\r\n")
            await writer.drain()
            await asyncio.sleep(0)
            sent += 4096
            assert sent < 64 * MAX_BODY_BYTES
    return await answered


async def first_words(reader: asyncio.StreamReader) -> bytes:
    """Protocol and status of an answer."""
    try:
        return await reader.read(12)
    except ConnectionError:
        return CUT_OFF


# -- idle streams -------------------------------------------------------------------------------------------


@asynccontextmanager
async def followed(limited: Deployment, api: ServiceProcess) -> AsyncIterator[list[Talk]]:
    """As many streams as there may be, of orders that stand still while nobody reserves."""
    await limited.services["inventory"].end()
    order_ids = await ordered(limited, STREAMS)
    async with connected(api.port, STREAMS) as talks:
        for (_, writer), order_id in zip(talks, order_ids, strict=True):
            writer.write(f"GET /orders/{order_id}/events HTTP/1.1\r\nHost: oms\r\n\r\n".encode())
        for reader, _ in talks:
            await reader.readuntil(b"event: order.pending\n")
        yield talks
    await all_completed(limited, order_ids)


async def test_idle_streams_are_bounded_and_take_nothing_from_others(
    limited: Deployment, api: ServiceProcess
) -> None:
    before = database_connections(limited)
    async with followed(limited, api) as talks, limited.client() as client:
        [order_id] = await ordered(limited, 1)
        refused = await client.get(f"/orders/{order_id}/events")
        assert (refused.status_code, refused.json()["code"]) == (503, "too_many_streams")
        assert refused.headers["Retry-After"].isdigit()
        assert database_connections(limited) < before + STREAMS // 2
        assert (await client.get("/readyz")).status_code == 200
        await limited.services["inventory"].start()
        await all_completed(limited, [order_id])
        for reader, _ in talks:
            assert b"event: order.completed\n" in await to_its_end(reader)
        assert (await client.get(f"/orders/{order_id}/events")).status_code == 200


async def test_streams_end_when_the_api_is_told_to_stop(limited: Deployment, api: ServiceProcess) -> None:
    async with followed(limited, api) as talks:
        assert await api.end() == 0
        for reader, _ in talks:
            await to_its_end(reader)
        await started(api)
        await limited.services["inventory"].start()


async def to_its_end(reader: asyncio.StreamReader) -> bytes:
    """What is left of a stream, which ends as it should."""
    async with asyncio.timeout(200):
        return await reader.readuntil(b"\r\n0\r\n\r\n")


def database_connections(limited: Deployment) -> int:
    """How many all services hold together."""
    url = make_url(limited.database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        ).fetchone()
    assert found is not None
    return int(found[0])


# -- floods -------------------------------------------------------------------------------------------------


async def test_of_a_flood_of_orders_each_is_accepted_or_told_to_come_back(
    limited: Deployment, api: ServiceProcess
) -> None:
    customer, accepted = f"flood-{uuid4()}", set[str]()
    answers = Counter[int]()

    async def a_client(session: aiohttp.ClientSession) -> None:
        for _ in range(REQUESTS):
            answer = await submitted(session, an_order(customer_id=customer), answers)
            if answer.status != 429:
                accepted.add((await answer.json())["order_id"])

    async with asyncio.timeout(240), many_requests(limited.url) as session:
        while not answers[429]:
            await asyncio.gather(*(a_client(session) for _ in range(CLIENTS)))
    log.info("a flood of orders: %s", dict(answers))
    assert set(answers) <= {200, 202, 429, 503}
    assert len(accepted) == answers[200] + answers[202]
    assert await orders_of(limited, customer) == accepted
    await all_completed(limited, [*accepted, *await ordered(limited, 10)])


async def submitted(
    session: aiohttp.ClientSession, order: dict[str, Any], answers: Counter[int]
) -> aiohttp.ClientResponse:
    """The answer to an order: a customer who cannot know what became of it repeats with the key."""
    key, unsure = {"Idempotency-Key": str(uuid4())}, False
    while True:
        try:
            answer = await session.post("/orders", json=order, headers=key)
            await answer.read()
        except aiohttp.ClientConnectionError:  # a kept connection may end at any moment
            unsure = True
            continue
        answers[answer.status] += 1
        if answer.status in (200, 202):
            return answer
        await refused_honestly(answer)
        unsure = unsure or answer.status == 503
        if not unsure:
            return answer


async def orders_of(limited: Deployment, customer: str) -> set[str]:
    """All of a customer's orders."""
    found, cursor = set[str](), ""
    async with limited.client() as client:
        while True:
            query = f"/orders?customer_id={customer}&limit=200{cursor and '&cursor='}{cursor}"
            page: dict[str, Any] = (await client.get(query)).raise_for_status().json()
            found |= {order["order_id"] for order in page["items"]}
            if page["next_cursor"] is None:
                return found
            cursor = page["next_cursor"]


async def test_requests_beyond_the_open_ones_are_told_to_come_back(
    limited: Deployment, api: ServiceProcess
) -> None:
    answers = Counter[int]()

    async def look(session: aiohttp.ClientSession) -> None:
        async with session.get("/admin/sagas?limit=200", headers=BEARER) as answer:
            answers[answer.status] += 1
            if answer.status != 200:
                await refused_honestly(answer)

    async with asyncio.timeout(240), many_requests(limited.url) as session:
        while not answers[503]:
            await asyncio.gather(*(look(session) for _ in range(2 * OPEN)))
        async with session.get("/livez") as alive:
            assert alive.status == 200
    log.info("a flood of looks: %s", dict(answers))
    assert set(answers) == {200, 503}
    await all_completed(limited, await ordered(limited, 10))


def a_wrong_token() -> str:
    return secrets.choice((secrets.token_urlsafe(32), MARK + secrets.token_urlsafe(32)))


async def test_strangers_leave_no_trace(limited: Deployment, api: ServiceProcess) -> None:
    """Wrong tokens and paths that do not exist: however many, the figures about requests do not grow."""
    answers = Counter[int]()

    async def a_stranger(session: aiohttp.ClientSession) -> None:
        for _ in range(REQUESTS):
            token = {"Authorization": f"Bearer {a_wrong_token()}"}
            for path in ("/admin/sagas", f"/{uuid4()}", f"/orders/{uuid4()}/x", f"/console/{uuid4()}"):
                method = secrets.choice(("GET", "POST", f"M{secrets.token_hex(4).upper()}"))
                with suppress(aiohttp.ClientConnectionError):  # a kept connection may end at any moment
                    async with session.request(method, path, headers=token, allow_redirects=False) as answer:
                        answers[answer.status] += 1

    async with AsyncExitStack() as exits:
        session = await exits.enter_async_context(many_requests(limited.url))
        client = await exits.enter_async_context(limited.client())
        await asyncio.gather(*(a_stranger(session) for _ in range(CLIENTS)))
        await labels(client)
        seen = await labels(client)
        await asyncio.gather(*(a_stranger(session) for _ in range(CLIENTS)))
        assert await labels(client) == seen
    log.info("strangers: %s", dict(answers))
    assert set(answers) <= {303, 400, 401, 404, 405, 503}
    await all_completed(limited, await ordered(limited, 10))


async def labels(client: httpx.AsyncClient) -> set[tuple[str, str]]:
    """The methods and routes under which requests are counted."""
    text = (await client.get("/metrics")).raise_for_status().text
    return set(re.findall(r'method="([^"]*)",route="([^"]*)"', text))
