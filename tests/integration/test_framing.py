"""What is a request and what is its body: made-up framings, read by our server and by another parser."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from fastapi import FastAPI
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

from contracts.limits import MAX_BODY_BYTES
from messaging.postgresql import create_engine
from oms import connections
from oms.health import health_app
from oms.sandbox import Sandbox, create_sandbox
from oms.serving import served
from orchestrator.metrics import Sources
from participants.http import ledger_router
from participants.inventory.http import inventory_router
from participants.inventory.stockroom import Stockroom
from tests.support.api import an_api
from tests.support.framings import (
    SMUGGLED,
    STRICTER,
    THE_END,
    Heard,
    Seen,
    answers,
    conversations,
    heard,
    segments,
)

CONVERSATIONS: Final = 500
AT_ONCE: Final = 50


class Recorder:
    """Keeps every request that came to its end, by the client's port."""

    def __init__(self) -> None:
        self.seen: dict[int, list[Seen]] = defaultdict(list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await Request(scope, receive).body()
        except ClientDisconnect:
            return
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        method = scope["method"].encode()
        self.seen[scope["client"][1]].append((method, target, tuple(scope["headers"]), body))
        await Response(b"seen")(scope, receive, send)


async def conversation(url: str, sent: bytes, rng: random.Random) -> tuple[int, bytes]:
    """Our port and everything that was answered until the server closed the connection."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    port: int = writer.get_extra_info("sockname")[1]
    said = asyncio.ensure_future(reader.read())
    try:
        for segment in segments(rng, sent):
            if writer.is_closing():
                break
            writer.write(segment)
            for _ in range(3):
                await asyncio.sleep(0)  # the server runs in this loop too, and takes each by itself
        async with asyncio.timeout(60):
            return port, await said
    except ConnectionError:
        return port, b""
    finally:
        said.cancel()
        writer.close()


def comparable(requests: list[Seen]) -> list[Seen]:
    """The requests less offers to upgrade, which nobody takes; h11 writes codings in lower case."""
    return [
        (
            method,
            target,
            tuple(
                (name, value.lower() if name == b"transfer-encoding" else value)
                for name, value in fields
                if name != b"upgrade"
            ),
            body,
        )
        for method, target, fields, body in requests
    ]


def judged(sent: bytes, ours: list[Seen], said: bytes) -> str | None:
    """The name of the difference to what h11 heard; None where there is none. Fails where it has no name."""
    theirs = heard(sent)
    if _same(ours, theirs):
        return None
    context = f"\nsent: {sent!r}\nours: {ours!r}\nh11: {theirs!r}\nsaid: {said!r}"
    expected = comparable(theirs.requests)
    assert comparable(ours) == expected[: len(ours)], f"another request was heard{context}"
    names = [name for name, look in STRICTER.items() if look.search(sent)]
    assert names, f"the difference has no name{context}"
    return names[0]


def _same(ours: list[Seen], theirs: Heard) -> bool:
    return comparable(ours) == comparable(theirs.requests)


@pytest.mark.parametrize("seed", range(3))
async def test_no_made_up_framing_is_heard_otherwise_than_by_another_parser(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(connections, "PATIENCE_S", 5.0)
    recorder, rng, names = Recorder(), random.Random(seed), defaultdict[str | None, int](int)
    async with served(recorder, "127.0.0.1", 0) as url:
        turns = asyncio.Semaphore(AT_ONCE)

        async def one(sent: bytes) -> None:
            async with turns:
                port, said = await conversation(url, sent, rng)
                names[judged(sent, recorder.seen.pop(port, []), said)] += 1

        async with asyncio.TaskGroup() as group:
            for sent in conversations(seed, count=CONVERSATIONS):
                group.create_task(one(sent))
    assert names[None] > CONVERSATIONS / 2


H2C: Final = (
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"
)
WEBSOCKET: Final = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
LENGTH: Final = b"Content-Length: %d\r\n" % len(SMUGGLED)
CHUNKS: Final = b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)
CHUNKED: Final = b"Transfer-Encoding: chunked\r\n"
JSON: Final = b"Content-Type: application/json\r\n"

FRAMINGS: Final = {
    "a length": (LENGTH, SMUGGLED),
    "chunks": (CHUNKED, CHUNKS),
    "JSON": (JSON + LENGTH, SMUGGLED),
    "an offer of h2c before a length": (JSON + H2C + LENGTH, SMUGGLED),
    "an offer of h2c after chunks": (CHUNKED + H2C, CHUNKS),
    "an offer of a websocket": (LENGTH + WEBSOCKET, SMUGGLED),
    "an offer and nothing": (H2C, b""),
    "an expectation": (b"Expect: 100-continue\r\n" + LENGTH, SMUGGLED),
    "an expectation and an offer": (b"Expect: 100-continue\r\n" + H2C + CHUNKED, CHUNKS),
}

CONSOLE: Final = (
    ("GET", "/console"),
    ("GET", "/console/events"),
    ("GET", "/console/static/none.css"),
    ("GET", "/console/login"),
    ("POST", "/console/login"),
    ("POST", "/console/logout"),
)


@asynccontextmanager
async def the_api(database_url: str) -> AsyncIterator[FastAPI]:
    """The orchestrator's routes, the participants', and the sandbox below its path."""
    engine = create_engine(database_url)

    async def anybody(_: Request) -> None:
        return None

    stock, ledger = (
        inventory_router(Stockroom(engine), anybody),
        ledger_router("inventory", engine, anybody),
    )
    async with an_api(database_url, routers=[stock, ledger]) as api:
        api.app.mount("/sandbox", create_sandbox(Sandbox(engine)))
        yield api.app
    await engine.dispose()


@asynccontextmanager
async def the_sandbox(database_url: str) -> AsyncIterator[FastAPI]:
    """What `oms sandbox` serves."""
    engine = create_engine(database_url)
    yield health_app([], Sources(), {"/": create_sandbox(Sandbox(engine))})
    await engine.dispose()


@asynccontextmanager
async def the_health_port(_: str) -> AsyncIterator[FastAPI]:
    """What `OMS_HEALTH_PORT` serves."""
    yield health_app([], Sources())


def asked_of(app: FastAPI, below: str = "") -> Iterator[tuple[str, str]]:
    """Method and path of every route that the application describes, those of mounted ones included."""
    for path, operations in app.openapi()["paths"].items():
        filled = "/".join(str(uuid4()) if part.startswith("{") else part for part in path.split("/"))
        for method in operations:
            yield method.upper(), below + filled
    for route in app.routes:
        if isinstance(route, Mount) and isinstance(route.app, FastAPI):
            yield from asked_of(route.app, below + route.path)


@pytest.mark.postgresql
@pytest.mark.parametrize("server", [the_api, the_sandbox, the_health_port])
async def test_a_body_is_never_a_request_at_any_route(server: Any, migrated_database_url: str) -> None:
    rng = random.Random(4)
    async with AsyncExitStack() as exits:
        app = await exits.enter_async_context(server(migrated_database_url))
        url = await exits.enter_async_context(served(app, "127.0.0.1", 0))
        routes = {*asked_of(app), ("GET", "/livez"), ("POST", "/livez"), ("PUT", "/metrics"), *CONSOLE}
        for method, path in sorted(routes):
            for name, (fields, body) in FRAMINGS.items():
                head = f"{method} {path} HTTP/1.1\r\nHost: oms\r\n".encode() + fields + b"\r\n"
                _, said = await conversation(url, head + body + THE_END, rng)
                statuses = answers(said, method.encode(), b"GET")
                where = f"{method} {path} with {name}: {said!r}"
                if not said and "expectation" in name:
                    continue  # it was refused, and what was sent after it swept the answer away
                closed = b"\r\nconnection: close\r\n" in said.partition(b"\r\n\r\n")[0]
                assert statuses[1:] == ([] if closed else [404]), where
                assert not closed or "expectation" in name, where


@pytest.mark.parametrize("cut", [0, 1, 40])
async def test_a_body_behind_an_offer_to_upgrade_is_read_though_it_comes_later(cut: int) -> None:
    recorder = Recorder()
    async with served(recorder, "127.0.0.1", 0) as url:
        address = urlsplit(url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        head = b"POST /orders HTTP/1.1\r\nHost: oms\r\n" + H2C + LENGTH + b"Connection: close\r\n\r\n"
        for part in ((head + SMUGGLED)[: len(head) + cut], (head + SMUGGLED)[len(head) + cut :]):
            writer.write(part)
            await asyncio.sleep(0.05)
        said = await reader.read()
        writer.close()
    assert answers(said, b"POST") == [200]
    ((_, _, fields, body),) = next(iter(recorder.seen.values()))
    assert body == SMUGGLED
    assert b"upgrade" not in dict(fields)


async def said_to(*parts: bytes) -> tuple[list[Seen], bytes]:
    """What a server has heard and said of what is sent to it."""
    recorder = Recorder()
    async with served(recorder, "127.0.0.1", 0) as url:
        _, said = await conversation(url, b"".join(parts), random.Random(0))
    return [request for requests in recorder.seen.values() for request in requests], said


POST: Final = b"POST /orders HTTP/1.1\r\nHost: oms\r\n"


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"CONNECT oms:80 HTTP/1.1\r\nHost: oms\r\n\r\n", 501),
        (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + CHUNKS, 501),
        (POST + b"Transfer-Encoding: identity\r\n\r\n", 501),
        (POST + b"Transfer-Encoding: xchunked\r\n\r\n", 501),
        (POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n", 400),
        (POST + CHUNKED + LENGTH + b"\r\n", 400),
        (POST + LENGTH + CHUNKED + b"\r\n", 400),
        (POST + LENGTH + LENGTH + b"\r\n", 400),
        (POST + H2C + LENGTH + LENGTH + b"\r\n", 400),
        (POST + b"Content-Length: +1\r\n\r\n", 400),
        (POST + b"Content-Length : 1\r\n\r\n", 400),
        (POST + b"X: a\r\n b\r\n\r\n", 400),
        (POST + b"X: a\nContent-Length: 1\r\n\r\n", 400),
        (POST + b"X: \x00\r\n\r\n", 400),
        (b"POST /orders HTTP/1.0\r\nHost: oms\r\n" + CHUNKED + b"\r\n" + CHUNKS, 400),
        (b"POST /orders HTTP/1.1\r\n" + LENGTH + b"\r\n", 400),
        (POST + b"Host: other\r\n\r\n", 400),
        (b"GET /orders\r\n\r\n", 505),
        (b"GET /orders HTTP/2.0\r\nHost: oms\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    ],
)
async def test_a_head_that_others_might_read_otherwise_ends_the_connection(head: bytes, status: int) -> None:
    requests, said = await said_to(head, SMUGGLED, THE_END)
    assert requests == []
    if said:  # what was sent after it may have swept it away
        assert answers(said, b"POST") == [status]
        assert b"connection: close\r\n" in said


async def test_what_was_asked_before_a_broken_request_is_answered_first() -> None:
    asked, recorder = POST + b"Content-Length: 2\r\n\r\n{}", Recorder()
    async with served(recorder, "127.0.0.1", 0) as url:
        address = urlsplit(url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(asked + asked + POST + b"Content-Length: x")  # none is answered yet
        said = await reader.read()
        writer.close()
    assert answers(said, b"POST", b"POST", b"POST") == [200, 200, 400]


async def test_fields_behind_a_body_are_no_part_of_the_head() -> None:
    trailers = b"0\r\nAuthorization: Bearer forged\r\nExpect: 100-continue\r\n\r\n"
    requests, said = await said_to(POST, CHUNKED, b"\r\n", trailers, THE_END)
    assert answers(said, b"POST", b"GET") == [200, 200]
    assert dict(requests[0][2]).keys() == {b"host", b"transfer-encoding"}


async def test_a_connection_ends_where_a_body_was_announced_and_not_asked_for() -> None:
    """A client that is refused may send its body or not: its next request might be taken for the body."""

    async def refusing(scope: Scope, receive: Receive, send: Send) -> None:
        await Response(status_code=401)(scope, receive, send)

    async with served(refusing, "127.0.0.1", 0) as url:
        address = urlsplit(url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(POST + b"Expect: 100-continue\r\n" + LENGTH + b"\r\n")
        said = await reader.read()
        writer.close()
    assert answers(said, b"POST") == [401]
    assert b"connection: close\r\n" in said


async def test_an_old_client_is_sent_no_interim_answer() -> None:
    head = b"POST /orders HTTP/1.0\r\nHost: oms\r\nExpect: 100-continue\r\n" + LENGTH
    requests, said = await said_to(head, b"\r\n", SMUGGLED)
    assert [body for *_, body in requests] == [SMUGGLED]
    assert said.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"http://oms/orders?limit=1", b"/orders?limit=1"),
        (b"http://oms", b"/"),
        (b"http://oms?limit=1", b"/?limit=1"),
        (b"*", b"/*"),
    ],
)
async def test_a_target_in_another_form_is_about_its_path(target: bytes, path: bytes) -> None:
    requests, _ = await said_to(b"OPTIONS ", target, b" HTTP/1.1\r\nHost: oms\r\n\r\n", THE_END)
    assert [seen[1] for seen in requests] == [path, b"/the-end"]


@pytest.mark.postgresql
async def test_a_body_that_is_too_long_ends_where_it_said(migrated_database_url: str) -> None:
    body = SMUGGLED * (MAX_BODY_BYTES // len(SMUGGLED) + 1)
    length, chunks = b"Content-Length: %d\r\n\r\n" % len(body), CHUNKED + b"\r\n%x\r\n" % len(body)
    sent = POST + JSON + length + body + POST + JSON + chunks + body + b"\r\n0\r\n\r\n" + THE_END
    async with the_api(migrated_database_url) as app, served(app, "127.0.0.1", 0) as url:
        _, said = await conversation(url, sent, random.Random(5))
    assert answers(said, b"POST", b"POST", b"GET") == [413, 413, 404]
