"""Whatever stands in an order, an error or a header: a terminal shows it, and is not steered by it."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.unit.cli.conftest import Oms
from tests.unit.cli.fake_api import DEAD_ID, ORDER_ID, SAGA_ID, FakeApi, json_answer, problem

HOSTILE = "\x7f\U000e0041\x1b[2J\x9b31m\u202eevil\u2066\x07\r[bold]<script>\u2028end"
STEERING = ("\x7f", "\U000e0041", "\x1b", "\x9b", "\u202e", "\u2066", "\x07", "\r", "\u2028")
KEPT = ("_id", "_at", "at", "since", "sku", "status", "currency")
"""Ends of names whose values have a form that the API keeps."""

COMMANDS = (
    ("orders", "show", ORDER_ID),
    ("orders", "list"),
    ("orders", "cancel", ORDER_ID),
    ("sagas", "list"),
    ("sagas", "show", SAGA_ID),
    ("sagas", "explain", SAGA_ID),
    ("sagas", "retry", SAGA_ID, "--reason", "x"),
    ("dead-letters", "list"),
    ("dead-letters", "groups"),
    ("dead-letters", "show", DEAD_ID),
    ("dead-letters", "replay", DEAD_ID, "--dry-run"),
    ("dead-letters", "discard", DEAD_ID, "--reason", "x"),
    ("stock", "list"),
)


def hostile(document: Any, name: str = "") -> Any:
    """The document with something hostile in every text that the API does not make itself."""
    if isinstance(document, dict):
        named = {key: hostile(value, key) for key, value in document.items()}
        return {f"{key}{HOSTILE}" if name == "headers" else key: value for key, value in named.items()}
    if isinstance(document, list):
        return [hostile(each, name) for each in document]
    return HOSTILE if isinstance(document, str) and not name.endswith(KEPT) else document


@pytest.fixture
def hostile_api(api: FakeApi) -> FakeApi:
    for (method, path), answer in list(api.routes.items()):
        request = httpx.Request(method, f"http://oms{path}")
        api.on(method, path, json_answer(hostile(answer(request).json())))
    return api


@pytest.mark.parametrize("command", COMMANDS, ids=lambda each: " ".join(each[:2]))
@pytest.mark.parametrize("form", [(), ("--json",)], ids=["people", "programs"])
def test_nothing_steers_the_terminal(
    oms: Oms, hostile_api: FakeApi, command: tuple[str, ...], form: tuple[str, ...]
) -> None:
    ran = oms(*command, *form)
    assert ran.code == 0, ran.err
    assert [each for each in STEERING if each in ran.out + ran.err] == []
    if form and ran.out:
        assert hostile_api.requests
        json.loads(ran.out)


def test_programs_get_the_text_as_it_is(oms: Oms, hostile_api: FakeApi) -> None:
    shown = json.loads(oms("dead-letters", "show", DEAD_ID, "--json").out)
    assert shown["error_message"] == HOSTILE


def test_markup_of_the_terminal_library_is_text_as_well(oms: Oms, hostile_api: FakeApi) -> None:
    assert "[bold]<script>" in oms("dead-letters", "show", DEAD_ID).out


def test_an_error_does_not_steer_it_either(oms: Oms, api: FakeApi) -> None:
    api.on("GET", f"/orders/{ORDER_ID}", problem(409, HOSTILE))
    ran = oms("orders", "show", ORDER_ID)
    assert ran.code == 1
    assert [each for each in STEERING if each in ran.err] == []
