"""Problem details: pointers, codes, and never what was sent."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from contracts.problems import MAX_ERRORS, ProblemError, parsed, pointer


class Leaf(BaseModel):
    model_config = ConfigDict(extra="forbid")

    number: int


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    key: UUID | None = None
    leaves: tuple[Leaf, ...] = ()


def problem_of(body: Any) -> dict[str, Any]:
    with pytest.raises(ProblemError) as refused:
        parsed(Body, body if isinstance(body, bytes) else json.dumps(body).encode())
    problem: dict[str, Any] = json.loads(refused.value.body())
    return problem


def test_every_wrong_field_is_named() -> None:
    problem = problem_of({"leaves": [{"number": "x"}, {}], "more": 1})
    assert [(each["pointer"], each["code"]) for each in problem["errors"]] == [
        ("/leaves/0/number", "int_parsing"),
        ("/leaves/1/number", "missing"),
        ("/more", "extra_forbidden"),
    ]


def test_a_message_that_would_repeat_the_input_is_replaced() -> None:
    [error] = problem_of({"key": "zzz"})["errors"]
    assert error["detail"] == "Input should be a UUID"


def test_errors_are_limited() -> None:
    assert len(problem_of({"leaves": [{}] * 500})["errors"]) == MAX_ERRORS


def test_an_odd_name_is_not_repeated() -> None:
    [error] = problem_of({"<script>": 1})["errors"]
    assert (error["pointer"], error["code"]) == ("", "extra_forbidden")


@pytest.mark.parametrize(
    ("parts", "expected"), [([], ""), (["a"], "/a"), (["a/b", "c~d", ""], "/a~1b/c~0d/")]
)
def test_a_pointer_is_escaped(parts: list[str], expected: str) -> None:
    assert pointer(parts) == expected


@given(st.binary(max_size=200))
def test_no_bytes_break_it(body: bytes) -> None:
    assert problem_of_any(body) in (400, 422, None)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=20,
    )
)
def test_no_json_breaks_it(value: Any) -> None:
    assert problem_of_any(json.dumps(value).encode()) in (400, 422, None)


def problem_of_any(body: bytes) -> int | None:
    try:
        parsed(Body, body)
    except ProblemError as error:
        status: int = json.loads(error.body())["status"]
        return status
    return None
