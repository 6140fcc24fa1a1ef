"""What a request says of its body's kind: everything that HTTP takes for the same is the same."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from contracts.media_types import FORM, JSON, require
from contracts.problems import ProblemError


def given(*pairs: tuple[str, str]) -> Headers:
    return Headers(raw=[(name.lower().encode(), value.encode("latin-1")) for name, value in pairs])


@pytest.mark.parametrize(
    "value",
    [
        "application/json",
        "application/json;",
        "application/json ; ",
        "Application/JSON",
        "application/json;;charset=utf-8",
        "application/json; charset=utf-8",
        "application/json;charset=UTF8",
        'application/json; charset="utf-8"',
        'application/json; Charset="UTF-8";',
        "application/json; charset=us-ascii",
        "application/json; profile=x; charset=utf8",
        'application/json; profile="a;b, charset=latin1"',
    ],
)
def test_json_is_json_however_it_is_written(value: str) -> None:
    require(JSON, given(("Content-Type", value)))


@pytest.mark.parametrize(
    "value",
    [
        "",
        ";",
        "json",
        "text/json",
        "application/jsonp",
        "application/problem+json",
        "application/json, text/plain",
        "application/json; charset=latin1",
        'application/json; charset="utf-16"',
        "application/json; charset=",
        "application/json; charset=\xe9",
        "text/plain; a=application/json",
    ],
)
def test_anything_else_is_not(value: str) -> None:
    with pytest.raises(ProblemError) as refused:
        require(JSON, given(("Content-Type", value)))
    assert refused.value.status == 415


def test_a_kind_is_said_once() -> None:
    with pytest.raises(ProblemError):
        require(JSON, given(("Content-Type", "application/json"), ("Content-Type", "text/plain")))
    with pytest.raises(ProblemError):
        require(JSON, given())


@pytest.mark.parametrize("coding", ["identity", "Identity", "identity, identity", ""])
def test_a_body_that_is_as_it_is_has_no_coding(coding: str) -> None:
    require(FORM, given(("Content-Type", FORM), ("Content-Encoding", coding)))


@pytest.mark.parametrize("coding", ["gzip", "identity, br", "x-identity"])
def test_another_coding_is_refused_and_the_possible_one_named(coding: str) -> None:
    with pytest.raises(ProblemError) as refused:
        require(JSON, given(("Content-Type", JSON), ("Content-Encoding", coding)))
    assert (refused.value.status, dict(refused.value.headers)) == (415, {"Accept-Encoding": "identity"})
