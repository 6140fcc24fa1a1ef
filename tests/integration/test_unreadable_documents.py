"""What is stored may be spoilt, or be of yesterday's rules: it harms itself alone (S25)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from contracts.commands import ChargePayment
from contracts.events import InventoryReservedEvent
from oms.health import with_loops
from orchestrator.core.state import IncidentKind
from orchestrator.http.health import readiness_of
from tests.support.api import ADMIN, Api

ORDERS = "UPDATE orchestrator.orders SET document = {} WHERE saga_id = :saga_id"
STATES = "UPDATE orchestrator.sagas SET state = {}, revision = revision + 1 WHERE saga_id = :saga_id"

PUT = "jsonb_set(document::jsonb, '{}', '{}')::json"

SPOILT: dict[str, str] = {
    "an order without lines": ORDERS.format("(document::jsonb - 'lines')::json"),
    "an order with a line that is none": ORDERS.format(PUT.format("{lines,0}", "7")),
    "an order that is a list": ORDERS.format("'[]'"),
    "an order that is null": ORDERS.format("'null'"),
    "a customer that is a number": ORDERS.format(PUT.format("{customer_id}", "7")),
    "a price beyond every number": ORDERS.format(
        """jsonb_set(document::jsonb, '{lines,0,unit_price}', ('1' || repeat('0', 5000))::jsonb)::json"""
    ),
    "a state without what is awaited": STATES.format("(state::jsonb - 'awaiting')::json"),
    "a state that is empty": STATES.format("'{}'"),
    "a state that is a text": STATES.format("'\"gone\"'"),
    "a state with an unknown word": STATES.format(
        """jsonb_set(state::jsonb, '{awaiting,direction}', '"sideways"')::json"""
    ),
    "a state that awaits no step of it": STATES.format(
        """jsonb_set(state::jsonb, '{awaiting,step}', '"nowhere"')::json"""
    ),
    "steps that are none of the definition": STATES.format(
        "replace(state::text, '\"reserve\"', '\"set_aside\"')::json"
    ),
}


@pytest.fixture
async def api(migrated_database_url: str) -> AsyncIterator[Api]:
    made = Api(migrated_database_url)
    await made.start()
    yield made
    await made.stop()


async def spoil(api: Api, statement: str, saga_id: UUID) -> None:
    async with api.deployment.database.begin() as connection:
        await connection.execute(text(statement), {"saga_id": saga_id})


DUE = "UPDATE orchestrator.sagas SET due_at = now() - interval '1 hour', revision = revision + 1"


async def make_due(api: Api) -> None:
    async with api.deployment.database.begin() as connection:
        await connection.execute(text(DUE))


async def order_id_of(api: Api, saga_id: UUID) -> UUID:
    found: UUID = (
        await api.row("SELECT order_id FROM orchestrator.sagas WHERE saga_id = :saga_id", saga_id=saga_id)
    ).order_id
    return found


RETIRED: dict[str, tuple[str, str]] = {
    "a currency": ("""'{currency}', '"BGN"'""", "BGN"),
    "a payment method": ("""'{payment_method}', '"pm card (old)"'""", "pm card (old)"),
    "a customer": ("""'{customer_id}', '"c 1 / old"'""", "c 1 / old"),
}


@pytest.mark.parametrize(("change", "value"), RETIRED.values(), ids=RETIRED)
async def test_s25_an_order_of_yesterdays_rules_goes_on_and_is_shown(
    api: Api, change: str, value: str
) -> None:
    saga_id = await api.submit()
    _, reserve = await api.command("inventory")
    await spoil(api, ORDERS.format(f"jsonb_set(document::jsonb, {change})::json"), saga_id)
    api.deployment.remembered.forget(saga_id)

    await api.answer(reserve, InventoryReservedEvent, lines=[{"sku": "SKU-1", "quantity": 2}])
    _, charge = await api.command("payment")

    assert isinstance(charge, ChargePayment)
    assert value in charge.model_dump_json()
    order_id = await order_id_of(api, saga_id)
    shown = (await api.http.get(f"/orders/{order_id}")).json()
    assert (shown["unreadable"], shown["total"]) == (None, 2598)
    assert (await api.http.get("/orders")).json()["items"] == [shown]
    detail = await api.http.get(f"/admin/sagas/{saga_id}", headers=ADMIN)
    assert (detail.status_code, detail.json()["incidents"]) == (200, [])
    cancelled = await api.http.post(f"/orders/{order_id}/cancel")
    assert cancelled.status_code == 202


@pytest.mark.parametrize("statement", SPOILT.values(), ids=SPOILT)
async def test_s25_one_bad_row_harms_itself_and_is_told(api: Api, statement: str) -> None:
    bad, good = await api.submit(), await api.submit()
    for _ in range(2):
        await api.command("inventory")
    api.deployment.remembered.forget(bad)
    await spoil(api, statement, bad)
    await make_due(api)

    resent = (await api.command("inventory"))[1]

    assert resent.saga_id == good
    kinds = (
        "SELECT incident_kinds, due_at > clock_timestamp() FROM orchestrator.sagas WHERE saga_id = :saga_id"
    )
    await api.eventually(kinds, ([IncidentKind.UNREADABLE.value], True), saga_id=bad)
    listed = (await api.http.get("/admin/sagas?incident=unreadable", headers=ADMIN)).json()["items"]
    assert [each["saga_id"] for each in listed] == [str(bad)]
    detail = (await api.http.get(f"/admin/sagas/{bad}", headers=ADMIN)).json()
    assert [each["kind"] for each in detail["incidents"]] == ["unreadable"]
    explained = (await api.http.get(f"/admin/sagas/{bad}/explain", headers=ADMIN)).json()
    assert "cannot be read" in explained["summary"]
    order_id = await order_id_of(api, bad)
    orders = (await api.http.get("/orders")).json()["items"]
    assert len(orders) == 2
    shown = await api.http.get(f"/orders/{order_id}")
    assert shown.status_code == 200
    assert shown.json() == next(each for each in orders if each["order_id"] == str(order_id))
    for path in (f"/admin/sagas/{bad}/messages", f"/orders/{order_id}/cancel"):
        response = await api.http.request("POST" if "cancel" in path else "GET", path, headers=ADMIN)
        assert (response.status_code, response.json()["code"]) == (409, "unreadable")


async def test_s25_a_row_that_was_put_right_goes_on_and_its_incident_closes(api: Api) -> None:
    saga_id = await api.submit()
    await api.command("inventory")
    spoilt = SPOILT["an order without lines"]
    row = await api.row(
        "SELECT document::text FROM orchestrator.orders WHERE saga_id = :saga_id", saga_id=saga_id
    )
    await spoil(api, spoilt, saga_id)
    await make_due(api)
    kinds = "SELECT incident_kinds FROM orchestrator.sagas WHERE saga_id = :saga_id"
    await api.eventually(kinds, ([IncidentKind.UNREADABLE.value],), saga_id=saga_id)

    async with api.deployment.database.begin() as connection:
        put_right = (
            "UPDATE orchestrator.orders SET document = CAST(:document AS json) WHERE saga_id = :saga_id"
        )
        await connection.execute(text(put_right), {"document": row.document, "saga_id": saga_id})
    await make_due(api)

    assert (await api.command("inventory"))[1].saga_id == saga_id
    await api.eventually(kinds, ([],), saga_id=saga_id)


async def test_s25_more_bad_rows_than_a_batch_holds_do_not_keep_the_others_waiting(api: Api) -> None:
    for _ in range(3):
        await api.submit()
        await api.command("inventory")
    good = await api.submit()
    await api.command("inventory")
    copies = """
        WITH bad AS (SELECT * FROM orchestrator.sagas WHERE saga_id <> :good LIMIT 1)
        INSERT INTO orchestrator.sagas (saga_id, order_id, definition, definition_version, status,
            order_status, step, direction, version, incident_kinds, due_at, created_at, updated_at, state)
        SELECT gen_random_uuid(), gen_random_uuid(), definition, definition_version, status,
            order_status, step, direction, version, incident_kinds, now() - interval '2 hours',
            created_at, updated_at, '{}'
        FROM bad, generate_series(1, 250)
    """
    async with api.deployment.database.begin() as connection:
        await connection.execute(text(copies), {"good": good})
    api.deployment.remembered.forget(good)
    async with api.deployment.database.begin() as connection:
        await connection.execute(text(f"{DUE} WHERE saga_id = :good"), {"good": good})

    while (await api.command("inventory"))[1].saga_id != good:
        pass
    marked = "SELECT count(*) FROM orchestrator.sagas WHERE incident_kinds = '{unreadable}'"
    await api.eventually(marked, (250,))


async def test_s25_stored_words_of_other_kinds_are_shown_as_they_are(api: Api) -> None:
    saga_id = await api.submit()
    await api.http.post(f"/orders/{await order_id_of(api, saga_id)}/cancel")
    detail = (await api.http.get(f"/admin/sagas/{saga_id}", headers=ADMIN)).json()
    async with api.deployment.database.begin() as connection:
        for statement in (
            "UPDATE orchestrator.audit_log SET before = '[1]', after = '7'",
            "UPDATE orchestrator.history SET led_to = '[]' WHERE version = 2",
            "UPDATE orchestrator.sagas SET incident_kinds = '{of_a_later_version}'",
        ):
            await connection.execute(text(statement))

    audit = (await api.http.get("/admin/audit-log", headers=ADMIN)).json()["items"]
    assert [(entry["before"], entry["after"]) for entry in audit] == [([1], 7)]
    listed = (await api.http.get("/admin/sagas", headers=ADMIN)).json()["items"]
    assert [each["incident_kinds"] for each in listed] == [["of_a_later_version"]]
    again = (await api.http.get(f"/admin/sagas/{saga_id}", headers=ADMIN)).json()
    assert len(again["history"]) == len(detail["history"])
    assert [entry["kind"] for entry in again["history"]][:2] == ["saga_started", "unreadable"]


async def test_a_loop_that_cannot_do_its_work_shows_in_readiness(api: Api) -> None:
    components = with_loops((), api.service.loops)
    async with api.deployment.database.begin() as connection:
        await connection.execute(text("ALTER TABLE orchestrator.sagas RENAME COLUMN due_at TO due"))

    async def failing() -> dict[str, Any]:
        found: dict[str, Any] = (await readiness_of(components)).model_dump(mode="json")["components"]
        return found

    while "loop due sagas" not in (found := await failing()):
        await api.row("SELECT pg_sleep(0.1)")
    assert found["loop due sagas"]["status"] == "degraded"
    assert "UndefinedColumn" in found["loop due sagas"]["detail"]

    async with api.deployment.database.begin() as connection:
        await connection.execute(text("ALTER TABLE orchestrator.sagas RENAME COLUMN due TO due_at"))
    while "loop due sagas" in await failing():
        await api.row("SELECT pg_sleep(0.1)")
