"""One supervised connection to the broker: connects, reconnects, and says in words why it cannot."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Any, Final

import aiormq
from aiormq.abc import AbstractChannel
from aiormq.exceptions import AMQPConnectionError, AMQPError
from yarl import URL

from messaging.backoff import Backoff, Pauses
from messaging.rabbitmq.wire import Channel, OnBlocked, Receiver, Refusal, Tap, TappedSocket

ANSWER_TIMEOUT_S: Final = 10.0
"""How long the broker may take to answer one request before the connection counts as unusable."""

CLOSE_TIMEOUT_S: Final = 3.0
HEARTBEAT_S: Final = 10
"""Unless the URL says otherwise: a silent peer is given up after about half a minute."""

BACKOFF_BASE_S: Final = 0.1
BACKOFF_CAP_S: Final = 5.0

_ANY_FRAME: Final = 131_072
"""What is sent in one frame where the broker sets no limit."""

_PORTS: Final = {"amqp": 5672, "amqps": 5671}
_URL_FORM: Final = "a broker URL looks like amqp://user:password@host:5672/virtual-host"
_ACCESS_REFUSED: Final = 403
_NOT_ALLOWED: Final = 530


class BrokerError(Exception):
    """The broker did not do what it was asked; ``code`` is its reply code, None where it gave none."""

    def __init__(self, text: str, code: int | None = None) -> None:
        super().__init__(text)
        self.code = code


class NoAnswer(BrokerError):
    """The broker said neither yes nor no in time."""


def broker_backoff(rng: Random) -> Backoff:
    """How long to wait before the broker is tried again."""
    return Backoff(rng, BACKOFF_BASE_S, BACKOFF_CAP_S, spread=(0.5, 1))


@asynccontextmanager
async def asking(channel: Channel | None = None, timeout_s: float = ANSWER_TIMEOUT_S) -> AsyncIterator[None]:
    """Turn whatever the client library raises into one `BrokerError`, and wait only so long.

    A dying connection makes the library cancel whoever waits for an answer; that is told apart here
    from a cancellation that is meant for the task. The other way round, the library tells a task that is
    cancelled just then of the connection's end instead; it is cancelled all the same. An answer that was
    the last word of a dying connection may be heard after its end: it holds no longer, and is the same as
    none.
    """
    try:
        async with asyncio.timeout(timeout_s):
            yield
        if channel is not None and channel.ended.is_set():
            raise AMQPConnectionError("the connection was lost")
    except asyncio.CancelledError:
        if _is_cancelled():
            raise
        raise BrokerError("the connection was lost") from None
    except TimeoutError:
        raise NoAnswer(f"no answer within {timeout_s:g} s") from None
    except (AMQPError, OSError, RuntimeError) as error:
        if _is_cancelled():
            raise asyncio.CancelledError from error
        refusal = channel.refusal if channel is not None else None
        if refusal is not None:
            raise BrokerError(refusal.text, refusal.code) from error
        raise BrokerError(_words(error), _code(error)) from error


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


_CODES: Final = {
    aiormq.exceptions.ChannelAccessRefused: 403,
    aiormq.exceptions.ChannelNotFoundEntity: 404,
    aiormq.exceptions.ChannelLockedResource: 405,
    aiormq.exceptions.ChannelPreconditionFailed: 406,
}


def _code(error: Exception) -> int | None:
    return next((code for kind, code in _CODES.items() if isinstance(error, kind)), None)


def _words(error: Exception) -> str:
    return " ".join(str(arg) for arg in error.args) or type(error).__name__


async def close_quietly(channel: AbstractChannel | Channel) -> None:
    """Close a channel; one that is broken already is as good as closed."""
    with suppress(BrokerError):
        async with asking(timeout_s=CLOSE_TIMEOUT_S):
            await channel.close()


async def for_ever(step: Callable[[], Awaitable[None]], pauses: Pauses, log: Any) -> None:
    """Take one step after the other. A bug in one is logged in full and does not end the service."""
    while True:
        try:
            await step()
        except Exception:
            log.exception("broker supervision failed", step=step.__qualname__)
            await pauses.pause()


class BrokerConnection:
    """One live connection; once lost it stays lost."""

    def __init__(self, amqp: aiormq.Connection, tap: Tap) -> None:
        self._amqp = amqp
        self._tap = tap
        self.lost = asyncio.Event()
        tap.on_lost = self.lost.set
        if tap.lost:
            self.lost.set()

    @classmethod
    async def open(cls, url: URL, name: str) -> BrokerConnection:
        """Connect and log in. Raises BrokerError in words that tell "down" from "misconfigured"."""
        socket = TappedSocket()
        amqp = aiormq.Connection(url, transport_factory=socket, client_properties={"connection_name": name})
        try:
            async with asking():
                await amqp.connect()
        except BaseException as error:
            if socket.tap is not None:
                socket.tap.abort()
            if isinstance(error, BrokerError):
                raise _explained(url, error, socket.tap) from error
            raise
        assert socket.tap is not None
        return cls(amqp, socket.tap)

    @property
    def blocked(self) -> str | None:
        """The broker's reason for reading nothing from this connection, if so."""
        return self._tap.blocked

    def when_blocked(self, say: OnBlocked) -> None:
        """Have changes of `blocked` told."""
        self._tap.on_blocked = say

    @property
    def refusal(self) -> Refusal | None:
        """Why the broker closed the connection, if it did."""
        return self._tap.refusal

    @property
    def product(self) -> str:
        """What the broker says that it is, as in ``RabbitMQ 4.0.5``."""
        told = self._amqp.server_properties
        return " ".join(str(told[each]) for each in ("product", "version") if each in told) or "a broker"

    @property
    def frame_max(self) -> int:
        """The largest frame, in bytes, that was agreed on."""
        return int(self._amqp.connection_tune.frame_max) or _ANY_FRAME

    async def channel(self, receiver: Receiver, *, confirms: bool) -> Channel:
        """Open a channel for load. Raises BrokerError."""
        return Channel(await self.plain_channel(confirms=confirms), self._tap, receiver)

    async def plain_channel(self, *, confirms: bool = False) -> AbstractChannel:
        """Open a channel for questions only. Raises BrokerError.

        That takes nobody but the node at the other end. A connection on which it is not answered is cut,
        for another to take its place: its node may still send heartbeats while it waits for one that hangs,
        and then would never be given up. While an alarm lasts, no answer is to be expected.
        """
        try:
            async with asking():
                return await self._amqp.channel(publisher_confirms=confirms)
        except NoAnswer:
            if self.blocked is None:
                self._tap.abort()
            raise

    async def close(self) -> None:
        """Say goodbye, or cut the connection when the broker does not answer."""
        try:
            with suppress(BrokerError):
                async with asking(timeout_s=CLOSE_TIMEOUT_S):
                    await self._amqp.close()
        finally:
            self._tap.abort()


def _explained(url: URL, error: BrokerError, tap: Tap | None) -> BrokerError:
    where = f"the broker at {url.host}:{url.port}"
    refusal = tap.refusal if tap is not None else None
    if refusal is None:
        return BrokerError(f"{where} cannot be reached: {error}")
    if refusal.code == _ACCESS_REFUSED:
        text = f"{where} refuses the login of user {url.user!r}: check name and password in the broker URL"
    elif refusal.code == _NOT_ALLOWED:
        virtual_host = url.path[1:] or "/"
        text = f"{where} refuses user {url.user!r} the virtual host {virtual_host!r}: {refusal.text}"
    else:
        text = f"{where} refuses the connection: {refusal.text}"
    return BrokerError(text, refusal.code)


def broker_url(text: str) -> URL:
    """Check one AMQP URL and add our heartbeat where it names none.

    Raises ValueError, whose text never shows the password.
    """
    try:
        url = URL(text)
        port = url.port or _PORTS[url.scheme]
    except (ValueError, KeyError):
        raise ValueError(_URL_FORM) from None
    if not url.host or url.scheme not in _PORTS:
        raise ValueError(_URL_FORM)
    url = url.with_port(port)
    return url if "heartbeat" in url.query else url.update_query(heartbeat=str(HEARTBEAT_S))


class Link:
    """Keeps one connection up for as long as it runs, going round the URLs with jittered pauses."""

    def __init__(
        self,
        name: str,
        urls: Sequence[URL],
        rng: Random,
        log: Any,
        prepare: Callable[[BrokerConnection], Awaitable[None]],
    ) -> None:
        self._name = name
        self._urls = itertools.cycle(urls)
        self._pauses = Pauses(broker_backoff(rng))
        self._log = log
        self._prepare = prepare
        self._trouble: str | None = f"not connected yet to the broker at {urls[0].host}:{urls[0].port}"
        self._up = asyncio.Event()
        self._connection: BrokerConnection | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def trouble(self) -> str | None:
        """Why this connection cannot be used just now, in a person's words."""
        if self._task is None:
            return None
        if (connection := self.connection) is None:
            return self._trouble or "the connection to the broker was lost"
        if connection.blocked is not None:
            return f"the broker has stopped reading what is published (alarm: {connection.blocked})"
        return self._trouble

    @property
    def connection(self) -> BrokerConnection | None:
        """The live connection, or None."""
        connection = self._connection
        return None if connection is None or connection.lost.is_set() else connection

    def start(self) -> None:
        """Begin connecting, once. Needs a running loop."""
        if self._task is None:
            supervision = for_ever(self._keep_up, self._pauses, self._log)
            self._task = asyncio.get_running_loop().create_task(supervision)

    async def connected(self) -> BrokerConnection:
        """The live connection; waits until there is one."""
        self.start()
        while (connection := self.connection) is None:
            if self._connection is not None:
                self._up.clear()  # lost, and the supervisor has not run since
            await self._up.wait()
        return connection

    async def close(self) -> None:
        """Disconnect and stay so."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _keep_up(self) -> None:
        """One connection's life, or one try to open it."""
        url = next(self._urls)
        try:
            connection = await BrokerConnection.open(url, self._name)
        except BrokerError as error:
            self._say(str(error))
        else:
            with self._pauses.between():
                await self._serve(connection, url)
        await self._pauses.pause()

    async def _serve(self, connection: BrokerConnection, url: URL) -> None:
        connection.when_blocked(self._note_blocked)
        try:
            await self._prepare(connection)
            self._connection, self._trouble = connection, None
            self._up.set()
            self._log.info("broker connected", link=self._name, host=url.host, port=url.port)
            await connection.lost.wait()
            why = f": {connection.refusal.text}" if connection.refusal else ""
            self._say(f"the connection to the broker at {url.host}:{url.port} was lost{why}")
        except BrokerError as error:
            self._say(f"the broker at {url.host}:{url.port} is not ready: {error}")
        finally:
            self._connection = None
            self._up.clear()
            await connection.close()

    def _note_blocked(self, reason: str | None) -> None:
        if reason is None:
            self._log.info("broker reads again", link=self._name)
        else:
            self._log.warning("broker has stopped reading", link=self._name, alarm=reason)

    def _say(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._log.warning("broker trouble", link=self._name, trouble=trouble)
        self._trouble = trouble
