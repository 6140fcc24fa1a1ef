"""Orders from files: every shape, safe to repeat, and told one by one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from oms.cli.order_files import Numbered, UnreadableOrders, source_of
from tests.unit.cli.conftest import Oms
from tests.unit.cli.fake_api import ORDER, Answer, FakeApi, json_answer, problem, unreachable

DOCUMENT = {"customer_id": "c-42", "currency": "EUR"}


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    really_sleep = asyncio.sleep

    async def at_once(_seconds: float) -> None:
        await really_sleep(0)

    monkeypatch.setattr(asyncio, "sleep", at_once)


def keys(api: FakeApi) -> list[str]:
    return [request.headers["Idempotency-Key"] for request in api.requests if request.method == "POST"]


def in_turn(answers: Iterable[Answer]) -> Answer:
    """One answer after the other."""
    following = iter(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        return next(following)(request)

    return answer


def lines(*documents: Any) -> str:
    return "".join(f"{json.dumps(document)}\n" for document in documents)


@pytest.mark.parametrize(
    ("text", "expected", "total"),
    [
        (json.dumps(DOCUMENT), [1], 1),
        (json.dumps(DOCUMENT, indent=2), [1], 1),
        ("\n\n" + json.dumps(DOCUMENT) + "\n\n", [3], 1),
        (json.dumps([DOCUMENT, DOCUMENT]), [1, 2], 2),
        (json.dumps([DOCUMENT, DOCUMENT], indent=1), [1, 2], 2),
        (lines(DOCUMENT, DOCUMENT, DOCUMENT), [1, 2, 3], None),
        (lines(DOCUMENT) + "\n" + lines(DOCUMENT), [1, 3], None),
    ],
)
def test_one_order_a_list_and_one_a_line_are_read(text: str, expected: list[int], total: int | None) -> None:
    source = source_of(BytesIO(text.encode()), "-", None)
    assert source.total == total
    assert list(source.orders) == [Numbered(at, DOCUMENT) for at in expected]


@pytest.mark.parametrize("text", ["", "  \n \n", "[]", "nonsense", '{"a": 1'])
def test_what_holds_no_order_is_said(text: str) -> None:
    with pytest.raises(UnreadableOrders):
        source_of(BytesIO(text.encode()), "-", None)


def test_lines_are_read_as_they_are_wanted() -> None:
    """A file of a million orders is never in memory."""

    numbers = count()

    class Endless(BytesIO):
        def readline(self, _size: int | None = -1, /) -> bytes:
            return lines({"n": next(numbers)}).encode()

    source = source_of(Endless(), "-", None)
    read = [next(source.orders) for _ in range(1000)]
    assert read == [Numbered(number + 1, {"n": number}) for number in range(1000)]


def test_one_order_is_shown_in_full(oms: Oms, tmp_path: Path) -> None:
    (tmp_path / "order.json").write_text(json.dumps(DOCUMENT))
    ran = oms("orders", "submit", "order.json")
    assert ran.code == 0
    assert ORDER["order_id"] in ran.out


def test_one_order_is_one_document_for_programs(oms: Oms) -> None:
    assert json.loads(oms("orders", "submit", "-", "--json", stdin=json.dumps(DOCUMENT)).out) == ORDER


def test_many_orders_are_counted(oms: Oms, api: FakeApi, tmp_path: Path) -> None:
    (tmp_path / "orders.ndjson").write_text(lines(*[{"n": number} for number in range(40)]))
    ran = oms("orders", "submit", "orders.ndjson", "--concurrency", "7")
    assert (ran.code, ran.out) == (0, "40 taken, 0 failed\n")
    assert sorted(body["n"] for body in api.bodies) == list(range(40))


def test_submitting_a_file_again_sends_the_same_keys(oms: Oms, api: FakeApi) -> None:
    text = lines(DOCUMENT, {"n": 2}, DOCUMENT)
    oms("orders", "submit", "-", stdin=text)
    first = sorted(keys(api))
    assert len(set(first)) == 3, "the same order twice in a file is two orders"
    api.requests.clear()
    oms("orders", "submit", "-", stdin=text)
    assert sorted(keys(api)) == first


def test_new_sends_keys_that_were_never_used(oms: Oms, api: FakeApi) -> None:
    for _ in range(2):
        oms("orders", "submit", "-", "--new", stdin=json.dumps(DOCUMENT))
    assert len(set(keys(api))) == 2


def test_a_given_key_is_used_as_it_is_or_with_the_line(oms: Oms, api: FakeApi) -> None:
    oms("orders", "submit", "-", "--idempotency-key", "k", stdin=json.dumps(DOCUMENT))
    oms("orders", "submit", "-", "--idempotency-key", "k", stdin=lines({"n": 1}, {"n": 2}))
    assert keys(api) == ["k", "k-1", "k-2"]


def test_an_order_that_was_taken_before_is_said(oms: Oms, api: FakeApi) -> None:
    api.on("POST", "/orders", json_answer(ORDER, 200, **{"Idempotency-Replayed": "true"}))
    assert "--new" in oms("orders", "submit", "-", stdin=json.dumps(DOCUMENT)).err
    assert oms("orders", "submit", "-", stdin=lines({}, {})).out == "2 taken (2 of them before), 0 failed\n"


def test_a_refused_order_does_not_stop_the_others(oms: Oms, api: FakeApi) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        bad = json.loads(request.content) == {"n": 2}
        return problem(422, "wrong")(request) if bad else json_answer(ORDER, 202)(request)

    api.on("POST", "/orders", answer)
    ran = oms("orders", "submit", "-", stdin=lines({"n": 1}, {"n": 2}, {"n": 3}))
    assert (ran.code, ran.out, ran.err) == (1, "2 taken, 1 failed\n", "line 2: wrong (422)\n")
    told = [
        json.loads(line)
        for line in oms(
            "orders", "submit", "-", "--json", stdin=lines({"n": 1}, {"n": 2}, {"n": 3})
        ).out.splitlines()
    ]
    assert sorted((each["line"], "error" in each) for each in told) == [(1, False), (2, True), (3, False)]


def test_a_service_that_asks_to_come_back_is_asked_again_with_the_same_key(oms: Oms, api: FakeApi) -> None:
    answers = [problem(503, "busy"), problem(429, "slower"), json_answer(ORDER, 202)]
    api.on("POST", "/orders", in_turn(answers))
    assert oms("orders", "submit", "-", stdin=json.dumps(DOCUMENT)).code == 0
    assert len(keys(api)) == 3
    assert len(set(keys(api))) == 1


def test_a_connection_lost_among_many_is_tried_again(oms: Oms, api: FakeApi) -> None:
    answers = [json_answer(ORDER, 202), unreachable, json_answer(ORDER, 202)]
    api.on("POST", "/orders", in_turn(answers))
    assert oms("orders", "submit", "-", stdin=lines({"n": 1}, {"n": 2})).code == 0


def test_a_service_that_is_not_there_is_told_once(oms: Oms, api: FakeApi) -> None:
    api.on("POST", "/orders", unreachable)
    ran = oms("orders", "submit", "-", stdin=lines(*[{"n": n} for n in range(50)]))
    assert ran.code == 1
    assert ran.err.count("\n") == 1
    assert len(api.requests) == 1


def test_a_wrong_token_is_told_once(oms: Oms, api: FakeApi) -> None:
    api.on("POST", "/orders", problem(401, "no"))
    ran = oms("orders", "submit", "-", stdin=lines(*[{"n": n} for n in range(50)]))
    assert (ran.code, ran.out, len(api.requests)) == (1, "", 1)


def test_a_line_that_is_no_json_is_named(oms: Oms) -> None:
    ran = oms("orders", "submit", "-", stdin=lines({"n": 1}) + "oops\n")
    assert ran.code == 1
    assert "line 2: not JSON" in ran.err


def test_orders_are_waited_for(oms: Oms, api: FakeApi) -> None:
    pending = {**ORDER, "status": "pending", "ended_at": None}
    looks = [json_answer(each) for each in (pending, pending, pending, ORDER, ORDER)]
    api.on("POST", "/orders", json_answer(pending, 202))
    api.on("GET", f"/orders/{ORDER['order_id']}", in_turn(looks))
    ran = oms("orders", "submit", "-", "--wait", stdin=lines({"n": 1}, {"n": 2}))
    assert (ran.code, ran.out) == (0, "2 taken, 0 failed, 2 completed\n")


def test_an_order_that_does_not_end_in_time_is_a_failure(oms: Oms, api: FakeApi) -> None:
    pending = {**ORDER, "status": "pending", "ended_at": None}
    api.on("POST", "/orders", json_answer(pending, 202))
    api.on("GET", f"/orders/{ORDER['order_id']}", json_answer(pending))
    ran = oms("orders", "submit", "-", "--wait", "--timeout", "0.5", stdin=json.dumps(DOCUMENT))
    assert ran.code == 1
    assert "has not ended in time" in ran.err


def test_orders_that_were_not_even_asked_for_in_time_are_failures(oms: Oms, api: FakeApi) -> None:
    pending = {**ORDER, "status": "pending", "ended_at": None}
    api.on("POST", "/orders", json_answer(pending, 202))
    api.on("GET", f"/orders/{ORDER['order_id']}", json_answer(pending))
    orders = lines(*[{"n": n} for n in range(5)])
    ran = oms("orders", "submit", "-", "--wait", "--timeout", "0", stdin=orders)
    assert (ran.code, ran.err.count("has not ended in time")) == (1, 5)
