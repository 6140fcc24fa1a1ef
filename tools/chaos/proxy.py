"""A TCP proxy that stands between a service and its server, and spoils what passes as it is told.

It sits on loopback before one port. Faults are switched on for all connections, open ones and those to come;
`calm` ends them all. Where it speaks AMQP it knows frames, so that it can drop the broker's confirms and
nothing else.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Final, Self

from oms.embedded.ports import LOOPBACK

CHUNK: Final = 65536
_FRAME_OVERHEAD: Final = 8
_METHOD_FRAME: Final = 1
_CONFIRMS: Final = frozenset({(60, 80), (60, 120)})
"""`basic.ack` and `basic.nack`: from a broker to its client they are confirms and nothing else."""


class Frames:
    """Cuts what a broker says into whole frames."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that are whole now; what is left waits for more."""
        data = self._rest + data
        whole: list[bytes] = []
        at = 0
        while len(data) - at >= _FRAME_OVERHEAD:
            (size,) = struct.unpack_from(">I", data, at + 3)
            stop = at + size + _FRAME_OVERHEAD
            if stop > len(data):
                break
            whole.append(data[at:stop])
            at = stop
        self._rest = data[at:]
        return whole


def is_confirm(frame: bytes) -> bool:
    """Whether a broker's frame tells what became of published messages."""
    if frame[0] != _METHOD_FRAME or len(frame) < _FRAME_OVERHEAD + 4:
        return False
    return struct.unpack_from(">HH", frame, 7) in _CONFIRMS


class Proxy:
    """Passes connections on to `port` of this machine; use it in `async with`.

    Attributes:
        target: the port that connections are passed on to.
        refusing: connections are reset as soon as they are made.
        delay_s: seconds that everything is held up, in both directions.
        reply_delay_s: seconds that only the server's side is held up.
        swallowing: nothing passes in either direction, and nobody is told.
        dropping_confirms: the broker's confirms do not pass; all else does.
    """

    def __init__(self, target: int = 0, *, amqp: bool = False) -> None:
        self.target = target
        self.refusing = False
        self.delay_s = 0.0
        self.reply_delay_s = 0.0
        self.swallowing = False
        self.dropping_confirms = False
        self.dropped_confirms = 0
        self.swallowed_bytes = 0
        self._amqp = amqp
        self._passages: set[_Passage] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def connections(self) -> int:
        """How many connections pass through it now."""
        return len(self._passages)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, LOOPBACK, 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.reset()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks))

    def calm(self) -> None:
        """End every fault. Connections that have lost something are reset: nobody could go on with them."""
        self.refusing = False
        self.delay_s = self.reply_delay_s = 0.0
        self.dropping_confirms = False
        if self.swallowing:
            self.swallowing = False
            self.reset()

    def reset(self) -> None:
        """Reset every connection, as a machine that restarts does."""
        for passage in list(self._passages):
            passage.abort()

    def cut_after(self, size: int) -> None:
        """Let each connection pass so many more bytes, counted in both directions, and reset it then."""
        for passage in self._passages:
            passage.left = size

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            _abort(writer)
            return
        try:
            server_reader, server_writer = await asyncio.open_connection(LOOPBACK, self.target)
        except (OSError, asyncio.CancelledError):
            _abort(writer)
            return
        passage = _Passage(self, writer, server_writer)
        self._passages.add(passage)
        try:
            await passage.run(reader, server_reader)
        finally:
            self._passages.discard(passage)
            passage.abort()

    async def told(self, data: bytes) -> bytes:
        """What of the client's bytes reaches the server, after a while."""
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        return self._unless_swallowed(data)

    async def answered(self, data: bytes, frames: Frames) -> bytes:
        """What of the server's bytes reaches the client, after a while."""
        if self.delay_s or self.reply_delay_s:
            await asyncio.sleep(self.delay_s + self.reply_delay_s)
        if self._amqp:
            data = b"".join(frame for frame in frames.feed(data) if not self._drops(frame))
        return self._unless_swallowed(data)

    def _drops(self, frame: bytes) -> bool:
        dropped = self.dropping_confirms and is_confirm(frame)
        self.dropped_confirms += dropped
        return dropped

    def _unless_swallowed(self, data: bytes) -> bytes:
        if not self.swallowing:
            return data
        self.swallowed_bytes += len(data)
        return b""


class _Passage:
    """One connection on its way through."""

    def __init__(self, proxy: Proxy, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.left: int | None = None
        """Bytes that may still pass; None for any number."""
        self._proxy = proxy
        self._client = client
        self._server = server
        self._frames = Frames()

    async def run(self, client: asyncio.StreamReader, server: asyncio.StreamReader) -> None:
        """Carry bytes both ways until one side ends."""
        carrying = [
            asyncio.ensure_future(self._to_server(client)),
            asyncio.ensure_future(self._to_client(server)),
        ]
        try:
            await asyncio.wait(carrying, return_when=asyncio.FIRST_COMPLETED)
            if not any(task.exception() for task in carrying if task.done()):
                await self._end_in_order()
        finally:
            for task in carrying:
                task.cancel()
            await asyncio.gather(*carrying, return_exceptions=True)

    async def _end_in_order(self) -> None:
        """One side has hung up: so does the other, with all that was said before."""
        for writer in (self._client, self._server):
            with suppress(OSError):
                writer.close()
                await writer.wait_closed()

    def abort(self) -> None:
        """Reset both sides."""
        _abort(self._client)
        _abort(self._server)

    async def _to_server(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(CHUNK):
            await self._write(self._server, await self._proxy.told(data))

    async def _to_client(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(CHUNK):
            await self._write(self._client, await self._proxy.answered(data, self._frames))

    async def _write(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        if self.left is not None:
            data = data[: self.left]
            self.left -= len(data)
        if data:
            writer.write(data)
            await writer.drain()
        if self.left == 0:
            raise ConnectionResetError("cut in the middle")


def _abort(writer: asyncio.StreamWriter) -> None:
    """Close with a reset, whatever is under way."""
    with suppress(OSError, AttributeError, ValueError):  # it may be gone already
        opened: socket.socket = writer.get_extra_info("socket")
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
