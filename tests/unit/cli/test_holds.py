"""Orders on hold from the command line."""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.unit.cli.conftest import Oms
from tests.unit.cli.fake_api import SAGA_ID, THEN, FakeApi, json_answer

ORDER_ID: Final = "019aa7b2-0000-7000-8000-000000000002"
ORDER: Final[dict[str, Any]] = {
    "order_id": ORDER_ID,
    "saga_id": SAGA_ID,
    "customer_id": "c-1",
    "status": "on_hold",
    "currency": "EUR",
    "total": 123456,
    "lines": [],
    "failure": None,
    "created_at": THEN,
}
WAITING: Final[dict[str, Any]] = {
    "order_id": ORDER_ID,
    "saga_id": SAGA_ID,
    "reference": "A-1",
    "label": "on_hold",
    "currency": "EUR",
    "total": 123456,
    "owner": "c-1",
    "asked": "a new customer",
    "since": THEN,
    "deadline_at": "2999-01-01T00:00:00Z",
}


@pytest.mark.parametrize(("verb", "approved"), [("approve", True), ("deny", False)])
def test_an_operator_says_yes_or_no(oms: Oms, api: FakeApi, verb: str, approved: bool) -> None:
    api.on("GET", f"/orders/{ORDER_ID}", json_answer(ORDER))
    api.on("POST", f"/sagas/{SAGA_ID}/signals/hold", json_answer({}, 202))
    ran = oms("orders", verb, ORDER_ID, "--reason", "known by phone", "--yes")

    assert ran.code == 0, ran.err
    assert api.bodies == [{"approved": approved, "reason": "known by phone"}]
    [told] = [request for request in api.requests if request.method == "POST"]
    assert told.url.params["reason"] == "known by phone"


def test_what_waits_is_listed(oms: Oms, api: FakeApi) -> None:
    api.on("GET", "/admin/waiting", json_answer({"items": [WAITING], "more": True}))
    ran = oms("sagas", "waiting")

    assert ran.code == 0, ran.err
    for word in (ORDER_ID, "A-1", "a new customer", "1234.56"):
        assert word in ran.out.replace(",", "")
    assert "others wait" in ran.err


def test_a_word_needs_a_reason(oms: Oms, api: FakeApi) -> None:
    ran = oms("orders", "approve", ORDER_ID)

    assert ran.code == 2
    assert "--reason" in ran.err
    assert api.requests == []
