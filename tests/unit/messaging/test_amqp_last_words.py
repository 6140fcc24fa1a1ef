"""A connection may die between the broker's answer and whoever waits for it: the answer is worth nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest
import structlog
from aiormq.abc import AbstractChannel
from pamqp import commands
from pamqp.frame import marshal

from messaging.backoff import Pauses
from messaging.rabbitmq import publisher as publishing
from messaging.rabbitmq.connection import BrokerConnection, BrokerError, Link, asking, broker_backoff
from messaging.rabbitmq.publisher import RabbitMqPublisher
from messaging.rabbitmq.subscriber import RabbitMqSubscription
from messaging.rabbitmq.topology import Names
from messaging.rabbitmq.wire import Channel, Receiver, Tap


class Peer:
    """A connection whose broker answers everything; after the answer to `last_word` it is lost."""

    def __init__(self, last_word: str = "") -> None:
        self.lost = asyncio.Event()
        self.refusal = self.blocked = None
        self.frame_max = 4096
        self.answered: dict[str, asyncio.Event] = {}
        self._last_word = last_word
        self._tap = Tap(asyncio.get_running_loop())
        self._tap.on_lost = self.lost.set

    async def channel(self, receiver: Receiver, *, confirms: bool) -> Channel:
        await self._answer("channel")
        asked = ("basic_qos", "basic_consume", "basic_cancel", "close")
        rpc: Any = SimpleNamespace(number=1, **{name: self._answering(name) for name in asked})
        return Channel(cast(AbstractChannel, rpc), self._tap, receiver)

    def has_answered(self, name: str) -> asyncio.Event:
        return self.answered.setdefault(name, asyncio.Event())

    def _answering(self, name: str) -> Any:
        async def answer(*_: object, **__: object) -> Any:
            return await self._answer(name)

        return answer

    async def _answer(self, name: str) -> Any:
        self.has_answered(name).set()
        if name == self._last_word:
            self._tap.set_exception(ConnectionResetError())
        return SimpleNamespace(consumer_tag=name)

    def refuse(self, tag: int) -> None:
        """Say no to the message with this delivery tag."""
        self._tap.feed_data(marshal(commands.Basic.Nack(tag), 1))


class Peers:
    """Stands where the link stands: one connection after the other."""

    def __init__(self, *peers: Peer) -> None:
        self._left = list(peers)

    @property
    def connection(self) -> Peer:
        while len(self._left) > 1 and self._left[0].lost.is_set():
            del self._left[0]
        return self._left[0]

    async def connected(self) -> Peer:
        return self.connection


def _unheard() -> None:
    """Nothing comes back here."""


async def _restore(_: BrokerConnection) -> None:
    """Nothing was declared."""


def _parts(peers: Peers) -> tuple[Link, Names, Pauses]:
    return cast(Link, peers), Names(""), Pauses(broker_backoff(Random(1)))


@pytest.fixture
async def subscriptions() -> AsyncIterator[list[RabbitMqSubscription]]:
    made: list[RabbitMqSubscription] = []
    yield made
    for each in made:
        await each.close()


def _subscription(peers: Peers, made: list[RabbitMqSubscription]) -> RabbitMqSubscription:
    link, names, pauses = _parts(peers)
    subscription = RabbitMqSubscription(link, names, "q", 10, pauses, _restore, structlog.get_logger())
    made.append(subscription)
    return subscription


@pytest.mark.parametrize("last_word", ["channel", "basic_qos", "basic_consume"])
async def test_the_next_connection_gets_a_consumer_whatever_the_last_word_was(
    last_word: str, subscriptions: list[RabbitMqSubscription]
) -> None:
    first, second = Peer(last_word), Peer()
    subscription = _subscription(Peers(first, second), subscriptions)

    async with asyncio.timeout(10):
        await second.has_answered("basic_consume").wait()
        await subscription.started()
    assert first.has_answered(last_word).is_set()


async def test_a_pause_whose_answer_was_the_last_word_fails_nobody(
    subscriptions: list[RabbitMqSubscription],
) -> None:
    first, second = Peer("basic_cancel"), Peer()
    subscription = _subscription(Peers(first, second), subscriptions)
    async with asyncio.timeout(10):
        await subscription.started()
        await subscription.pause()
        await subscription.resume()
        await second.has_answered("basic_consume").wait()


async def test_a_publisher_goes_on_when_its_channel_was_the_last_word() -> None:
    first, second = Peer("channel"), Peer()
    link, names, pauses = _parts(Peers(first, second))
    publisher = RabbitMqPublisher(link, names, pauses, _restore, _unheard, structlog.get_logger())
    async with asyncio.timeout(10):
        await second.has_answered("channel").wait()
    await publisher.close()


async def test_a_channel_that_is_refused_messages_for_long_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(publishing, "REFUSED_FOR_S", 0.0)
    peer = Peer()
    link, names, pauses = _parts(Peers(peer))
    publisher = RabbitMqPublisher(link, names, pauses, _restore, _unheard, structlog.get_logger())
    async with asyncio.timeout(10):
        await peer.has_answered("channel").wait()
        peer.answered.clear()
        await asyncio.sleep(0)
        peer.refuse(1)
        await peer.has_answered("close").wait()
        await peer.has_answered("channel").wait()
    await publisher.close()


async def test_who_is_cancelled_is_not_told_of_the_end_of_the_connection_instead() -> None:
    """As the library has it that loses its connection in that moment: its own error takes the place of the
    cancellation, and whoever waits for the end of the cancelled would do so for ever."""
    dying = asyncio.Event()

    async def answer() -> None:
        try:
            await dying.wait()
        except asyncio.CancelledError:
            raise ConnectionResetError from None

    async def ask() -> None:
        with contextlib.suppress(BrokerError):
            async with asking():
                await answer()

    asked = asyncio.create_task(ask())
    await asyncio.sleep(0)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    assert asked.cancelled()
