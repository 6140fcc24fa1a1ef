"""Every command shows what the API says: for people as text, for programs as JSON."""

from __future__ import annotations

import json
from importlib.metadata import version

import httpx
import pytest

from tests.unit.cli.conftest import Oms
from tests.unit.cli.fake_api import (
    DEAD_ID,
    DEAD_LETTER,
    ORDER,
    ORDER_ID,
    SAGA,
    SAGA_ID,
    SAGA_SUMMARY,
    FakeApi,
    json_answer,
    page,
    problem,
)

SHOWN = [
    (("orders", "show", ORDER_ID), ["completed", "25.98 EUR", "SKU-1", "12.99 EUR"]),
    (("orders", "list"), [ORDER_ID, "c-42", "25.98 EUR"]),
    (("orders", "cancel", ORDER_ID), ["cancelled"]),
    (("sagas", "list"), [SAGA_ID, "compensating", "compensation_stuck", "charge"]),
    (("sagas", "show", SAGA_ID), ["charged 25.98 EUR is still held", "saga started", "PaymentDeclinedEvent"]),
    (("sagas", "show", SAGA_ID), ["+250 ms", "card_declined", "ReserveInventory", "reference ch_17"]),
    (("sagas", "explain", SAGA_ID), ["awaits step", "charge", "awaits since", "ago"]),
    (("dead-letters", "list"), [DEAD_ID, "open", "payment.commands", "ProviderUnavailable"]),
    (("dead-letters", "groups"), ["payment.commands", "charge"]),
    (("dead-letters", "show", DEAD_ID), ["ProviderUnavailable", "attempt", '"payment_method": "***"']),
    (("stock", "list"), ["SKU-1", "10", "8"]),
    (("stock", "set", "SKU-1", "7"), ["SKU-1", "7", "5"]),
]


@pytest.mark.parametrize(("arguments", "words"), SHOWN, ids=lambda each: " ".join(each[:2]))
def test_a_person_reads_it(oms: Oms, arguments: tuple[str, ...], words: list[str]) -> None:
    ran = oms(*arguments)
    assert ran.code == 0, ran.err
    assert [word for word in words if word not in ran.out] == []
    assert "\x1b" not in ran.out


DOCUMENTS = [
    (("orders", "show", ORDER_ID), ORDER),
    (("orders", "list"), page(ORDER)),
    (("orders", "cancel", ORDER_ID), {**ORDER, "status": "cancelled"}),
    (("sagas", "list"), page(SAGA_SUMMARY)),
    (("sagas", "show", SAGA_ID), SAGA),
    (("sagas", "retry", SAGA_ID, "--reason", "why"), SAGA),
    (("dead-letters", "list"), page(DEAD_LETTER)),
    (("dead-letters", "show", DEAD_ID), DEAD_LETTER),
    (("dead-letters", "discard", DEAD_ID, "--reason", "why"), {**DEAD_LETTER, "status": "discarded"}),
]


@pytest.mark.parametrize(("arguments", "document"), DOCUMENTS, ids=lambda each: " ".join(list(each)[:2]))
def test_a_program_reads_it(oms: Oms, arguments: tuple[str, ...], document: object) -> None:
    ran = oms(*arguments, "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out) == document


def test_a_list_is_read_over_as_many_pages_as_it_takes(oms: Oms, api: FakeApi) -> None:
    pages = {None: page(*[ORDER] * 200, cursor="two"), "two": page(*[ORDER] * 30, cursor="three")}
    api.on("GET", "/orders", lambda r: httpx.Response(200, json=pages[r.url.params.get("cursor")]))
    ran = oms("orders", "list", "--limit", "230", "--json")
    assert [r.url.params["limit"] for r in api.requests] == ["200", "30"]
    assert len(json.loads(ran.out)["items"]) == 230
    assert json.loads(ran.out)["next_cursor"] == "three"


def test_what_follows_a_list_is_said(oms: Oms, api: FakeApi) -> None:
    api.on("GET", "/orders", json_answer(page(ORDER, cursor="next")))
    assert "--cursor next" in oms("orders", "list", "--limit", "1").err


def test_filters_that_are_repeated_are_sent_repeated(oms: Oms, api: FakeApi) -> None:
    oms("sagas", "list", "--status", "running", "--status", "completed", "--incident", "any")
    assert api.requests[0].url.query == b"status=running&status=completed&incident=any&limit=50"


def test_an_action_is_bound_to_the_version_that_was_looked_at(oms: Oms, api: FakeApi) -> None:
    ran = oms("sagas", "retry", SAGA_ID, "--reason", "gateway is back")
    assert ran.code == 0
    assert "retry saga" in ran.err
    assert api.bodies == [{"reason": "gateway is back", "expected_version": 7}]


def test_an_action_may_be_bound_to_an_older_look(oms: Oms, api: FakeApi) -> None:
    oms("sagas", "cancel", SAGA_ID, "--reason", "why", "--expected-version", "3")
    assert api.bodies == [{"reason": "why", "expected_version": 3}]


def test_a_verdict_carries_what_was_found_out(oms: Oms, api: FakeApi) -> None:
    given = ("--step", "ship", "--verdict", "took_effect", "--reference", "T-1", "--amount", "5")
    assert oms("sagas", "resolve", SAGA_ID, *given, "--reason", "why").code == 0
    assert api.bodies == [
        {
            "reason": "why",
            "step": "ship",
            "verdict": "took_effect",
            "reference": "T-1",
            "amount": 5,
            "expected_version": 7,
        }
    ]


def test_a_saga_is_found_by_its_order(oms: Oms, api: FakeApi) -> None:
    ran = oms("sagas", "show", ORDER_ID)
    assert ran.code == 0
    assert api.requests[1].url.params["order_id"] == ORDER_ID
    assert SAGA_ID in ran.out


def test_a_saga_that_nobody_knows_is_not_found(oms: Oms, api: FakeApi) -> None:
    api.on("GET", "/admin/sagas", json_answer(page()))
    ran = oms("sagas", "show", DEAD_ID)
    assert (ran.code, ran.err) == (1, "oms: not found (404)\n")


def test_a_dry_run_needs_no_reason_and_changes_nothing(oms: Oms, api: FakeApi) -> None:
    ran = oms("dead-letters", "replay", DEAD_ID, "--dry-run")
    assert ran.code == 0
    assert "would do: ChargePayment is built anew" in ran.out
    assert api.bodies == [{"reason": "dry run", "dry_run": True, "expected_version": 4}]


def test_a_replay_needs_a_reason(oms: Oms, api: FakeApi) -> None:
    ran = oms("dead-letters", "replay", DEAD_ID)
    assert ran.code == 2
    assert "--reason" in ran.err
    assert api.requests == []


def test_a_dry_discard_asks_for_nothing_but_a_look(oms: Oms, api: FakeApi) -> None:
    assert oms("dead-letters", "discard", DEAD_ID, "--reason", "why", "--dry-run").code == 0
    assert [request.method for request in api.requests] == ["GET"]


def test_stock_is_set_only_from_what_was_expected(oms: Oms, api: FakeApi) -> None:
    oms("stock", "set", "SKU-1", "7", "--expected-on-hand", "9")
    assert api.bodies == [{"on_hand": 7, "expected_on_hand": 9}]


def test_a_strange_sku_stays_one_part_of_the_path(oms: Oms, api: FakeApi) -> None:
    api.on("PUT", "/inventory/a/b", problem(404, "not found"))
    oms("stock", "set", "a/b", "7")
    assert api.requests[0].url.raw_path == b"/inventory/a%2Fb"


def test_an_order_is_followed_to_its_end(oms: Oms, api: FakeApi) -> None:
    def stream(request: httpx.Request) -> httpx.Response:
        events = [
            ("1", "order.pending", {**ORDER, "status": "pending", "ended_at": None}),
            ("2", "order.rejected", {**ORDER, "status": "rejected", "failure": {"code": "out_of_stock"}}),
        ]
        text = ": still here\n\n" + "".join(
            f"id: {number}\nevent: {kind}\ndata: {json.dumps(data)}\n\n" for number, kind, data in events
        )
        return httpx.Response(200, text=text, headers={"Content-Type": "text/event-stream"})

    api.on("GET", f"/orders/{ORDER_ID}/events", stream)
    ran = oms("orders", "watch", ORDER_ID)
    assert ran.code == 0
    assert [line.split()[1] for line in ran.out.splitlines()] == ["pending", "rejected"]
    assert "out_of_stock" in ran.out
    lines = oms("orders", "watch", ORDER_ID, "--json").out.splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["order.pending", "order.rejected"]


def test_a_saga_is_followed_to_its_end(oms: Oms, api: FakeApi) -> None:
    api.on("GET", f"/admin/sagas/{SAGA_ID}", json_answer({**SAGA, "status": "compensated"}))
    ran = oms("sagas", "watch", SAGA_ID)
    assert len(ran.out.splitlines()) == 2
    seen = [json.loads(line)["seq"] for line in oms("sagas", "watch", SAGA_ID, "--json").out.splitlines()]
    assert seen == [1, 2]


def test_a_body_is_shown_in_full_for_a_reason(oms: Oms, api: FakeApi) -> None:
    whole = {"body": {"payment_method": "pm_1"}, "body_form": "json"}
    api.on("GET", f"/admin/dead-letters/{DEAD_ID}/body", json_answer(whole))
    ran = oms("dead-letters", "show", DEAD_ID, "--full", "--reason", "which card")
    assert '"payment_method": "pm_1"' in ran.out
    assert api.requests[-1].url.params["reason"] == "which card"
    without = oms("dead-letters", "show", DEAD_ID, "--full")
    assert (without.code, without.out) == (2, "")
    assert "say why with --reason" in without.err


def test_the_messages_of_a_saga_are_shown_and_one_in_full_for_a_reason(oms: Oms, api: FakeApi) -> None:
    path = f"/admin/sagas/{SAGA_ID}/messages"
    message = {"seq": 3, "kind": "command", "type": "ShipOrder", "message_id": DEAD_ID}
    api.on("GET", path, json_answer(page({**message, "body": {"shipping_address": "***"}})))
    whole = {"type": "ShipOrder", "message_id": DEAD_ID, "body": {"shipping_address": {"city": "Town"}}}
    api.on("GET", f"{path}/{DEAD_ID}/body", json_answer(whole))
    ran = oms("sagas", "messages", SAGA_ID)
    assert [words for words in ("ShipOrder", DEAD_ID, '"***"') if words not in ran.out] == []
    ran = oms("sagas", "messages", SAGA_ID, "--full", DEAD_ID, "--reason", "where to")
    assert '"city": "Town"' in ran.out
    assert api.requests[-1].url.params["reason"] == "where to"
    assert oms("sagas", "messages", SAGA_ID, "--full", DEAD_ID).code == 2


def test_a_long_history_says_what_is_missing_and_is_read_to_its_oldest(oms: Oms, api: FakeApi) -> None:
    entry = SAGA["history"][1]
    latest = [{**entry, "seq": seq} for seq in (4, 5)]
    api.on("GET", f"/admin/sagas/{SAGA_ID}", json_answer({**SAGA, "history": latest, "history_omitted": 3}))
    whole = [{**entry, "seq": seq} for seq in (5, 4, 3, 2, 1)]

    def history(request: httpx.Request) -> httpx.Response:
        limit = int(request.url.params["limit"])
        return httpx.Response(200, json=page(*whole[:limit], cursor="x" if limit < len(whole) else None))

    api.on("GET", f"/admin/sagas/{SAGA_ID}/history", history)
    cut = oms("sagas", "show", SAGA_ID, "--history", "2")
    assert "3 older entries of its history are not shown: --history 5 shows all" in cut.err
    shown = oms("sagas", "show", SAGA_ID, "--history", "5", "--json")
    document = json.loads(shown.out)
    assert [each["seq"] for each in document["history"]] == [1, 2, 3, 4, 5]
    assert (document["history_omitted"], shown.err) == (0, "")


def test_it_says_which_version_it_is(oms: Oms) -> None:
    assert oms("--version").out == f"oms {version('oms-saga-orchestrator')}\n"
