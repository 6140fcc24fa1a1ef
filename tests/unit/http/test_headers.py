"""Request headers: what they may hold, and what is made of them."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from contracts.problems import ProblemError
from orchestrator.http.headers import (
    entity_tag,
    idempotency_key,
    if_match,
    if_none_match,
    last_event_id,
    preferred_wait_s,
    traceparent,
)


def given(*pairs: tuple[str, str]) -> Headers:
    return Headers(raw=[(name.lower().encode(), value.encode("latin-1")) for name, value in pairs])


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("abc", "abc"),
        ('"abc"', "abc"),
        ("!~", "!~"),
        ('a"b', 'a"b'),
        ("k" * 255, "k" * 255),
        (f'"{"k" * 255}"', "k" * 255),
        ('"\\"', "\\"),
    ],
)
def test_an_idempotency_key_is_bare_or_quoted(value: str, key: str) -> None:
    assert idempotency_key(given(("Idempotency-Key", value))) == key


@pytest.mark.parametrize(
    "value", ["", '"', '""', '"a', "a b", "a\tb", "\x7f", "é", "k" * 256, '"' + "k" * 256 + '"']
)
def test_a_malformed_idempotency_key_is_refused(value: str) -> None:
    with pytest.raises(ProblemError) as refused:
        idempotency_key(given(("Idempotency-Key", value)))
    assert refused.value.status == 400


def test_two_idempotency_keys_are_one_too_many() -> None:
    with pytest.raises(ProblemError):
        idempotency_key(given(("Idempotency-Key", "a"), ("Idempotency-Key", "a")))


@pytest.mark.parametrize(
    ("values", "wait_s"),
    [
        ([], None),
        (["respond-async"], None),
        (["return=minimal, waiting=3"], None),
        (["wait=0"], 0),
        (["wait=7"], 7),
        (["Wait = 7"], 7),
        (['wait="7"'], 7),
        (["wait=7; foo=bar"], 7),
        (["respond-async, wait=7"], 7),
        (["respond-async", "wait=7"], 7),
        (['return="a, wait=5", wait=7'], 7),
        (['x="\\", wait=5"', "wait=7"], 7),
        (["wait=31"], 30),
        (["wait=0000000000000005"], 5),
        ([f"wait={'9' * 5000}"], 30),
    ],
)
def test_a_preferred_wait_is_bounded(values: list[str], wait_s: int | None) -> None:
    assert preferred_wait_s(given(*(("Prefer", value) for value in values))) == wait_s


@pytest.mark.parametrize("value", ["wait", "wait=", "wait=x", "wait=-1", "wait=1.5", "wait=1 2", 'wait="7'])
def test_a_wait_that_is_no_number_is_refused(value: str) -> None:
    with pytest.raises(ProblemError):
        preferred_wait_s(given(("Prefer", value)))


def test_a_version_comes_as_an_entity_tag() -> None:
    assert if_match(given()) is None
    assert if_match(given(("If-Match", entity_tag(12, b"what is shown")))) == 12


def test_a_tag_of_an_earlier_release_has_the_version_alone() -> None:
    assert if_match(given(("If-Match", '"12"'))) == 12


def test_a_tag_changes_with_what_is_shown() -> None:
    assert entity_tag(12, b"a") == entity_tag(12, b"a") != entity_tag(12, b"b")


@pytest.mark.parametrize(
    "value",
    [
        "",
        "12",
        '"x"',
        'W/"1"',
        "*",
        '"1", "2"',
        '"1-"',
        '"1-x"',
        '"1-0123456789ABCDEF"',
        '"-1"',
        '"9999999999"',
    ],
)
def test_another_entity_tag_is_refused(value: str) -> None:
    with pytest.raises(ProblemError):
        if_match(given(("If-Match", value)))


def test_entity_tags_that_the_client_has_may_be_weak_several_or_any() -> None:
    assert if_none_match(given(("If-None-Match", 'W/"1", "2"'), ("If-None-Match", "*"))) == {
        '"1"',
        '"2"',
        "*",
    }


def test_the_last_event_is_a_number() -> None:
    assert last_event_id(given()) == 0
    assert last_event_id(given(("Last-Event-ID", "12"))) == 12


@pytest.mark.parametrize("value", ["", "x", "-1", "1 ", "9999999999"])
def test_another_last_event_is_refused(value: str) -> None:
    with pytest.raises(ProblemError):
        last_event_id(given(("Last-Event-ID", value)))


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", True),
        ("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", False),
        ("nonsense", False),
    ],
)
def test_a_malformed_trace_counts_as_none(value: str, kept: bool) -> None:
    assert traceparent(given(("traceparent", value))) == (value if kept else None)
