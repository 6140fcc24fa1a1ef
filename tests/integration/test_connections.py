"""Clients that are slow, too large or too far ahead: each connection ends within bounds, and says why."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from oms import connections, serving
from oms.connections import BESIDE_BODY, REQUESTS_AHEAD
from oms.serving import served

POST: Final = b"POST / HTTP/1.1\r\nHost: oms\r\n"
GET: Final = b"GET / HTTP/1.1\r\nHost: oms\r\n\r\n"
LEAST: Final = 64 * 1024 * 1024
"""More than the kernel keeps of an answer that nobody reads."""


@dataclass
class Application:
    """Answers with the length of the body, when it is allowed to."""

    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await Request(scope, receive).body()
        except ClientDisconnect:
            self.left.set()
            return
        self.asked.set()
        await self.may_answer.wait()
        await PlainTextResponse(str(len(body)))(scope, receive, send)


Talk = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


@pytest.fixture
def application() -> Application:
    made = Application()
    made.may_answer.set()
    return made


@pytest.fixture
async def talk(application: Application) -> AsyncIterator[Talk]:
    async with contextlib.AsyncExitStack() as exits:
        address = urlsplit(await exits.enter_async_context(served(application, "127.0.0.1", 0)))

        async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            reader, writer = await asyncio.open_connection(address.hostname, address.port)
            exits.callback(writer.close)
            return reader, writer

        yield connect


async def all_of(reader: asyncio.StreamReader) -> bytes:
    """Whatever comes until the other side closes."""
    async with asyncio.timeout(60):
        return await reader.read()


async def one_of(reader: asyncio.StreamReader, length: int) -> bytes:
    """An answer whose body has so many bytes, on a connection that goes on."""
    async with asyncio.timeout(60):
        head = await reader.readuntil(b"\r\n\r\n")
        return head + await reader.readexactly(length)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "PATIENCE_S", 0.3)


@pytest.mark.parametrize(
    "half",
    [
        b"",
        b"\r\n",
        b"POST",
        POST,
        POST + b"X-More: and m",
        POST + b"Content-Length: 10\r\n\r\n",
        POST + b"Content-Length: 10\r\n\r\n12345",
        POST + b"Transfer-Encoding: chunked\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\nX-Trailer: and m",
        POST + b"Content-Length: 2\r\n\r\n12" + POST,
    ],
)
async def test_half_a_request_is_not_waited_for_for_ever(hasty: None, talk: Talk, half: bytes) -> None:
    reader, writer = await talk()
    writer.write(half)
    said = await all_of(reader)
    last = said[said.rindex(b"HTTP/1.1 ") :]
    assert last.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b"content-type: application/problem+json\r\n" in last
    assert b"connection: close\r\n" in last


async def test_a_byte_at_a_time_is_half_a_request(hasty: None, talk: Talk) -> None:
    reader, writer = await talk()
    said = asyncio.ensure_future(all_of(reader))
    writer.write(POST)
    while not said.done():
        writer.write(b"X")
        await asyncio.sleep(0.02)
    assert said.result().startswith(b"HTTP/1.1 408 ")


async def test_who_waits_for_the_body_hears_that_the_client_was_let_go(
    hasty: None, talk: Talk, application: Application
) -> None:
    reader, writer = await talk()
    writer.write(POST + b"Content-Length: 10\r\n\r\n12345")
    await all_of(reader)
    async with asyncio.timeout(60):
        await application.left.wait()


async def test_a_long_answer_is_waited_for(hasty: None, talk: Talk, application: Application) -> None:
    application.may_answer.clear()
    reader, writer = await talk()
    writer.write(GET + b"\r\n")
    await application.asked.wait()
    await asyncio.sleep(4 * connections.PATIENCE_S)
    application.may_answer.set()
    assert (await one_of(reader, 1)).endswith(b"\r\n\r\n0")
    writer.write(GET)
    assert (await one_of(reader, 1)).endswith(b"\r\n\r\n0")


async def test_an_idle_connection_is_there_when_the_client_comes_back(talk: Talk) -> None:
    """Clients keep theirs for five seconds and more: who closes first must not be us."""
    reader, writer = await talk()
    for pause_s in (0, 6):
        await asyncio.sleep(pause_s)
        writer.write(GET)
        assert (await one_of(reader, 1)).endswith(b"\r\n\r\n0")


async def test_a_connection_is_not_kept_idle_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "IDLE_S", 1)
    async with served(PlainTextResponse("x"), "127.0.0.1", 0) as url:
        address = urlsplit(url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(GET)
        await one_of(reader, 1)
        assert await all_of(reader) == b""
        writer.close()


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"GET /", b"x" * 1000),
        (POST, b"X-More: " + b"y" * 1000 + b"\r\n"),
        (POST + b"X-More: ", b"y" * 1000),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Trailer: " + b"y" * 1000 + b"\r\n"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n5;", b"y" * 1000),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 1000),
    ],
)
async def test_what_is_no_body_is_read_up_to_a_bound(talk: Talk, start: bytes, more: bytes) -> None:
    reader, writer = await talk()
    said, sent = asyncio.ensure_future(all_of(reader)), 0
    writer.write(start)
    with contextlib.suppress(ConnectionError):
        while not said.done():
            writer.write(more)
            await writer.drain()
            sent += len(more)
            assert sent < LEAST
    with contextlib.suppress(ConnectionError):  # what was sent after it may have swept it away
        assert (await said).startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 "))


async def test_a_body_may_be_longer_than_a_head(talk: Talk) -> None:
    reader, writer = await talk()
    length = 4 * BESIDE_BODY
    for number in range(3):
        writer.write(POST + b"Content-Length: %d\r\n\r\n" % length + b"x" * length)
        assert (await one_of(reader, 6)).endswith(b"%d" % length), number


async def test_requests_may_be_sent_ahead_but_not_without_bound(talk: Talk, application: Application) -> None:
    reader, writer = await talk()
    writer.write(GET * REQUESTS_AHEAD)
    for _ in range(REQUESTS_AHEAD):
        await one_of(reader, 1)
    application.may_answer.clear()
    writer.write(GET * 1000)
    with contextlib.suppress(ConnectionError):
        assert await all_of(reader) == b""
    application.may_answer.set()


async def test_what_is_no_http_is_answered_by_a_problem(talk: Talk) -> None:
    reader, writer = await talk()
    writer.write(b"\x16\x03\x01\x00\xff")
    said = await all_of(reader)
    assert said.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b'"code":"malformed_request"' in said


async def test_connections_beyond_the_bound_are_closed_and_the_others_served(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "CONNECTIONS", 3)
    held = [await talk() for _ in range(3)]
    for reader, writer in held:
        writer.write(GET)
        await one_of(reader, 1)
    reader, _ = await talk()
    with contextlib.suppress(ConnectionError):
        assert await all_of(reader) == b""
    held[0][1].write(GET)
    await one_of(held[0][0], 1)


async def test_who_never_reads_an_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "UNREAD_S", 1)
    given_up = asyncio.Event()

    async def endless(_: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        chunk: dict[str, Any] = {"type": "http.response.body", "body": b"x" * 65536, "more_body": True}
        await receive()
        left = asyncio.ensure_future(receive())
        while not left.done():
            await send(chunk)
            await asyncio.sleep(0)
        given_up.set()

    async with served(endless, "127.0.0.1", 0) as url:
        address = urlsplit(url)
        _, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(GET)
        async with asyncio.timeout(60):
            await given_up.wait()
        writer.transport.abort()
