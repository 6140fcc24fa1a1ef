"""What operators see and do over HTTP: sagas, dead letters, the audit log, health, metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from contracts import events
from messaging.errors import PermanentFailure
from messaging.retries import RetryPolicy, after_failure
from orchestrator.storage import DeadLetterStatus
from tests.integration.test_failing_definitions import LINES, STANDS, picky
from tests.support.api import ADMIN, Api, an_api
from tests.support.orders import NOBODYS, NOON

pytestmark = pytest.mark.postgresql


@pytest.fixture
async def api(migrated_database_url: str) -> AsyncIterator[Api]:
    async with an_api(migrated_database_url) as made:
        made.http.headers.update(ADMIN)
        yield made


async def a_dead_charge(api: Api) -> tuple[dict[str, Any], dict[str, Any]]:
    """An order whose charge failed for good, and its dead letter as the list shows it."""
    order = await api.order()
    await api.reserved()
    delivery, _ = await api.command("payment")
    error = PermanentFailure("gateway_unknown_order", "the gateway does not know it")
    message_id = api.deployment.new_id()
    api.publish(after_failure(delivery, error, RetryPolicy(), message_id, NOON, "test"))
    await api.until(UUID(order["saga_id"]), lambda saga: bool(saga.incidents))
    [dead] = (await api.http.get("/admin/dead-letters")).json()["items"]
    return order, dead


# -- access -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "authorization", [None, "Bearer wrong", "Bearer", "Basic admin-token", "admin-token"]
)
@pytest.mark.parametrize(
    "path", ["/admin/sagas", "/admin/sagas/x", "/admin/sagas?limit=0", "/admin/audit-log"]
)
async def test_without_the_token_nothing_is_shown(api: Api, authorization: str | None, path: str) -> None:
    del api.http.headers["Authorization"]
    headers = {} if authorization is None else {"Authorization": authorization}
    response = await api.http.get(path, headers=headers)
    assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert response.json()["code"] == "unauthorized"


# -- sagas --------------------------------------------------------------------------------------------------


async def test_a_saga_is_shown_with_steps_and_history(api: Api) -> None:
    order = await api.order()
    await api.reserved()
    await api.declined()
    await api.released()
    await api.is_now(order, "rejected")
    response = await api.http.get(f"/admin/sagas/{order['saga_id']}")
    saga = response.json()

    assert response.headers["ETag"].startswith(f'"{saga["version"]}-')
    assert (saga["status"], saga["direction"], saga["step"]) == ("compensated", "compensating", None)
    assert saga["failure"] == {"code": "payment_declined", "message": "no", "ends_as": "rejected"}
    assert [(step["name"], step["kind"], step["status"]) for step in saga["steps"]] == [
        ("reserve", "compensatable", "compensated"),
        ("charge", "compensatable", "rejected"),
        ("ship", "pivot", "pending"),
        ("commit", "retriable", "pending"),
    ]
    assert [step["attempts"] for step in saga["steps"]] == [1, 1, 0, 0]
    assert [entry["seq"] for entry in saga["history"]] == list(range(1, saga["version"] + 1))
    assert [entry["kind"] for entry in saga["history"]] == ["saga_started"] + ["outcome_received"] * 3
    assert [entry["sent"][0]["type"] for entry in saga["history"]] == [
        "OrderCreatedEvent",
        "ChargePayment",
        "ReleaseInventory",
        "OrderRejectedEvent",
    ]
    assert (saga["incidents"], saga["allowed_actions"]) == ([], [])


async def test_whoever_knows_the_version_is_told_so_and_nothing_else(api: Api) -> None:
    order, dead = await a_dead_charge(api)
    for path in (f"/admin/sagas/{order['saga_id']}", f"/admin/dead-letters/{dead['dead_letter_id']}"):
        tag = (await api.http.get(path)).headers["ETag"]
        for known in (tag, f"W/{tag}", f'"999", {tag}'):
            response = await api.http.get(path, headers={"If-None-Match": known})
            assert (response.status_code, response.headers["ETag"], response.content) == (304, tag, b"")
        for other in ('"999"', "nonsense", ""):
            assert (await api.http.get(path, headers={"If-None-Match": other})).status_code == 200


async def test_whoever_knows_a_version_is_told_of_an_incident_that_came_without_another(
    migrated_database_url: str,
) -> None:
    async with an_api(migrated_database_url, registry=picky()) as api:
        api.http.headers.update(ADMIN)
        order = await api.order(customer_id="c-13")
        saga_id = order["saga_id"]
        path = f"/admin/sagas/{saga_id}"
        before = await api.http.get(path)
        _, reserve = await api.command("inventory")
        await api.answer(reserve, events.InventoryReservedEvent, lines=LINES)
        await api.eventually(STANDS, (["unreadable"], True), id=UUID(saga_id))

        for known in (before.headers["ETag"], f'"{before.json()["version"]}"'):
            told = await api.http.get(path, headers={"If-None-Match": known})
            assert (told.status_code, told.json()["version"]) == (200, before.json()["version"])
            assert [each["kind"] for each in told.json()["incidents"]] == ["unreadable"]
        tag = told.headers["ETag"]
        assert (await api.http.get(path, headers={"If-None-Match": tag})).status_code == 304
        cancel = f"{path}/actions/cancel"
        done = await api.http.post(cancel, json={"reason": "why"}, headers={"If-Match": tag})
        assert (done.status_code, done.json()["status"]) == (200, "compensating")


@pytest.mark.parametrize("action", ["retry", "cancel", "resolve"])
async def test_every_action_on_a_saga_needs_the_version_that_was_looked_at(api: Api, action: str) -> None:
    order = await api.order()
    at = f"/admin/sagas/{order['saga_id']}/actions/{action}"
    asked = {"reason": "why", **({"step": "ship", "verdict": "no_effect"} if action == "resolve" else {})}
    missing = await api.http.post(at, json=asked)
    assert (missing.status_code, missing.json()["code"]) == (428, "version_missing")
    stale = await api.http.post(at, json={**asked, "expected_version": 99})
    assert (stale.status_code, stale.json()["current_version"]) == (412, 1)
    if action == "resolve":
        refused = await api.http.post(at, json={**asked, "expected_version": 1})
        assert (refused.status_code, refused.json()["allowed_actions"]) == (409, ["cancel", "retry"])
        assert "ship is not stuck" in refused.json()["detail"]


@pytest.mark.parametrize("action", ["replay", "discard"])
async def test_every_action_on_a_dead_letter_needs_the_version_too(api: Api, action: str) -> None:
    _, dead = await a_dead_charge(api)
    at = f"/admin/dead-letters/{dead['dead_letter_id']}"
    missing = await api.http.post(f"{at}/{action}", json={"reason": "why"})
    assert (missing.status_code, missing.json()["code"]) == (428, "version_missing")
    stale = await api.http.post(f"{at}/{action}", json={"reason": "why"}, headers={"If-Match": '"99"'})
    assert (stale.status_code, stale.json()["current_version"]) == (412, 1)
    await api.http.post(f"{at}/discard", json={"reason": "why", "expected_version": 1})
    closed = await api.http.post(f"{at}/{action}", json={"reason": "why", "expected_version": 2})
    assert (closed.status_code, closed.json()["code"]) == (409, "closed")
    assert closed.json()["allowed_actions"] == []
    assert "it is discarded already: discarded by admin" in closed.json()["detail"]


async def test_sagas_are_filtered(api: Api) -> None:
    stuck, _ = await a_dead_charge(api)
    running = await api.order()
    await api.rejected_for_stock()
    await api.is_now(running, "rejected")
    ended, running = running, await api.order()

    async def listed(**filters: Any) -> list[str]:
        response = await api.http.get("/admin/sagas", params=filters)
        assert response.status_code == 200, response.text
        return [saga["saga_id"] for saga in response.json()["items"]]

    first, second, third = stuck["saga_id"], ended["saga_id"], running["saga_id"]
    assert await listed() == [third, second, first]
    assert await listed(status="running") == [third, first]
    assert await listed(status="compensated") == [second]
    assert await listed(status=["running", "compensated", "completed"]) == [third, second, first]
    assert await listed(step="charge") == [first]
    assert await listed(step=["charge", "reserve"]) == [third, first]
    assert await listed(incident="any") == [first]
    assert await listed(incident="none") == [third, second]
    assert await listed(incident="dead_letter") == [first]
    assert await listed(incident=["overdue", "none"]) == [third, second]
    assert await listed(order_id=[stuck["order_id"], running["order_id"]]) == [third, first]
    assert await listed(created_after=ended["created_at"]) == [third, second]
    assert await listed(created_before=ended["created_at"]) == [first]
    assert await listed(
        created_after="2000-01-01T00:00:00Z", created_before="4999-12-31T00:00:00Z", limit=1
    ) == [third]


@pytest.mark.parametrize(
    "query",
    [
        "status=lost",
        "incident=bad",
        "order_id=7",
        "created_after=yesterday",
        "created_after=2026-01-01T00:00:00",
        "created_after=0001-01-01T00:00:00Z",
        "created_before=9999-12-31T23:59:59Z",
        "step=%00",
        "step=",
        "limit=-1",
        "statsu=running",
        "&".join(["status=running"] * 21),
    ],
)
async def test_a_bad_filter_is_refused_without_echo(api: Api, query: str) -> None:
    response = await api.http.get(f"/admin/sagas?{query}")
    assert (response.status_code, response.json()["code"]) == (422, "invalid")
    assert "yesterday" not in response.text


async def test_it_is_explained_why_a_saga_waits(api: Api) -> None:
    order = await api.order()
    told = (await api.http.get(f"/admin/sagas/{order['saga_id']}/explain")).json()

    assert told["awaited"]["command"] == "ReserveInventory"
    assert (told["awaited"]["participant"], told["awaited"]["sent"]) == ("inventory", 1)
    assert told["awaited"]["deadline_at"] > told["awaited"]["since"]
    assert told["queue"] == {"name": "inventory.commands", "ready": 1, "consumers": 0, "trouble": None}
    assert told["allowed_actions"] == ["cancel", "retry"]
    assert "inventory to ReserveInventory" in told["summary"]
    assert "Nobody consumes inventory.commands" in told["summary"]


async def test_a_stuck_saga_is_explained_by_its_dead_letter(api: Api) -> None:
    order, dead = await a_dead_charge(api)
    told = (await api.http.get(f"/admin/sagas/{order['saga_id']}/explain")).json()

    assert told["awaited"]["held"] is True
    assert [each["dead_letter_id"] for each in told["dead_letters"]] == [dead["dead_letter_id"]]
    assert [each["kind"] for each in told["incidents"]] == ["dead_letter"]
    assert "waits for a person" in told["summary"]


@pytest.mark.parametrize("path", ["sagas", "dead-letters"])
@pytest.mark.parametrize("key", [NOBODYS, "7", "%00"])
async def test_what_is_not_there_is_not_found(api: Api, path: str, key: str) -> None:
    assert (await api.http.get(f"/admin/{path}/{key}")).status_code == 404


async def test_an_operator_cancels_and_it_is_written_down(api: Api) -> None:
    order = await api.order()
    path = f"/admin/sagas/{order['saga_id']}"
    response = await api.http.post(f"{path}/actions/cancel", json={"reason": "fraud", "expected_version": 1})

    assert (response.status_code, response.json()["status"]) == (200, "compensating")
    assert response.headers["ETag"] == (await api.http.get(path)).headers["ETag"]
    assert response.headers["ETag"].startswith('"2-')
    [entry] = (await api.http.get("/admin/audit-log?action=saga.cancel&actor=admin")).json()["items"]
    assert (entry["reason"], entry["subject"]) == ("fraud", f"saga:{order['saga_id']}")
    assert (entry["before"]["status"], entry["after"]["status"]) == ("running", "compensating")
    assert (await api.http.get("/admin/audit-log?actor=nobody")).json()["items"] == []


async def test_an_action_needs_the_version_that_was_seen(api: Api) -> None:
    order = await api.order()
    path = f"/admin/sagas/{order['saga_id']}/actions/retry"

    async def status(body: dict[str, Any], **headers: str) -> tuple[int, str]:
        response = await api.http.post(path, json={"reason": "try again", **body}, headers=headers)
        return response.status_code, response.json().get("code", "")

    assert await status({}) == (428, "version_missing")
    assert await status({"expected_version": 7}) == (412, "stale_version")
    assert await status({}, **{"If-Match": '"7"'}) == (412, "stale_version")
    assert await status({"expected_version": 1}, **{"If-Match": '"2"'}) == (412, "stale_version")
    assert await status({}, **{"If-Match": "*"}) == (400, "malformed_header")
    assert await status({"expected_version": -1}) == (422, "invalid")
    assert await status({"expected_version": 2**31}) == (422, "invalid")
    assert await status({}, **{"If-Match": '"1"'}) == (200, "")


@pytest.mark.parametrize(
    "body",
    [
        {"expected_version": 1},
        {"reason": "", "expected_version": 1},
        {"reason": " \t ", "expected_version": 1},
        {"reason": "a\x00b", "expected_version": 1},
        {"reason": "a\x0b", "expected_version": 1},
        {"reason": " " + "x" * 500, "expected_version": 1},
        {"reason": "x" * 501, "expected_version": 1},
        {"reason": 7, "expected_version": 1},
        {"reason": "x", "expected_version": 1, "force": True},
        {"reason": "x", "expected_version": "1.5"},
    ],
)
async def test_an_action_needs_a_reason_and_nothing_unknown(api: Api, body: dict[str, Any]) -> None:
    order = await api.order()
    response = await api.http.post(f"/admin/sagas/{order['saga_id']}/actions/cancel", json=body)
    assert (response.status_code, response.json()["code"]) == (422, "invalid")


async def test_what_is_not_allowed_now_says_what_is(api: Api) -> None:
    order = await api.order()
    body = {
        "reason": "called the carrier",
        "expected_version": 1,
        "step": "ship",
        "verdict": "took_effect",
        "reference": "T-1",
        "amount": 5,
    }
    response = await api.http.post(f"/admin/sagas/{order['saga_id']}/actions/resolve", json=body)
    assert (response.status_code, response.json()["code"]) == (409, "not_stuck")
    assert response.json()["allowed_actions"] == ["cancel", "retry"]


# -- dead letters -----------------------------------------------------------------------------------------


async def test_a_dead_letter_is_shown_without_its_secrets(api: Api) -> None:
    _, dead = await a_dead_charge(api)
    response = await api.http.get(f"/admin/dead-letters/{dead['dead_letter_id']}")
    detail = response.json()

    assert response.headers["ETag"].startswith(f'"{detail["version"]}-')
    assert (detail["type"], detail["queue"], detail["status"]) == (
        "ChargePayment",
        "payment.commands",
        "open",
    )
    assert (detail["error_type"], detail["permanent"]) == ("gateway_unknown_order", True)
    assert (detail["body_form"], detail["body"]["payment_method"]) == ("json", "***")
    assert detail["body"]["amount"] == 2598
    assert "pm_card_visa" not in response.text


async def test_a_dead_letter_is_replayed_once_looked_at(api: Api) -> None:
    order, dead = await a_dead_charge(api)
    path = f"/admin/dead-letters/{dead['dead_letter_id']}/replay"
    seen = {"reason": "gateway is back", "expected_version": dead["version"]}
    dry = await api.http.post(path, json={**seen, "dry_run": True})
    untouched = (await api.http.get(f"/admin/sagas/{order['saga_id']}")).json()
    done = await api.http.post(path, json=seen)
    stale = await api.http.post(path, json=seen)

    assert (dry.status_code, dry.json()["dry_run"]) == (200, True)
    assert dry.json()["dead_letter"]["status"] == "open"
    assert [each["kind"] for each in untouched["incidents"]] == ["dead_letter"]
    assert (done.status_code, done.json()["dead_letter"]["status"]) == (200, "replaying")
    assert (stale.status_code, stale.json()["code"]) == (412, "stale_version")
    _, command = await api.command("payment")
    assert str(command.saga_id) == order["saga_id"]


async def test_a_discarded_dead_letter_stays_closed(api: Api) -> None:
    _, dead = await a_dead_charge(api)
    path = f"/admin/dead-letters/{dead['dead_letter_id']}"
    body = {"reason": "settled by phone", "expected_version": dead["version"]}
    discarded = await api.http.post(f"{path}/discard", json=body)
    again = await api.http.post(f"{path}/replay", json={**body, "expected_version": dead["version"] + 1})

    assert (discarded.status_code, discarded.json()["status"]) == (200, "discarded")
    assert (again.status_code, again.json()["code"]) == (409, "closed")


async def test_dead_letters_are_filtered_and_grouped(api: Api) -> None:
    _, dead = await a_dead_charge(api)

    async def listed(path: str = "", **filters: Any) -> list[dict[str, Any]]:
        response = await api.http.get(f"/admin/dead-letters{path}", params=filters)
        assert response.status_code == 200, response.text
        items: list[dict[str, Any]] = response.json()["items"]
        return items

    assert await listed(status="open", queue="payment.commands", step="charge") == [dead]
    assert await listed(status=["resolved", "discarded"]) == []
    assert await listed(error_type="other") == []
    assert await listed(saga_id=dead["saga_id"]) == [dead]
    [group] = await listed("/groups")
    assert (group["queue"], group["error_type"]) == ("payment.commands", "gateway_unknown_order")
    assert (group["count"], group["permanent"], group["steps"]) == (1, 1, ["charge"])
    assert await listed("/groups", status="resolved") == []


@pytest.mark.parametrize(
    ("body", "form"),
    [
        (b"plain nonsense \x00\xff", "text"),
        (b'{"payment_method": "pm_secret", "broken', "withheld"),
        (b'{"a": [{"shipping_address": {"name": "secret"}}]}', "json"),
        (b'{"a": "\\ud800"}', "text"),
    ],
)
async def test_poison_is_shown_as_far_as_it_may_be(api: Api, body: bytes, form: str) -> None:
    await store_poison(api, body)
    [dead] = (await api.http.get("/admin/dead-letters")).json()["items"]
    response = await api.http.get(f"/admin/dead-letters/{dead['dead_letter_id']}")

    assert (response.status_code, response.json()["body_form"]) == (200, form)
    assert response.json()["body_bytes"] == len(body)
    assert "secret" not in response.text


async def store_poison(api: Api, body: bytes) -> None:
    async with api.deployment.database.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO orchestrator.dead_letters VALUES (:id, 'message', 'message:1', '{1}', NULL,"
                " NULL, NULL, :status, NULL, 1, 1, 'orchestrator.outcomes', 'Nonsense', 'undecodable', 'no',"
                " '', true, 1, :now, :now, 'oms.events', 'x', '1', :headers, :body, false, :now, :now)"
            ),
            {
                "id": uuid4(),
                "status": DeadLetterStatus.OPEN.value,
                "now": NOON,
                "headers": '{"odd": "\\ud800"}',
                "body": body,
            },
        )
