"""The proxy spoils what it is told to spoil, and nothing else."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import closing

import pytest

from oms.embedded.ports import LOOPBACK
from tools.chaos.proxy import Frames, Proxy

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def method(class_id: int, method_id: int, arguments: bytes = b"") -> bytes:
    payload = struct.pack(">HH", class_id, method_id) + arguments
    return struct.pack(">BHI", 1, 1, len(payload)) + payload + b"\xce"


CONFIRM = method(60, 80, bytes(9))
REFUSAL = method(60, 120, bytes(9))
DELIVERY = method(60, 60, bytes(30))


class Server:
    """Says back what it hears, until it is told to say something else."""

    def __init__(self) -> None:
        self.says: bytes | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            while data := await reader.read(1000):
                writer.write(data if self.says is None else self.says)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
async def proxy(server: Server) -> AsyncIterator[Proxy]:
    listening = await asyncio.start_server(server.serve, LOOPBACK, 0)
    port = listening.sockets[0].getsockname()[1]
    async with listening, Proxy(port, amqp=server.says is not None) as made:
        yield made


@pytest.fixture
async def client(proxy: Proxy) -> AsyncIterator[Streams]:
    reader, writer = await asyncio.open_connection(LOOPBACK, proxy.port)
    yield reader, writer
    writer.transport.abort()


async def asked(client: Streams, said: bytes, size: int) -> bytes:
    reader, writer = client
    writer.write(said)
    return await reader.readexactly(size)


async def test_what_is_said_passes_both_ways(client: Streams) -> None:
    assert await asked(client, b"hello", 5) == b"hello"


async def test_a_reset_ends_connections_and_new_ones_pass(proxy: Proxy, client: Streams) -> None:
    await asked(client, b"hello", 5)
    proxy.reset()
    with pytest.raises((OSError, asyncio.IncompleteReadError)):
        await asked(client, b"again", 5)
    again = await asyncio.open_connection(LOOPBACK, proxy.port)
    assert await asked(again, b"hello", 5) == b"hello"
    again[1].transport.abort()


async def test_a_cut_falls_within_what_is_said(proxy: Proxy, client: Streams) -> None:
    await asked(client, b"hello", 5)
    proxy.cut_after(7)
    reader, writer = client
    writer.write(b"12345")
    assert (await reader.readexactly(2)) == b"12"
    with pytest.raises((OSError, asyncio.IncompleteReadError)):
        await reader.readexactly(1)


async def test_what_is_swallowed_never_comes_and_the_connection_is_dead_afterwards(
    proxy: Proxy, client: Streams
) -> None:
    await asked(client, b"hello", 5)
    proxy.swallowing = True
    client[1].write(b"lost")
    while proxy.swallowed_bytes < 4:
        await asyncio.sleep(0)
    proxy.calm()
    with pytest.raises((OSError, asyncio.IncompleteReadError)):
        await client[0].readexactly(1)


async def test_refused_connections_are_reset(proxy: Proxy) -> None:
    proxy.refusing = True
    reader, writer = await asyncio.open_connection(LOOPBACK, proxy.port)
    with pytest.raises((OSError, asyncio.IncompleteReadError)):
        await reader.readexactly(1)
    writer.transport.abort()


class TestConfirms:
    @pytest.fixture
    def server(self) -> Server:
        speaking = Server()
        speaking.says = DELIVERY + CONFIRM + DELIVERY[:7] + DELIVERY[7:] + REFUSAL
        return speaking

    async def test_confirms_are_dropped_and_nothing_else(self, proxy: Proxy, client: Streams) -> None:
        proxy.dropping_confirms = True
        assert await asked(client, b"publish", 2 * len(DELIVERY)) == DELIVERY + DELIVERY
        assert proxy.dropped_confirms == 2
        proxy.dropping_confirms = False
        everything = DELIVERY + CONFIRM + DELIVERY + REFUSAL
        assert await asked(client, b"publish", len(everything)) == everything


def test_frames_are_whole_however_they_come() -> None:
    said = DELIVERY + CONFIRM + DELIVERY
    frames = Frames()
    found = [frame for at in range(len(said)) for frame in frames.feed(said[at : at + 1])]
    assert found == [DELIVERY, CONFIRM, DELIVERY]
