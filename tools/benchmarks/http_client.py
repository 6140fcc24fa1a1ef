"""A load of HTTP requests that costs as little as possible: it shares the machine with what it measures."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, cast

RETRY_S: Final = 0.1
LOST: Final = 0
"""The status of a request whose connection was closed before its answer came."""

OnAnswer = Callable[[int, bytes], None]
"""Gets the status and the body."""


def post(path: str, body: bytes) -> bytes:
    """The bytes of one request with a JSON body."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Clients:
    """So many clients with a kept-alive connection each; a request waits for a free one."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._free: list[_Connection] = []
        self._waiting: deque[tuple[bytes, OnAnswer]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    async def connect(self, count: int) -> None:
        """Connect so many, waiting for a server that is still starting."""
        for _ in range(count):
            await self._connect_one()

    def ask(self, request: bytes, on_answer: OnAnswer) -> None:
        """Send as soon as a client is free."""
        self._waiting.append((request, on_answer))
        self._serve()

    def release(self, connection: _Connection) -> None:
        """This one is free again."""
        self._free.append(connection)
        self._serve()

    def replace(self, connection: _Connection) -> None:
        """The server has closed this one, as servers do after a time without requests."""
        if connection in self._free:
            self._free.remove(connection)
        task = asyncio.get_running_loop().create_task(self._connect_one())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _serve(self) -> None:
        while self._waiting and self._free:
            self._free.pop().ask(*self._waiting.popleft())

    async def _connect_one(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                _, connection = await loop.create_connection(lambda: _Connection(self), *self._address)
            except OSError:
                await asyncio.sleep(RETRY_S)
            else:
                self.release(connection)
                return


class _Connection(asyncio.Protocol):
    """One request at a time; understands answers with a Content-Length, which is all that it meets."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._data = b""
        self._on_answer: OnAnswer | None = None
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's is none by its class

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`. A request that was under way gets the status `LOST`."""
        on_answer, self._on_answer = self._on_answer, None
        self._clients.replace(self)
        if on_answer is not None:
            on_answer(LOST, b"")

    def ask(self, request: bytes, on_answer: OnAnswer) -> None:
        """Send one request."""
        assert self._transport is not None
        self._on_answer = on_answer
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._data += data
        head_end = self._data.find(b"\r\n\r\n")
        if head_end < 0 or self._on_answer is None:
            return
        end = head_end + 4 + _length(self._data[:head_end])
        if len(self._data) < end:
            return
        status, body = int(self._data[9:12]), self._data[head_end + 4 : end]
        self._data = self._data[end:]
        on_answer, self._on_answer = self._on_answer, None
        on_answer(status, body)
        self._clients.release(self)


def _length(head: bytes) -> int:
    at = head.lower().find(b"content-length:")
    return int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
