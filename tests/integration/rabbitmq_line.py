"""A line to RabbitMQ that can fail, a transport that tidies up, and a journal of what it reported."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from random import Random
from typing import Any

from yarl import URL

from tests.conformance.correspondence import PATIENCE_S
from tests.conformance.leftovers import TidyTransport, remove

Line = tuple[str, dict[str, Any]]


class Journal:
    """Stands where the log stands; a test waits here for what is reported."""

    def __init__(self) -> None:
        self._lines: list[Line] = []
        self._written = asyncio.Event()

    def bind(self, **fields: Any) -> _Bound:
        return _Bound(self, fields)

    def info(self, event: str, **fields: Any) -> None:
        self._lines.append((event, fields))
        self._written.set()

    warning = error = exception = info

    async def says(self, event: str, **fields: Any) -> dict[str, Any]:
        """The fields of the oldest line like this one, which is crossed out; waits until it is written."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for line in self._lines:
                    if line[0] == event and line[1].items() >= fields.items():
                        self._lines.remove(line)
                        return line[1]
                self._written.clear()
                await self._written.wait()

    def clear(self) -> None:
        """Cross out everything written so far."""
        self._lines.clear()


class _Bound:
    """The journal with some fields filled in."""

    def __init__(self, journal: Journal, bound: dict[str, Any]) -> None:
        self._journal = journal
        self._bound = bound

    def info(self, event: str, **fields: Any) -> None:
        self._journal.info(event, **self._bound, **fields)

    warning = error = exception = info


class Proxy:
    """Relays TCP to the broker from a loopback port of its own, and fails on demand."""

    def __init__(self, broker_url: str) -> None:
        self._broker = URL(broker_url)
        self._server: asyncio.Server | None = None
        self._port = 0
        self._ends: list[asyncio.StreamWriter] = []
        self._to_broker, self._from_broker = asyncio.Event(), asyncio.Event()
        self._let_pass()

    @property
    def url(self) -> str:
        """The broker's URL by way of this proxy."""
        return str(self._broker.with_host("127.0.0.1").with_port(self._port))

    async def open(self) -> None:
        """Accept connections, on the same port each time."""
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def shut(self) -> None:
        """Accept no more connections, and cut those that are."""
        if self._server is not None:
            self._server.close()
        self.cut()
        if self._server is not None:
            await self._server.wait_closed()

    def mute(self) -> None:
        """From now on nothing arrives that the broker says."""
        self._from_broker.clear()

    def deafen(self) -> None:
        """From now on nothing arrives that is said to the broker."""
        self._to_broker.clear()

    def restore(self) -> None:
        """What was held up since `mute` or `deafen` arrives, and all that follows."""
        self._let_pass()

    def cut(self) -> None:
        """Reset all connections. New ones work."""
        for end in self._ends:
            end.transport.abort()
        self._ends.clear()
        self._let_pass()

    def _let_pass(self) -> None:
        self._to_broker.set()
        self._from_broker.set()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            broker, to_broker = await asyncio.open_connection(self._broker.host, self._broker.port)
            with closing(to_broker):
                self._ends += (writer, to_broker)
                await asyncio.gather(
                    _pass_on(reader, to_broker, self._to_broker), _pass_on(broker, writer, self._from_broker)
                )


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, may: asyncio.Event) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            await may.wait()
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def open_proxy(broker_url: str) -> AsyncIterator[Proxy]:
    """A proxy that is open."""
    proxy = Proxy(broker_url)
    await proxy.open()
    try:
        yield proxy
    finally:
        await proxy.shut()


@asynccontextmanager
async def transport_to(
    *urls: str, prefix: str, journal: Journal | None = None, tidy_at: str | None = None
) -> AsyncIterator[TidyTransport]:
    """A transport that is closed afterwards, and whose queues are deleted at ``tidy_at``."""
    log = Journal() if journal is None else journal
    transport = TidyTransport(urls, prefix=prefix, rng=Random(1), log=log)
    try:
        yield transport
    finally:
        await transport.close()
        if tidy_at is not None:
            await remove(tidy_at, prefix, transport.declared)
