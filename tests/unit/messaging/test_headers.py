"""Which headers go on with a message: whatever comes, AMQP, JSON and PostgreSQL hold what leaves (S16)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NoReturn
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from messaging.headers import MAX_CARRIED_BYTES, MAX_HEADERS, carried, short_text
from messaging.rabbitmq import frames
from messaging.transport import Message

SMALLEST_FRAME = 131_072
"""What RabbitMQ offers unless it is told otherwise."""

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.decimals()
    | st.datetimes(timezones=st.just(UTC))
    | st.binary()
    | st.text(st.characters())
    | st.sampled_from(["\x00", "\ud800", "\N{SNOWMAN}" * 5000, 2**63, -(2**63), 5e-324]),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(), each, max_size=3),
)
NAMES = st.text(st.characters(), max_size=300) | st.sampled_from(
    ["attempt", "installation", "x-death", "\ufffd" * 128, "\ud800", "\x00", ""]
)


NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def a_message(headers: Mapping[str, Any]) -> Message:
    return Message(UUID(int=1), "X", "", "q", b"{}", None, "test", NOON, mandatory=True, headers=headers)


def stored(headers: Mapping[str, Any]) -> Any:
    """What is read of them again from an outbox."""
    return json.loads(to_json(headers).decode(), parse_constant=not_json)


def not_json(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} is no JSON")


@given(st.dictionaries(NAMES, VALUES, max_size=80))
def test_s16_whatever_a_table_holds_what_goes_on_can_be_stored_and_sent(headers: dict[str, Any]) -> None:
    found = carried(headers, on_top={"error-type": "undecodable", "attempt": 1})

    assert stored(found) == found
    assert "\\u0000" not in to_json(found).decode()
    written = b"".join(frames.content(1, a_message(found), SMALLEST_FRAME))
    start = written.index(b"\x10application/json") - 2
    assert frames.read_properties(written[start:]).headers == found
    assert len(found) <= MAX_HEADERS
    assert (found["error-type"], found["attempt"]) == ("undecodable", 1)


@pytest.mark.parametrize(
    "odd", [math.nan, math.inf, -math.inf, Decimal("1.5"), b"\xff", None, [1], {"a": 1}, 2**63, NOON]
)
def test_what_is_not_plain_stays_behind_alone(odd: object) -> None:
    assert carried({"odd": odd, "plain": 1.5}) == {"plain": 1.5}


@pytest.mark.parametrize(
    ("text", "left"),
    [("a\x00b", "ab"), ("\ud800", "?"), ("y" * 9000, "y" * 4000), ("\N{SNOWMAN}", "\N{SNOWMAN}")],
)
def test_text_is_carried_as_far_as_it_can_be_stored(text: str, left: str) -> None:
    assert carried({"text": text}) == {"text": left}


@pytest.mark.parametrize("name", ["x-death", "\x00", "\ud800", "\ufffd" * 128, "n" * 256])
def test_a_name_that_cannot_go_on_is_left_out(name: str) -> None:
    assert carried({name: 1, "n" * 255: 2}) == {"n" * 255: 2}


def test_ours_are_on_top_of_however_many() -> None:
    found = carried({f"h{number}": number for number in range(1000)}, on_top={"attempt": 2, "h1": "ours"})

    assert len(found) == MAX_HEADERS
    assert (found["attempt"], found["h1"]) == (2, "ours")


def test_what_means_something_here_goes_before_the_rest_and_the_last_are_left_out_first() -> None:
    found = carried(
        {f"h{number}": number for number in range(1000)} | {"replay-of": "x", "installation": "y"}
    )

    assert (found["replay-of"], found["installation"], found["h61"]) == ("x", "y", 61)
    assert "h62" not in found


def test_all_that_is_carried_is_bounded_in_bytes() -> None:
    found = carried({f"h{number}": "\N{SNOWMAN}" * 1000 for number in range(60)}, on_top={"attempt": 1})

    assert list(found) == ["attempt", "h0", "h1", "h2", "h3", "h4"]
    assert len(to_json(found)) < MAX_CARRIED_BYTES


def test_a_short_text_ends_between_two_characters() -> None:
    assert short_text("\N{SNOWMAN}" * 100) == "\N{SNOWMAN}" * 85
