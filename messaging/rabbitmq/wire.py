"""The one place that reaches beneath the client library: a tap on the socket, and channels that use it.

aiormq opens connections and channels, speaks TLS, sends heartbeats and does everything that has an answer to
wait for. It is handed a socket through its own extension point, `TransportFactory`; the reader of that socket
takes out the frames that carry the load (deliveries, returns, confirms) as they come in and hands on all
others. Frames going out are written to the same socket, many messages in one write. So a message costs no
task, no future and no queue. A contract test holds what is relied upon; the minor version is pinned.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol, SupportsIndex

from aiormq.abc import AbstractChannel
from aiormq.connection import SSLContextProvider, TransportFactory
from aiormq.exceptions import AMQPConnectionError
from pamqp import commands
from yarl import URL

from messaging.rabbitmq import frames

logging.getLogger("aiormq").setLevel(logging.CRITICAL)
"""The supervisor tells each trouble once and in words; the library would add a traceback for each try."""

_CONTENT_METHODS: Final = frozenset((frames.DELIVER, frames.RETURN))
_CONFIRMS: Final = frozenset((frames.ACK, frames.NACK))
_CHANNEL_CLOSE: Final = commands.Channel.Close.index
_CONNECTION_CLOSE: Final = commands.Connection.Close.index
_CONNECTION_BLOCKED: Final = commands.Connection.Blocked.index
_CONNECTION_UNBLOCKED: Final = commands.Connection.Unblocked.index
_SIGN_OF_LIFE_S: Final = 1.0

OnLost = Callable[[], None]
OnBlocked = Callable[[str | None], None]


class Receiver(Protocol):
    """Who gets the frames of one channel. Called from the event loop; must neither wait nor raise."""

    def method(self, index: int, arguments: bytes) -> bool:
        """A method without content. True takes it; False leaves it to the library."""

    def content(self, index: int, arguments: bytes, properties: bytes, body: bytes) -> None:
        """A delivered or returned message, complete."""

    def ended(self) -> None:
        """Nothing more will come, and nothing more may be written. Called once."""


class Refusal(Exception):
    """Why the broker closed a channel or connection: its ``code`` and words."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text

    @classmethod
    def read(cls, arguments: bytes) -> Refusal:
        """Read the arguments of ``channel.close`` or ``connection.close``."""
        return cls(arguments[0] << 8 | arguments[1], frames.read_short_text(arguments, 2))


class Channel:
    """An open channel whose load goes past the library. On a connection that is lost by now it has ended."""

    def __init__(self, rpc: AbstractChannel, tap: Tap, receiver: Receiver) -> None:
        self.rpc = rpc
        """The library's channel, for methods that are answered."""
        self.number: Final[int] = rpc.number
        self.ended = asyncio.Event()
        self.refusal: Refusal | None = None
        """Set when the broker itself closed the channel."""
        self._tap = tap
        self._receiver = receiver
        self._pending: tuple[int, bytes] | None = None
        self._properties = b""
        self._missing = 0
        self._body: list[bytes] = []
        tap.channels[self.number] = self
        if tap.lost:
            self.end()

    @property
    def writable(self) -> bool:
        """False when nothing may be written any more."""
        return not self.ended.is_set() and self._tap.writable

    @property
    def unsent_bytes(self) -> int:
        """What the socket has not taken yet: grows when the broker stops reading."""
        return self._tap.unsent_bytes

    def write(self, data: bytes) -> None:
        """Write whole frames of this channel."""
        self._tap.write(data)

    def end(self) -> None:
        """Stop using the channel; the receiver is told. What still comes in for it is swallowed."""
        if not self.ended.is_set():
            self.ended.set()
            self._receiver.ended()

    async def close(self) -> None:
        """Close the channel at the broker, which gives back what was not acknowledged."""
        self.end()
        await self.rpc.close()
        self._forget()

    def take(self, kind: int, payload: bytes) -> bool:
        """One frame of this channel; False leaves it to the library."""
        if kind == frames.METHOD:
            return self._take_method(payload)
        if self._pending is None:
            return False
        if kind == frames.HEADER:
            self._properties = payload[12:]
            self._missing = int.from_bytes(payload[4:12], "big")
        else:
            self._body.append(payload)
            self._missing -= len(payload)
        if self._missing <= 0:
            self._complete(*self._pending)
        return True

    def _take_method(self, payload: bytes) -> bool:
        (index,) = frames.INDEX.unpack_from(payload)
        if index in _CONTENT_METHODS:
            self._pending = (index, payload[4:])
            return True
        if index == _CHANNEL_CLOSE:
            self.refusal = Refusal.read(payload[4:])
            self._forget()
            self.end()
            return False
        if self.ended.is_set():
            return index in _CONFIRMS
        return self._receiver.method(index, payload[4:])

    def _complete(self, index: int, arguments: bytes) -> None:
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._pending = None
        self._body = []
        if not self.ended.is_set():
            self._receiver.content(index, arguments, self._properties, body)

    def _forget(self) -> None:
        if self._tap.channels.get(self.number) is self:
            del self._tap.channels[self.number]


class Tap(asyncio.StreamReader):
    """The socket's reader. Frames of its channels go to them at once, everything else to the library."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.channels: dict[int, Channel] = {}
        self.blocked: str | None = None
        """Why the broker reads nothing from this connection just now (an alarm), in its own words."""
        self.refusal: Refusal | None = None
        """Set when the broker itself closed the connection."""
        self.lost = False
        self.on_lost: OnLost | None = None
        self.on_blocked: OnBlocked | None = None
        """Called with the reason when the broker stops reading, and with None when it reads again."""
        self._clock = loop.time
        self._rest = b""
        self._sifting = True
        self._alive_until = 0.0
        self._socket: asyncio.WriteTransport | None = None

    def attach(self, socket: asyncio.WriteTransport) -> None:
        """Name the socket to which `write` writes."""
        self._socket = socket

    @property
    def writable(self) -> bool:
        """False when the connection is gone or going."""
        return self._socket is not None and not self.lost and not self._socket.is_closing()

    @property
    def unsent_bytes(self) -> int:
        """What the socket has not taken yet."""
        return self._socket.get_write_buffer_size() if self._socket is not None else 0

    def write(self, data: bytes) -> None:
        """Write whole frames."""
        if self.writable:
            assert self._socket is not None
            self._socket.write(data)

    def abort(self) -> None:
        """Cut the connection without a word."""
        if self._socket is not None:
            self._socket.abort()

    def feed_data(self, data: Iterable[SupportsIndex]) -> None:
        """Sift what came in. The library is shown a sign of life at least once a second."""
        others = self._sift(bytes(data))
        now = self._clock()
        if not others and now >= self._alive_until:
            others = frames.HEARTBEAT_FRAME
        if others:
            self._alive_until = now + _SIGN_OF_LIFE_S
            super().feed_data(others)

    def feed_eof(self) -> None:
        """The broker hung up."""
        self._lose()
        super().feed_eof()

    def set_exception(self, exc: Exception) -> None:
        """The connection broke."""
        self._lose()
        super().set_exception(exc)

    def _lose(self) -> None:
        if self.lost:
            return
        self.lost = True
        for channel in list(self.channels.values()):
            channel.end()
        if self.on_lost is not None:
            self.on_lost()

    def _sift(self, data: bytes) -> bytes:
        if not self._sifting:
            return data
        if self._rest:
            data = self._rest + data
        others: list[bytes] = []
        at, end = 0, len(data)
        while end - at >= frames.OVERHEAD:
            kind, number, size = frames.FRAME_START.unpack_from(data, at)
            stop = at + frames.OVERHEAD + size
            if kind > frames.HEARTBEAT:
                self._sifting = False  # no frame at all: let the library say what it thinks of it
                others.append(data[at:])
                at = end
                break
            if stop > end:
                break
            channel = self.channels.get(number)
            if channel is None:
                self._observe(number, data[at + 7 : stop - 1])
            if channel is None or not channel.take(kind, data[at + 7 : stop - 1]):
                others.append(data[at:stop])
            at = stop
        self._rest = data[at:]
        return b"".join(others)

    def _observe(self, number: int, payload: bytes) -> None:
        """Note what the broker says about the connection as a whole."""
        if number != 0 or len(payload) < frames.INDEX.size:
            return
        (index,) = frames.INDEX.unpack_from(payload)
        if index == _CONNECTION_BLOCKED:
            self._note_blocked(frames.read_short_text(payload, 4))
        elif index == _CONNECTION_UNBLOCKED:
            self._note_blocked(None)
        elif index == _CONNECTION_CLOSE:
            self.refusal = Refusal.read(payload[4:])

    def _note_blocked(self, reason: str | None) -> None:
        self.blocked = reason
        if self.on_blocked is not None:
            self.on_blocked(reason)


class TappedSocket(TransportFactory):
    """Opens the socket of one connection, TLS included, with a `Tap` as its reader."""

    def __init__(self) -> None:
        self.tap: Tap | None = None

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """See `TransportFactory`."""
        tls = kwargs.pop("ssl_context_provider")
        context = await _trusted(tls) if url.scheme == "amqps" else None
        loop = asyncio.get_running_loop()
        tap = Tap(loop)
        protocol = asyncio.StreamReaderProtocol(tap, loop=loop)
        assert url.host is not None
        assert url.port is not None
        try:
            socket, _ = await loop.create_connection(
                lambda: protocol, url.host, url.port, ssl=context, **kwargs
            )
        except ssl.SSLCertVerificationError as error:
            why = f"its certificate is not trusted ({error.verify_message}): check cafile in the broker URL"
            raise AMQPConnectionError(why) from error
        except OSError as error:
            raise AMQPConnectionError(*error.args) from error
        tap.attach(socket)
        self.tap = tap
        return tap, asyncio.StreamWriter(socket, protocol, tap, loop)


async def _trusted(tls: SSLContextProvider) -> ssl.SSLContext:
    """What the URL says about certificates, read from its files."""
    try:
        return await tls.get_context()
    except OSError as error:
        why = f"the certificates that the broker URL names cannot be used: {error.strerror or error}"
        raise AMQPConnectionError(why) from error
