"""Jobs on many sagas: retried, cancelled or resolved once each, whatever happens to whoever works (D5)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from orchestrator.core.inputs import Actor
from orchestrator.service import Pace
from tests.integration.test_jobs import (
    a_runner,
    audited,
    begin,
    dead_reservations,
    job_now,
    may_go_on,
    replays,
    worked_through,
)
from tests.support.api import ADMIN, Api, an_api
from tests.support.orders import an_order

pytestmark = pytest.mark.postgresql

RETRY, CANCEL, RESOLVE = (f"/admin/sagas/{action}" for action in ("retry", "cancel", "resolve"))


@pytest.fixture
async def api(migrated_database_url: str) -> AsyncIterator[Api]:
    """An orchestrator that works on no jobs by itself: tests say when, and who."""
    async with an_api(migrated_database_url, pace=Pace(jobs_s=None)) as made:
        made.http.headers.update(ADMIN)
        yield made


async def started(api: Api, count: int, **changes: Any) -> list[UUID]:
    orders = [an_order(customer_id=f"c-{n}", **changes) for n in range(count)]
    return list(await asyncio.gather(*map(api.submit, orders)))


async def statuses(api: Api) -> dict[UUID, str]:
    async with api.deployment.database.connect() as connection:
        rows = await connection.execute(text("SELECT saga_id, status FROM orchestrator.sagas"))
        return {row[0]: row[1] for row in rows}


async def items(api: Api, job: dict[str, Any], query: str = "") -> list[dict[str, Any]]:
    response = await api.http.get(f"/admin/jobs/{job['job_id']}/items{query}")
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["items"]
    return found


async def test_d5_every_stuck_saga_is_retried_once(api: Api) -> None:
    stuck = await dead_reservations(api, 30)
    going = await started(api, 3)
    job = await begin(api, RETRY, filter={"incident": ["dead_letter"]}, expected_count=30)
    await worked_through(api, a_runner(api))

    assert await replays(api) == dict.fromkeys(stuck, 1)
    told = await job_now(api, job)
    assert (told["kind"], told["state"], told["succeeded"], told["refused"]) == ("retry", "finished", 30, 0)
    assert {UUID(item["saga_id"]) for item in await items(api, job)} == set(stuck)
    assert not set(going) & set(stuck)
    assert sorted(await audited(api, "saga.retry")) == sorted(f"saga:{each}" for each in stuck)


async def test_d5_sagas_are_cancelled_by_what_they_are_found_by(api: Api) -> None:
    wrong = await started(api, 4, metadata={"campaign": "spring"})
    right = await started(api, 2)
    job = await begin(api, CANCEL, filter={"metadata": {"campaign": ["spring"]}})
    await worked_through(api, a_runner(api))

    found = await statuses(api)
    assert {found[each] for each in wrong} == {"compensating"}
    assert {found[each] for each in right} == {"running"}
    assert (await job_now(api, job))["filter"] == {
        "status": ["running", "compensating"],
        "metadata": {"campaign": ["spring"]},
    }


async def test_d5_what_has_gone_on_by_itself_is_not_retried(api: Api) -> None:
    stuck = await dead_reservations(api, 2)
    job = await begin(api, RETRY, filter={"incident": ["any"]})
    await api.front.operations.retry(min(stuck), Actor("ann", "I was first"))
    await worked_through(api, a_runner(api))

    [refused] = await items(api, job, "?result=refused")
    assert (refused["saga_id"], refused["code"]) == (str(min(stuck)), "changed_meanwhile")
    assert await replays(api) == dict.fromkeys(stuck, 1)


async def test_d5_what_was_torn_in_the_middle_goes_on_where_it_stood(api: Api) -> None:
    stuck = await dead_reservations(api, 12)
    job = await begin(api, RETRY, filter={"incident": ["any"]}, rate_per_second=5)
    first, second = a_runner(api), a_runner(api)
    assert await first.run_once() == 5
    assert await second.run_once() == 0
    await may_go_on(api)
    await worked_through(api, second)

    assert await replays(api) == dict.fromkeys(stuck, 1)
    assert (await job_now(api, job))["done"] == 12


async def test_s19_a_verdict_goes_to_every_stuck_saga(api: Api) -> None:
    await dead_reservations(api, 3)
    filled = {"filter": {"incident": ["any"]}, "reason": "seen", "step": "reserve", "verdict": "no_effect"}
    response = await api.http.post(RESOLVE, json={**filled, "dry_run": True})
    told = response.json()

    assert (response.status_code, told["total"], told["would_be_refused"]) == (200, 3, 3)
    assert [refusal["count"] for refusal in told["refusals"]] == [3]
    job = await begin(api, RESOLVE, **filled)
    await worked_through(api, a_runner(api))
    assert (await job_now(api, job))["refused"] == 3
    assert (await job_now(api, job))["details"] == {"step": "reserve", "verdict": "no_effect"}


async def test_a_dry_run_on_sagas_changes_nothing(api: Api) -> None:
    stuck = await dead_reservations(api, 4)
    await started(api, 1)
    response = await api.http.post(CANCEL, json={"filter": {}, "reason": "to see", "dry_run": True})

    told = response.json()
    assert (told["kind"], told["total"], told["would_succeed"]) == ("cancel", 5, 5)
    assert set((await statuses(api)).values()) == {"running"}
    assert await replays(api) == {}
    assert len(stuck) == 4


async def test_a_selection_of_sagas_that_has_changed_is_refused(api: Api) -> None:
    await started(api, 2)
    response = await api.http.post(CANCEL, json={"filter": {}, "reason": "all", "expected_count": 1})

    assert (response.status_code, response.json()["code"]) == (412, "count_changed")
    assert response.json()["current_count"] == 2
    nothing = await api.http.post(CANCEL, json={"filter": {"reference": ["x"]}, "reason": "all"})
    assert (nothing.status_code, nothing.json()["code"]) == (409, "nothing_selected")


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        (RETRY, {"filter": {"stat": ["running"]}}, "/filter/stat"),
        (RETRY, {"filter": {"status": ["gone"]}}, "/filter/status/0"),
        (RETRY, {"filter": {"metadata": {"a b": ["x"]}}}, "/filter/metadata/a b/[key]"),
        (CANCEL, {"filter": {}, "step": "ship"}, "/step"),
        (RESOLVE, {"filter": {}, "step": "ship"}, "/verdict"),
        (RESOLVE, {"filter": {}, "verdict": "took_effect"}, "/step"),
        (RESOLVE, {"filter": {}, "step": "ship", "verdict": "perhaps"}, "/verdict"),
        (CANCEL, {}, "/filter"),
        (CANCEL, {"filter": {}, "rate_per_second": 0}, "/rate_per_second"),
    ],
)
async def test_a_job_on_sagas_that_makes_no_sense_is_refused(
    api: Api, path: str, body: dict[str, Any], pointer: str
) -> None:
    response = await api.http.post(path, json={"reason": "because", **body})

    assert response.status_code == 422, response.text
    assert pointer in [error["pointer"] for error in response.json()["errors"]]
