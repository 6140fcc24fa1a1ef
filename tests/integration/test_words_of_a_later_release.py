"""Words that a later release has stored: shown as they are, permitting nothing, harming nobody (S25)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, Final
from uuid import UUID

import httpx
import psycopg
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine

from orchestrator.http.access import Access, Permission, Principal
from orchestrator.oidc.identity import Identity
from orchestrator.queries.people import PeopleQueries
from orchestrator.service import Pace
from orchestrator.tokens import Role
from tests.integration.test_console import Page, page
from tests.integration.test_jobs import a_runner, begin, dead_reservations, worked_through
from tests.integration.test_tokens import Oms, a_token, oms
from tests.support.api import ADMIN, Api, an_api
from tests.support.participant_stage import payment_stage
from tests.support.participants import Case
from tests.support.providers import Gateway

pytestmark = pytest.mark.postgresql

__all__ = ["oms"]

CHECKED: Final = (
    ("sagas", "status_known"),
    ("sagas", "direction_known"),
    ("sagas", "ended_has_time"),
    ("dead_letters", "dead_letter_status_known"),
    ("jobs", "job_kind_known"),
    ("jobs", "job_state_known"),
    ("jobs", "job_ended_has_time"),
    ("job_items", "job_item_result_known"),
    ("tokens", "token_role_known"),
    ("people", "person_role_known"),
)
"""What a later release's migration allows first."""


@pytest.fixture
async def api(migrated_database_url: str) -> AsyncIterator[Api]:
    """Jobs go on when a test says so; somebody looks at the console."""
    async with an_api(migrated_database_url, pace=Pace(jobs_s=None)) as made:
        async with made.deployment.database.begin() as connection:
            for table, name in CHECKED:
                await connection.execute(text(f"ALTER TABLE orchestrator.{table} DROP CONSTRAINT {name}"))
        await made.http.post("/console/login", data={"token": "admin-token"})
        made.http.headers.update(ADMIN)
        yield made


async def write(api: Api, statement: str, **parameters: Any) -> None:
    async with api.deployment.database.begin() as connection:
        await connection.execute(text(statement), parameters)


async def read(api: Api, path: str) -> Any:
    response = await api.http.get(path)
    assert response.status_code == 200, response.text
    return response.json()


# -- roles ------------------------------------------------------------------------------------------------


async def test_a_token_of_an_unknown_role_is_listed_and_permits_nothing(api: Api) -> None:
    headers, made = await a_token(api, Role.ADMIN)
    await write(api, "UPDATE orchestrator.tokens SET role = 'auditor' WHERE token_id = :it", it=made.token_id)

    for path in ("/admin/sagas", "/admin/dead-letters", "/admin/audit-log", "/admin/jobs"):
        refused = await api.http.get(path, headers=headers)
        assert refused.status_code == 403, path
        assert 'has the role "auditor", which is not known here' in refused.json()["detail"]
    secret = headers["Authorization"].removeprefix("Bearer ")
    signing_in = await api.http.post("/console/login", data={"token": secret})
    assert signing_in.status_code in (401, 403)


def changed(url: str, *statements: str) -> None:
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def test_the_list_of_tokens_shows_an_unknown_role_beside_the_others(
    oms: Oms, migrated_database_url: str
) -> None:
    for name in ("jane", "kim"):
        assert oms("tokens", "create", "--name", name, "--role", "viewer")[0] == 0
    changed(
        migrated_database_url,
        "ALTER TABLE orchestrator.tokens DROP CONSTRAINT token_role_known",
        "UPDATE orchestrator.tokens SET role = 'auditor' WHERE name = 'kim'",
    )

    code, listed, err = oms("tokens", "list", "--json")
    assert code == 0, err
    roles = {each["name"]: each["role"] for each in json.loads(listed)["items"]}
    assert roles == {"jane": "viewer", "kim": "auditor"}
    assert "unknown role" in " ".join(oms("tokens", "list")[1].split())
    code, said, err = oms("tokens", "revoke", "kim")
    assert (code, 'unknown role "auditor"' in said) == (0, True), err


def test_a_person_of_an_unknown_role_is_listed_and_signed_out(oms: Oms, migrated_database_url: str) -> None:
    changed(
        migrated_database_url,
        "ALTER TABLE orchestrator.people DROP CONSTRAINT person_role_known",
        "INSERT INTO orchestrator.people (person_id, issuer, subject, name, role, session_round,"
        " signed_in_at) VALUES (gen_random_uuid(), 'https://issuer', '8f2c', 'kim', 'auditor', 1, now())",
    )

    code, listed, err = oms("people", "list", "--json")
    assert code == 0, err
    assert [(each["name"], each["role"]) for each in json.loads(listed)["items"]] == [("kim", "auditor")]
    code, said, err = oms("people", "sign-out", "8f2c")
    assert (code, 'unknown role "auditor"' in said) == (0, True), err


async def test_a_session_of_a_person_of_an_unknown_role_is_none(api: Api) -> None:
    people = PeopleQueries(api.queries.reader, "https://issuer", api.deployment.new_id)
    visitor = await people.arrived(Identity("8f2c", "kim", Role.ADMIN), Role.ADMIN)
    access = Access([], b"key", visitors=people)
    await write(api, "UPDATE orchestrator.people SET role = 'auditor'")

    token = await access.token_named(str(visitor.visit))

    assert token is not None
    assert token.principal == Principal("kim", "auditor")
    assert not any(access.permits(token.principal, each) for each in Permission)


# -- jobs -------------------------------------------------------------------------------------------------


JOB_LOOKS: Final = (
    "/console/jobs",
    "/console/jobs/{}",
    "/admin/jobs",
    "/admin/jobs/{}",
    "/admin/jobs/{}/items",
)


async def looked_at_everywhere(api: Api, job: dict[str, Any]) -> None:
    for path in JOB_LOOKS:
        response = await api.http.get(path.format(job["job_id"]))
        assert response.status_code == 200, (path, response.text)


@pytest.mark.parametrize("path", ["/admin/dead-letters/replay", "/admin/sagas/cancel"])
async def test_a_job_of_an_unknown_kind_rests_while_the_others_go_on(api: Api, path: str) -> None:
    await dead_reservations(api, 2)
    strange = await begin(api, path)
    await write(api, "UPDATE orchestrator.jobs SET kind = 'reprioritise'")
    known = await begin(api)

    await worked_through(api, a_runner(api))

    await looked_at_everywhere(api, strange)
    shown = await read(api, f"/admin/jobs/{strange['job_id']}")
    assert (shown["kind"], shown["state"], shown["done"]) == ("reprioritise", "running", 0)
    assert "Reprioritise 2 items" in (await page(api, f"/console/jobs/{strange['job_id']}")).words
    assert (await read(api, f"/admin/jobs/{known['job_id']}"))["state"] == "finished"
    cancel = {"reason": "taken back", "expected_version": 1}
    stopped = await api.http.post(f"/admin/jobs/{strange['job_id']}/cancel", json=cancel)
    assert (stopped.status_code, stopped.json()["state"]) == (200, "cancelled")


async def test_a_job_at_an_unknown_state_is_shown_and_may_not_be_cancelled(api: Api) -> None:
    await dead_reservations(api, 1)
    job = await begin(api)
    await write(api, "UPDATE orchestrator.jobs SET state = 'paused'")

    assert await a_runner(api).run_once() == 0
    await looked_at_everywhere(api, job)
    shown = await read(api, f"/admin/jobs/{job['job_id']}")
    assert (shown["state"], shown["allowed_actions"]) == ("paused", [])
    cancel = {"reason": "x", "expected_version": 1}
    refused = await api.http.post(f"/admin/jobs/{job['job_id']}/cancel", json=cancel)
    assert (refused.status_code, refused.json()["code"]) == (409, "unknown_state")


async def test_an_item_with_an_unknown_result_is_shown_as_it_is(api: Api) -> None:
    await dead_reservations(api, 1)
    job = await begin(api)
    await worked_through(api, a_runner(api))
    await write(api, "UPDATE orchestrator.job_items SET result = 'skipped'")

    await looked_at_everywhere(api, job)
    [item] = (await read(api, f"/admin/jobs/{job['job_id']}/items"))["items"]
    assert item["result"] == "skipped"


@pytest.mark.parametrize(
    "details", ['{"verdict": "maybe", "step": "reserve"}', '{"verdict": "no_effect"}', "[7]"]
)
async def test_a_verdict_that_is_not_known_refuses_its_items_alone(api: Api, details: str) -> None:
    await dead_reservations(api, 1)
    job = await begin(api, "/admin/sagas/resolve", step="reserve", verdict="no_effect")
    await write(api, "UPDATE orchestrator.jobs SET details = CAST(:details AS json)", details=details)

    await worked_through(api, a_runner(api))

    await looked_at_everywhere(api, job)
    [item] = (await read(api, f"/admin/jobs/{job['job_id']}/items"))["items"]
    assert (item["result"], item["code"]) == ("refused", "unknown_verdict")


async def test_a_selection_that_is_not_known_is_shown_as_it_is(api: Api) -> None:
    await dead_reservations(api, 1)
    job = await begin(api)
    for stored in ('{"priority": ["high"], "step": {"a": [1]}, "status": 7}', '["all"]'):
        await write(api, "UPDATE orchestrator.jobs SET filter = CAST(:it AS json)", it=stored)
        await looked_at_everywhere(api, job)


# -- dead letters -----------------------------------------------------------------------------------------


async def the_dead_letter(api: Api) -> str:
    await dead_reservations(api, 1)
    [dead] = (await read(api, "/admin/dead-letters"))["items"]
    return str(dead["dead_letter_id"])


async def acted_on(api: Api, dead: str, action: str) -> httpx.Response:
    return await api.http.post(
        f"/admin/dead-letters/{dead}/{action}", json={"reason": "x", "expected_version": 1}
    )


async def test_a_dead_letter_at_an_unknown_status_is_shown_and_left_alone(api: Api) -> None:
    dead = await the_dead_letter(api)
    job = await begin(api)
    await write(api, "UPDATE orchestrator.dead_letters SET status = 'parked'")
    assert (await read(api, "/admin/dead-letters"))["items"][0]["status"] == "parked"
    assert "Nothing: it is parked" in (await page(api, f"/console/dead-letters/{dead}")).words

    for action in ("replay", "discard"):
        refused = await acted_on(api, dead, action)
        assert (refused.status_code, refused.json()["code"]) == (409, "unknown_status")
    await worked_through(api, a_runner(api))

    [item] = (await read(api, f"/admin/jobs/{job['job_id']}/items"))["items"]
    assert (item["result"], item["code"], item["status"]) == ("refused", "unknown_status", "parked")


async def test_a_dead_letter_of_an_unknown_kind_is_shown_and_not_replayed(api: Api) -> None:
    dead = await the_dead_letter(api)
    await write(api, "UPDATE orchestrator.dead_letters SET kind = 'timer'")

    assert (await read(api, f"/admin/dead-letters/{dead}"))["kind"] == "timer"
    refused = await acted_on(api, dead, "replay")
    assert (refused.status_code, refused.json()["code"]) == (409, "unknown_kind")


# -- sagas ------------------------------------------------------------------------------------------------

COLUMNS: Final = ("status", "direction")
SAGA_LOOKS: Final = (
    "/admin/sagas/{}",
    "/admin/sagas/{}/history",
    "/admin/sagas/{}/explain",
    "/sagas/{}",
    "/console/sagas/{}",
    "/console/sagas/{}/history",
    "/metrics",
    "/console",
    "/console/sagas",
    "/console/waiting",
    "/console/health",
    "/orders",
)


@pytest.mark.parametrize("column", COLUMNS)
async def test_a_saga_with_an_unknown_word_stands_in_the_list_as_it_is(api: Api, column: str) -> None:
    strange, other = await api.submit(), await api.submit()
    api.deployment.remembered.forget(strange)
    changed = f"UPDATE orchestrator.sagas SET {column} = 'suspended', revision = revision + 1"
    await write(api, f"{changed} WHERE saga_id = :it", it=strange)

    for path in SAGA_LOOKS:
        response = await api.http.get(path.format(strange))
        assert response.status_code == 200, (path, response.text)
    listed = (await read(api, "/admin/sagas"))["items"]
    assert [each[column] for each in listed if each["saga_id"] == str(strange)] == ["suspended"]
    assert {each["saga_id"] for each in listed} == {str(strange), str(other)}
    detail = await read(api, f"/admin/sagas/{strange}")
    assert (detail[column], detail["allowed_actions"]) == ("suspended", [])
    assert [each["kind"] for each in detail["incidents"]] == ["unreadable"]
    asked = {"reason": "x", "expected_version": detail["version"]}
    refused = await api.http.post(f"/admin/sagas/{strange}/actions/cancel", json=asked)
    assert (refused.status_code, refused.json()["code"]) == (409, "unreadable")


async def test_an_unknown_kind_of_incident_is_shown_as_it_is(api: Api) -> None:
    saga_id = await api.submit()
    await write(
        api, "UPDATE orchestrator.sagas SET incident_kinds = '{too_cold}' WHERE saga_id = :it", it=saga_id
    )

    [listed] = (await read(api, "/admin/sagas"))["items"]
    assert listed["incident_kinds"] == ["too_cold"]
    assert "too cold" in (await page(api, "/console/sagas")).words
    assert (await api.http.get("/metrics")).status_code == 200


async def test_a_history_that_led_to_an_unknown_status_is_shown_as_it_is(api: Api) -> None:
    saga_id = await api.submit()
    led_to = {"status": "suspended", "order_status": "parked", "step": "x", "direction": "up", "sent": []}
    await write(api, "UPDATE orchestrator.history SET led_to = CAST(:it AS json)", it=json.dumps(led_to))

    [entry] = (await read(api, f"/admin/sagas/{saga_id}"))["history"]
    assert (entry["status"], entry["label"], entry["direction"]) == ("suspended", "parked", "up")
    assert "suspended" in Page((await api.http.get(f"/console/sagas/{saga_id}")).text).words


# -- a participant's ledger -------------------------------------------------------------------------------


async def test_a_ledger_row_at_an_unknown_state_fails_its_own_command_alone(engine: AsyncEngine) -> None:
    async with payment_stage(engine, Gateway()) as stage:
        strange, other = Case(), Case()
        service = await stage.replica()
        await stage.answer(strange.charge())
        await stage.crash(service)
        await stage.execute("ALTER TABLE payment.ledger DROP CONSTRAINT ck_ledger_state")
        await stage.execute("UPDATE payment.ledger SET state = 'deferred'")
        stage.send(strange.charge(), other.charge())
        await stage.replica()

        [seen] = await stage.seen()
        dead = await stage.dead_letter()

    assert seen.body["saga_id"] == str(other.saga_id)
    assert 'unknown state "deferred"' in dead.headers["error-message"]
    assert UUID(json.loads(dead.body)["saga_id"]) == strange.saga_id
