"""The tap on the socket: our frames to us, all others to the library, however the bytes are cut."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiormq.abc import AbstractChannel
from pamqp import commands
from pamqp.body import ContentBody
from pamqp.frame import marshal
from pamqp.header import ContentHeader

from messaging.rabbitmq import frames
from messaging.rabbitmq.wire import Channel, Tap


class Listener:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def method(self, index: int, arguments: bytes) -> bool:
        if index != frames.ACK:
            return False
        self.heard.append(frames.read_confirm(arguments))
        return True

    def content(self, index: int, arguments: bytes, properties: bytes, body: bytes) -> None:
        self.heard.append((frames.read_deliver(arguments).tag, frames.read_properties(properties).type, body))

    def ended(self) -> None:
        self.heard.append("ended")


def _delivery(channel: int, tag: int, *chunks: bytes) -> bytes:
    properties = commands.Basic.Properties(message_type="T")
    return b"".join(
        (
            marshal(commands.Basic.Deliver("c", tag, False, "", "q"), channel),
            marshal(ContentHeader(body_size=sum(map(len, chunks)), properties=properties), channel),
            *(marshal(ContentBody(chunk), channel) for chunk in chunks),
        )
    )


async def _tapped(number: int = 7) -> tuple[Tap, Channel, Listener]:
    tap, listener = Tap(asyncio.get_running_loop()), Listener()
    rpc = cast(AbstractChannel, SimpleNamespace(number=number))
    return tap, Channel(rpc, tap, listener), listener


async def _seen_by_library(tap: Tap) -> bytes:
    tap.feed_eof()
    return (await tap.read()).replace(frames.HEARTBEAT_FRAME, b"")


@pytest.mark.parametrize("step", [1, 2, 3, 7, 8, 50, 10_000])
async def test_frames_are_told_apart_however_they_are_cut(step: int) -> None:
    tap, _, listener = await _tapped()
    other = _delivery(1, 1, b"of another channel") + marshal(commands.Queue.DeclareOk("q", 1, 2), 7)
    stream = (
        _delivery(7, 1, b"one")
        + other
        + _delivery(7, 2)
        + marshal(commands.Basic.Ack(5, True), 7)
        + _delivery(7, 3, b"in ", b"three ", b"parts")
    )
    for at in range(0, len(stream), step):
        tap.feed_data(stream[at : at + step])

    assert listener.heard == [(1, "T", b"one"), (2, "T", b""), (5, True), (3, "T", b"in three parts")]
    assert await _seen_by_library(tap) == other


async def test_the_library_keeps_seeing_signs_of_life() -> None:
    tap, _, _ = await _tapped()
    now = 100.0
    tap._clock = lambda: now
    for tag in range(1, 6):
        tap.feed_data(_delivery(7, tag, b"x"))
        now += 0.4
    tap.feed_eof()

    assert await tap.read() == frames.HEARTBEAT_FRAME * 2


async def test_what_is_no_frame_is_left_to_the_library() -> None:
    tap, _, _ = await _tapped()
    tap.feed_data(b"AMQP\x00\x00\x09\x01")
    tap.feed_data(b"whatever follows")

    assert await _seen_by_library(tap) == b"AMQP\x00\x00\x09\x01whatever follows"


async def test_a_lost_connection_ends_its_channels_once() -> None:
    tap, channel, listener = await _tapped()
    lost: list[str] = []
    tap.on_lost = lambda: lost.append("lost")
    tap.set_exception(ConnectionResetError())
    tap.feed_eof()

    assert listener.heard == ["ended"]
    assert lost == ["lost"]
    assert not channel.writable


async def test_a_channel_closed_by_the_broker_ends_with_its_reason() -> None:
    tap, channel, listener = await _tapped()
    close = marshal(commands.Channel.Close(404, "NOT_FOUND - no queue", 60, 20), 7)
    tap.feed_data(close + _delivery(7, 1, b"too late"))

    assert listener.heard == ["ended"]
    assert channel.refusal is not None
    assert (channel.refusal.code, channel.refusal.text) == (404, "NOT_FOUND - no queue")
    assert (await _seen_by_library(tap)).startswith(close)


async def test_an_ended_channel_swallows_what_is_still_on_its_way() -> None:
    tap, channel, listener = await _tapped()
    delivery = _delivery(7, 1, b"half of it")
    tap.feed_data(delivery[:60])
    channel.end()
    tap.feed_data(delivery[60:] + _delivery(7, 2, b"more") + marshal(commands.Basic.Ack(1), 7))

    assert listener.heard == ["ended"]
    assert await _seen_by_library(tap) == b""


async def test_an_alarm_is_noted_and_told() -> None:
    tap, _, _ = await _tapped()
    told: list[str | None] = []
    tap.on_blocked = told.append
    tap.feed_data(marshal(commands.Connection.Blocked("low on memory"), 0))
    assert tap.blocked == "low on memory"
    tap.feed_data(marshal(commands.Connection.Unblocked(), 0))

    assert told == ["low on memory", None]
    assert tap.blocked is None
