"""Frames written and read by hand agree with what the library reads and writes, whatever is in them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands
from pamqp.body import ContentBody
from pamqp.frame import marshal, unmarshal
from pamqp.header import ContentHeader

from messaging.rabbitmq import frames
from messaging.transport import Message

AT = datetime(2026, 3, 1, 12, 0, 5, tzinfo=UTC)
SMALLEST_FRAME = 4096

short_text = st.text(max_size=60)
integers = st.integers(min_value=-(2**63), max_value=2**63 - 1)
exchange_names = st.text("abc.-_", max_size=60)
header_values = st.one_of(st.text(max_size=100), integers, st.booleans(), st.none())
doubles = st.floats(allow_nan=False, allow_infinity=False)  # the library itself writes half as precise ones


def _tables(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.text(min_size=1, max_size=30), values, max_size=6)


def _message(body: bytes, headers: dict[str, Any], correlation_id: UUID | None, type_: str) -> Message:
    return Message(uuid4(), type_, "oms.events", "a.b", body, correlation_id, "inventory", AT, True, headers)


def _read_by_library(data: bytes) -> list[Any]:
    read = []
    while data:
        size, channel, frame = unmarshal(data)
        assert channel == 7
        read.append(frame)
        data = data[size:]
    return read


@given(st.binary(max_size=9000), _tables(header_values | doubles), st.none() | st.uuids(), short_text)
def test_the_library_reads_our_content(
    body: bytes, headers: dict[str, Any], correlation_id: UUID | None, type_: str
) -> None:
    message = _message(body, headers, correlation_id, type_)

    header, *chunks = _read_by_library(b"".join(frames.content(7, message, SMALLEST_FRAME)))

    assert header.body_size == len(body)
    assert b"".join(chunk.value for chunk in chunks) == body
    properties = header.properties
    assert properties.message_id == str(message.message_id)
    assert properties.correlation_id == (str(correlation_id) if correlation_id else None)
    assert properties.message_type == type_
    assert properties.headers == headers
    assert properties.timestamp == AT
    assert (properties.content_type, properties.delivery_mode) == ("application/json", 2)
    assert properties.app_id == "inventory"


@given(st.sampled_from([4087, 4088, 4089, 8176, 8177]))
def test_no_frame_is_larger_than_agreed(size: int) -> None:
    parts = frames.content(7, _message(bytes(size), {}, None, "T"), SMALLEST_FRAME)

    _, *chunks = _read_by_library(b"".join(parts))

    assert all(len(chunk.value) + frames.OVERHEAD <= SMALLEST_FRAME for chunk in chunks)


def test_the_library_reads_our_publish_method() -> None:
    [method] = _read_by_library(frames.publish_method(7, "oms.commands", "inventory", mandatory=True))

    assert (method.exchange, method.routing_key, method.mandatory) == ("oms.commands", "inventory", True)


@given(st.lists(st.tuples(st.integers(min_value=1, max_value=2**63 - 1), st.booleans()), max_size=5))
def test_the_library_reads_our_acknowledgements(tags: list[tuple[int, bool]]) -> None:
    read = _read_by_library(frames.acknowledgements(7, tags))

    assert [(ack.delivery_tag, ack.multiple) for ack in read] == tags


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "content_type": short_text,
            "content_encoding": short_text,
            "headers": _tables(header_values),
            "delivery_mode": st.sampled_from([1, 2]),
            "priority": st.integers(min_value=0, max_value=255),
            "correlation_id": short_text,
            "reply_to": short_text,
            "expiration": short_text,
            "message_id": short_text,
            "timestamp": st.just(AT),
            "message_type": short_text,
            "user_id": short_text,
            "app_id": short_text,
        },
    )
)
def test_we_read_whatever_properties_the_library_writes(properties: dict[str, Any]) -> None:
    header = ContentHeader(body_size=1, properties=commands.Basic.Properties(**properties))
    payload = marshal(header, 7)[7:-1]

    read = frames.read_properties(payload[12:])

    assert read.message_id == (properties.get("message_id") or None)
    assert read.type == (properties.get("message_type") or None)
    assert read.correlation_id == (properties.get("correlation_id") or None)
    assert read.headers == properties.get("headers", {})


@given(st.integers(min_value=1, max_value=2**63 - 1), st.booleans(), exchange_names, short_text)
def test_we_read_deliveries_as_the_library_writes_them(
    tag: int, redelivered: bool, exchange: str, routing_key: str
) -> None:
    frame = commands.Basic.Deliver("consumer", tag, redelivered, exchange, routing_key)

    read = frames.read_deliver(marshal(frame, 7)[11:-1])

    assert read == (tag, redelivered, exchange, routing_key)


@given(st.integers(min_value=1, max_value=2**63 - 1), st.booleans())
def test_we_read_confirms_as_the_library_writes_them(tag: int, multiple: bool) -> None:
    assert frames.read_confirm(marshal(commands.Basic.Ack(tag, multiple), 7)[11:-1]) == (tag, multiple)
    assert frames.read_confirm(marshal(commands.Basic.Nack(tag, multiple), 7)[11:-1]) == (tag, multiple)


def test_text_that_is_no_text_is_still_delivered() -> None:
    header = ContentHeader(properties=commands.Basic.Properties(message_id="??", message_type="??"))
    payload = marshal(header, 7)[19:-1].replace(b"??", b"\xff\xfe")

    assert frames.read_properties(payload).message_id == "\ufffd\ufffd"


@pytest.mark.parametrize(
    "table",
    [
        b"\x01kZ",  # a type that does not exist
        b"\x7fk",  # a name longer than the table
        b"\x01kS\x7f\xff\xff\xff",  # a text longer than the table
        b"\x01kT" + b"\xff" * 8,  # a time after the end of time
        b"\x02\xff\xfeV",  # a name that is no text
        b"\x01kD\xff\x00\x00\x00\x01",
        b"\x01kF\xff\xff\xff\xff" * 400,
    ],
)
def test_a_header_table_that_nobody_can_read_is_empty_or_partly_read_but_no_error(table: bytes) -> None:
    flags = b"\x20\x80"  # headers and message id
    payload = flags + len(table).to_bytes(4, "big") + table + b"\x02id"

    assert frames.read_properties(payload).message_id == "id"


def test_headers_that_do_not_fit_into_a_frame_are_an_error_of_the_sender() -> None:
    small, large = ({f"h{number}": "x" * 4000 for number in range(many)} for many in (32, 33))
    assert frames.content(1, _message(b"", small, None, "X"), 131_072)
    with pytest.raises(ValueError, match="a frame holds 131064"):
        frames.content(1, _message(b"", large, None, "X"), 131_072)


def test_a_name_too_long_for_amqp_is_an_error_of_the_sender() -> None:
    with pytest.raises(ValueError, match="255"):
        frames.content(7, _message(b"", {}, None, "x" * 256), SMALLEST_FRAME)


def test_a_header_that_amqp_cannot_hold_is_an_error_of_the_sender() -> None:
    with pytest.raises(TypeError):
        frames.content(7, _message(b"", {"id": uuid4()}, None, "T"), SMALLEST_FRAME)


def test_an_empty_body_has_no_body_frame() -> None:
    [header] = _read_by_library(b"".join(frames.content(7, _message(b"", {}, None, "T"), SMALLEST_FRAME)))

    assert header.body_size == 0
    assert marshal(ContentBody(b""), 7)  # the library would have written one
