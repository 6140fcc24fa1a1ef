"""AMQP 0-9-1 frames as bytes, for what carries the load: publish, deliver, confirm, acknowledge.

Everything here is pure. The client library builds and reads each frame as an object, field by field, which
costs several times what a message otherwise costs us; the rarely used parts (header tables, arguments
of methods) are still left to it. What a stranger put into properties is never an error here: an unreadable
text gets replacement characters and an unreadable header table is empty, so that a poisoned message reaches
the consumer, who judges it (S16), instead of breaking the connection for ever.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import lru_cache
from struct import Struct
from typing import Any, Final, NamedTuple
from uuid import UUID

from pamqp import commands, decode, encode
from pamqp.frame import marshal

from messaging.transport import Message

METHOD: Final = 1
HEADER: Final = 2
BODY: Final = 3
HEARTBEAT: Final = 8
FRAME_END: Final = 0xCE
OVERHEAD: Final = 8
"""Bytes that a frame has beside its payload: kind, channel, size before it, the end mark behind it."""

DELIVER: Final = commands.Basic.Deliver.index
RETURN: Final = commands.Basic.Return.index
ACK: Final = commands.Basic.Ack.index
NACK: Final = commands.Basic.Nack.index
CANCEL: Final = commands.Basic.Cancel.index

HEARTBEAT_FRAME: Final = bytes((HEARTBEAT, 0, 0, 0, 0, 0, 0, FRAME_END))

FRAME_START: Final = Struct(">BHI")
INDEX: Final = Struct(">I")
_BASIC_CLASS: Final = commands.Basic.frame_id
_HEADER_START: Final = Struct(">BHIHHQH")
_HEADER_FIXED: Final = 14
_ACKNOWLEDGEMENT: Final = Struct(">BHIIQBB")
_ACKNOWLEDGEMENT_SIZE: Final = 13
_TAG_AND_BITS: Final = Struct(">QB")
_LENGTH: Final = Struct(">I")
_LONG: Final = Struct(">Q")

_CONTENT_TYPE: Final = 1 << 15
_CONTENT_ENCODING: Final = 1 << 14
_HEADERS: Final = 1 << 13
_DELIVERY_MODE: Final = 1 << 12
_PRIORITY: Final = 1 << 11
_CORRELATION_ID: Final = 1 << 10
_REPLY_TO: Final = 1 << 9
_EXPIRATION: Final = 1 << 8
_MESSAGE_ID: Final = 1 << 7
_TIMESTAMP: Final = 1 << 6
_TYPE: Final = 1 << 5
_APP_ID: Final = 1 << 3

_ALWAYS: Final = _CONTENT_TYPE | _HEADERS | _DELIVERY_MODE | _MESSAGE_ID | _TIMESTAMP | _TYPE | _APP_ID
_PERSISTENT: Final = b"\x02"
_END: Final = bytes((FRAME_END,))
_TEXT: Final = ord("S")
_NUMBERS: Final = {ord(kind): size for kind, size in (("b", 1), ("s", 2), ("I", 4), ("l", 8))}
"""Whole numbers in header tables: how many octets each kind has."""


# ------------------------------------------------------------------------------------------------ outgoing


@lru_cache(maxsize=4096)
def publish_method(channel: int, exchange: str, routing_key: str, mandatory: bool) -> bytes:  # noqa: FBT001
    """The ``basic.publish`` frame; the same few are needed again and again."""
    return marshal(
        commands.Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=mandatory), channel
    )


def content(channel: int, message: Message, frame_max: int) -> list[bytes]:
    """Header frame and body frames of one message: persistent, the properties of `docs/broker.md`.

    Raises:
        ValueError: it cannot be written, or the broker would end the connection over it.
    """
    body = message.body
    correlation_id = message.correlation_id
    properties = b"".join(
        (
            _short_text_once(message.content_type),
            _table(message.headers),
            _PERSISTENT,
            _identity(correlation_id) if correlation_id is not None else b"",
            _identity(message.message_id),
            _LONG.pack(int(message.timestamp.timestamp())),
            _names(message.type, message.app_id),
        )
    )
    flags = _ALWAYS if correlation_id is None else _ALWAYS | _CORRELATION_ID
    size = _HEADER_FIXED + len(properties)
    if size + OVERHEAD > frame_max:
        raise ValueError(f"its headers take {size} bytes with all else; a frame holds {frame_max - OVERHEAD}")
    start = _HEADER_START.pack(HEADER, channel, size, _BASIC_CLASS, 0, len(body), flags)
    parts = [start, properties, _END]
    largest = frame_max - OVERHEAD
    for at in range(0, len(body), largest):
        chunk = body if len(body) <= largest else body[at : at + largest]
        parts += (FRAME_START.pack(BODY, channel, len(chunk)), chunk, _END)
    return parts


def acknowledgements(channel: int, tags: Iterable[tuple[int, bool]]) -> bytes:
    """The ``basic.ack`` frames for delivery tags, each single or up to and including (``multiple``)."""
    return b"".join(
        _ACKNOWLEDGEMENT.pack(METHOD, channel, _ACKNOWLEDGEMENT_SIZE, ACK, tag, multiple, FRAME_END)
        for tag, multiple in tags
    )


def _table(headers: Mapping[str, Any]) -> bytes:
    parts: list[bytes] = []
    for name, value in headers.items():
        if type(value) is str:
            text = value.encode()
            parts += (_text_entry(name), _LENGTH.pack(len(text)), text)
        elif type(value) is int:
            parts.append(_number_entry(name, value))
        elif type(value) is float:
            parts += (_short_text(name), b"d", _double(value))  # the library would halve its precision
        else:
            parts += (_short_text(name), encode.encode_table_value(value))
    entries = b"".join(parts)
    return _LENGTH.pack(len(entries)) + entries


def _double(value: float) -> bytes:
    """RabbitMQ ends the connection over what is no finite number."""
    if not math.isfinite(value):
        raise ValueError(f"{value} cannot be sent in a header")
    return bytes(encode.double(value))


def _identity(value: UUID) -> bytes:
    return b"$" + str(value).encode()  # the length of every identity, 36, as an octet


def _short_text(text: str) -> bytes:
    data = text.encode()
    if len(data) > 255:
        raise ValueError(f"{text[:40]!r}... is {len(data)} bytes long; AMQP allows 255 here")
    return bytes((len(data),)) + data


# What the same few names and small numbers look like is made once.


@lru_cache(maxsize=1024)
def _names(type_name: str, app_id: str) -> bytes:
    return _short_text(type_name) + _short_text(app_id)


@lru_cache(maxsize=16)
def _short_text_once(text: str) -> bytes:
    return _short_text(text)


@lru_cache(maxsize=1024)
def _text_entry(name: str) -> bytes:
    return _short_text(name) + b"S"


@lru_cache(maxsize=1024)
def _number_entry(name: str, value: int) -> bytes:
    return _short_text(name) + encode.encode_table_value(value)


# ------------------------------------------------------------------------------------------------ incoming


class Confirm(NamedTuple):
    """The broker's word on published messages: up to and including ``tag`` if ``multiple``."""

    tag: int
    multiple: bool


class Deliver(NamedTuple):
    """Arguments of ``basic.deliver``."""

    tag: int
    redelivered: bool
    exchange: str
    routing_key: str


class Properties(NamedTuple):
    """The properties of a message that matter here."""

    message_id: str | None
    type: str | None
    correlation_id: str | None
    headers: dict[str, Any]
    content_type: str | None


def read_confirm(arguments: bytes) -> Confirm:
    """Read the arguments of ``basic.ack`` or ``basic.nack``."""
    tag, bits = _TAG_AND_BITS.unpack_from(arguments)
    return Confirm(tag, bool(bits & 1))


def read_deliver(arguments: bytes) -> Deliver:
    """Read the arguments of ``basic.deliver``."""
    at = 1 + arguments[0]  # behind the consumer tag
    tag, bits = _TAG_AND_BITS.unpack_from(arguments, at)
    exchange, at = _read_short_text(arguments, at + 9)
    routing_key, _ = _read_short_text(arguments, at)
    return Deliver(tag, bool(bits & 1), exchange, routing_key)


def read_properties(data: bytes) -> Properties:
    """Read the flags and properties of a content header; see the module's word on unreadable ones."""
    flags = data[0] << 8 | data[1]
    at = 2
    correlation_id = message_id = type_ = content_type = None
    if flags & _CONTENT_TYPE:
        content_type, at = _read_short_text(data, at)
    if flags & _CONTENT_ENCODING:
        at += 1 + data[at]
    headers: dict[str, Any] = {}
    if flags & _HEADERS:
        end = at + 4 + _LENGTH.unpack_from(data, at)[0]
        headers = _read_table(data, at + 4, end)
        at = end
    at += (flags & _DELIVERY_MODE != 0) + (flags & _PRIORITY != 0)  # an octet each
    if flags & _CORRELATION_ID:
        correlation_id, at = _read_short_text(data, at)
    for flag in (_REPLY_TO, _EXPIRATION):
        if flags & flag:
            at += 1 + data[at]
    if flags & _MESSAGE_ID:
        message_id, at = _read_short_text(data, at)
    if flags & _TIMESTAMP:
        at += 8
    if flags & _TYPE:
        type_, at = _read_short_text(data, at)
    return Properties(message_id, type_, correlation_id, headers, content_type)


def latest_death(headers: Mapping[str, Any]) -> str | None:
    """Why the broker moved a message the last time; None when it did not since it was published.

    ``x-death`` lists the newest first; ``x-first-death-reason`` would tell of a retry queue, and 3.x has no
    ``x-last-death-reason``.
    """
    deaths = headers.get("x-death")
    newest = deaths[0] if isinstance(deaths, list) and deaths else None
    reason = newest.get("reason") if isinstance(newest, dict) else None
    return reason if isinstance(reason, str) else None


def read_short_text(data: bytes, at: int) -> str:
    """The short string that starts at ``at``."""
    return _read_short_text(data, at)[0]


def _read_short_text(data: bytes, at: int) -> tuple[str, int]:
    end = at + 1 + data[at]
    return data[at + 1 : end].decode(errors="replace"), end


def _read_table(data: bytes, at: int, end: int) -> dict[str, Any]:
    """Texts, which most headers are, by hand, and the same few numbers once; the library reads all else."""
    try:
        table: dict[str, Any] = {}
        while at < end:
            kind_at = at + 1 + data[at]
            name = data[at + 1 : kind_at].decode(errors="replace")
            at = kind_at + 1
            if data[kind_at] == _TEXT:
                start = at + 4
                at = start + int.from_bytes(data[kind_at + 1 : start], "big")
                table[name] = _text_or_bytes(data[start:at])
            elif data[kind_at] in _NUMBERS:
                at += _NUMBERS[data[kind_at]]
                table[name] = _number(data[kind_at:at])
            else:
                size, table[name] = decode.TABLE_MAPPING[data[kind_at:at]](data[at:end])
                at += size
        return table if at == end else {}
    except Exception:  # whatever a stranger wrote there; decoding has no other effect
        return {}


@lru_cache(maxsize=1024)
def _number(data: bytes) -> Any:
    size, value = decode.TABLE_MAPPING[data[:1]](data[1:])
    if size != len(data) - 1:
        raise ValueError("cut off")
    return value


def _text_or_bytes(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data
