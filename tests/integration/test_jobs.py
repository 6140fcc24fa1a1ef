"""Jobs on many dead letters: each is acted on once, whatever happens to whoever works (D5)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from messaging.errors import PermanentFailure
from messaging.retries import RetryPolicy, after_failure
from orchestrator.core.inputs import Actor
from orchestrator.dead_letters.replay import DeadLetterOperations, Mandate
from orchestrator.http.access import Access, Principal, Token
from orchestrator.http.app import create_app
from orchestrator.jobs.runner import JobRunner
from orchestrator.jobs.tasks import Tasks
from orchestrator.service import Pace
from orchestrator.tokens import Role
from tests.integration.test_http_admin import store_poison
from tests.support.api import ADMIN, Api, an_api
from tests.support.orders import NOON, an_order

pytestmark = pytest.mark.postgresql

R = TypeVar("R")

REPLAY = "/admin/dead-letters/replay"
SOMEBODY = Actor("somebody", "by hand")


@pytest.fixture
async def api(migrated_database_url: str) -> AsyncIterator[Api]:
    """An orchestrator that works on no jobs by itself: tests say when, and who."""
    async with an_api(migrated_database_url, pace=Pace(jobs_s=None)) as made:
        made.http.headers.update(ADMIN)
        yield made


def a_runner(api: Api, dead_letters: DeadLetterOperations | None = None) -> JobRunner:
    unit_of_work = api.deployment.job_unit_of_work(api.front.outbox, None)
    tasks = Tasks(dead_letters or api.front.dead_letters, api.front.operations)
    return JobRunner(unit_of_work, tasks, api.deployment.new_id)


async def dead_reservations(
    api: Api, count: int, error_type: str = "warehouse_closed", already: int = 0
) -> list[UUID]:
    """So many sagas whose reservation died for good, beside those that did ``already``; their ids."""
    sagas = await asyncio.gather(*(api.submit(an_order(customer_id=f"c-{n}")) for n in range(count)))
    for _ in sagas:
        delivery, _ = await api.command("inventory")
        message_id = api.deployment.new_id()
        error = PermanentFailure(error_type, "nobody is there")
        api.publish(after_failure(delivery, error, RetryPolicy(), message_id, NOON, "test"))
    query = "SELECT count(*) FROM orchestrator.dead_letters WHERE error_type = :error AND status = 'open'"
    await api.eventually(query, (already + count,), error=error_type)
    return list(sagas)


async def begin(api: Api, path: str = REPLAY, **body: Any) -> dict[str, Any]:
    response = await api.http.post(path, json={"filter": {}, "reason": "it is open again", **body})
    assert response.status_code == 202, response.text
    job: dict[str, Any] = response.json()
    assert response.headers["Location"] == f"/admin/jobs/{job['job_id']}"
    return job


async def job_now(api: Api, job: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = (await api.http.get(f"/admin/jobs/{job['job_id']}")).json()
    return found


async def may_go_on(api: Api) -> None:
    """Whoever held a lease is gone, and the rate allows more."""
    async with api.deployment.database.begin() as connection:
        await connection.execute(
            text("UPDATE orchestrator.jobs SET leased_until = created_at, next_at = created_at")
        )


async def worked_through(api: Api, runner: JobRunner) -> None:
    while await runner.run_once():
        await may_go_on(api)


async def replays(api: Api) -> dict[UUID, int]:
    """How often each saga was told to send its command once more, by its history."""
    query = (
        "SELECT saga_id, count(*) FROM orchestrator.history WHERE kind = 'retry_requested' GROUP BY saga_id"
    )
    async with api.deployment.database.connect() as connection:
        return {row[0]: row[1] for row in await connection.execute(text(query))}


async def audited(api: Api, action: str) -> list[str]:
    query = "SELECT subject FROM orchestrator.audit_log WHERE action = :action ORDER BY audit_id"
    async with api.deployment.database.connect() as connection:
        return list((await connection.execute(text(query), {"action": action})).scalars())


class Interrupted(DeadLetterOperations):
    """Something happens just before the n-th dead letter is replayed."""

    def __init__(self, api: Api, number: int, happens: Callable[[], Awaitable[object]]) -> None:
        front = api.front
        unit_of_work = api.deployment.unit_of_work(front.outbox, None)
        super().__init__(unit_of_work, front.engine, front.operations, api.deployment.new_id)
        self._left = number
        self._happens = happens

    async def replay_within(self, transaction: Any, dead_letter_id: UUID, mandate: Mandate) -> Any:
        self._left -= 1
        if self._left == 0:
            await self._happens()
        return await super().replay_within(transaction, dead_letter_id, mandate)


# -- from the beginning to the end ------------------------------------------------------------------------


async def test_d5_five_hundred_dead_letters_are_replayed_once_each_with_progress(api: Api) -> None:
    sagas = await dead_reservations(api, 500)
    job = await begin(api, rate_per_second=1000, expected_count=500)
    runner, seen = a_runner(api), []
    while await runner.run_once():
        seen.append((await job_now(api, job))["done"])
        await may_go_on(api)

    ended = await job_now(api, job)
    assert seen == [100, 200, 300, 400, 500]
    assert (ended["state"], ended["succeeded"], ended["refused"], ended["version"]) == ("finished", 500, 0, 2)
    assert ended["finished_at"] is not None
    assert await replays(api) == dict.fromkeys(sagas, 1)
    subjects = await audited(api, "dead_letter.replay")
    assert (len(subjects), len(set(subjects))) == (500, 500)
    asked: set[UUID] = set()
    while asked != set(sagas):
        asked.add((await api.command("inventory"))[1].saga_id)


async def test_d5_an_orchestrator_works_on_jobs_by_itself(migrated_database_url: str) -> None:
    async with an_api(migrated_database_url) as api:
        api.http.headers.update(ADMIN)
        sagas = await dead_reservations(api, 3)
        job = await begin(api)
        query = "SELECT state, succeeded FROM orchestrator.jobs WHERE job_id = :job_id"
        await api.eventually(query, ("finished", 3), job_id=UUID(job["job_id"]))
        metrics = (await api.http.get("/metrics")).text
        assert set(await replays(api)) == set(sagas)
    assert 'oms_job_items_total{kind="replay",result="succeeded"} 3.0' in metrics
    assert "oms_jobs_running 0.0" in metrics


async def test_d6_a_job_and_what_it_does_stand_in_the_audit_log(api: Api) -> None:
    await dead_reservations(api, 1)
    job = await begin(api)
    await worked_through(api, a_runner(api))
    entries = (await api.http.get("/admin/audit-log")).json()["items"]

    assert [(each["action"], each["actor"], each["reason"]) for each in entries] == [
        ("dead_letter.replay", "admin", "it is open again"),
        ("job.start", "admin", "it is open again"),
    ]
    assert entries[0]["after"] == {
        "status": "replaying",
        "version": 2,
        "cause": None,
        "job_id": job["job_id"],
    }
    assert entries[1]["subject"] == f"job:{job['job_id']}"
    assert entries[1]["after"]["total"] == 1


async def test_dead_letters_are_discarded_by_a_job(api: Api) -> None:
    await dead_reservations(api, 2)
    job = await begin(api, "/admin/dead-letters/discard")
    await worked_through(api, a_runner(api))

    assert ((await job_now(api, job))["kind"], (await job_now(api, job))["succeeded"]) == ("discard", 2)
    items = (await api.http.get("/admin/dead-letters?status=discarded")).json()["items"]
    assert [each["cause"] for each in items] == ["discarded by admin"] * 2
    assert await replays(api) == {}


# -- trouble ----------------------------------------------------------------------------------------------


async def test_d5_what_was_torn_in_the_middle_goes_on_where_it_stood(api: Api) -> None:
    sagas = await dead_reservations(api, 30)
    job = await begin(api, rate_per_second=1000)
    reached, for_ever = asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        reached.set()
        await for_ever.wait()

    dying = asyncio.create_task(a_runner(api, Interrupted(api, 11, hang)).run_once())
    await reached.wait()
    for _ in range(2):  # the first asks, the second tears
        dying.cancel()
        await asyncio.sleep(0)
    await asyncio.wait([dying])
    torn = await job_now(api, job)
    assert await a_runner(api).run_once() == 0  # the lease of the dead one holds
    await may_go_on(api)
    await worked_through(api, a_runner(api))

    assert (torn["state"], torn["done"]) == ("running", 10)
    assert (await job_now(api, job))["succeeded"] == 30
    assert await replays(api) == dict.fromkeys(sagas, 1)


async def test_d5_of_two_that_believe_a_job_theirs_only_one_gets_anything_done(api: Api) -> None:
    sagas = await dead_reservations(api, 10)
    job = await begin(api)

    async def somebody_else_takes_it() -> None:
        await may_go_on(api)
        assert await a_runner(api).run_once() == 7

    await a_runner(api, Interrupted(api, 4, somebody_else_takes_it)).run_once()

    assert ((await job_now(api, job))["state"], (await job_now(api, job))["succeeded"]) == ("finished", 10)
    assert await replays(api) == dict.fromkeys(sagas, 1)
    assert len(await audited(api, "dead_letter.replay")) == 10


class Twice:
    """A unit of work whose every commit is ambiguous: the work is run again though it was committed (S17)."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def run(self, work: Callable[[Any], Awaitable[R]]) -> R:
        await self._inner.run(work)
        result: R = await self._inner.run(work)
        return result


async def test_s17_an_item_that_was_committed_is_not_done_again(api: Api) -> None:
    sagas = await dead_reservations(api, 5)
    job = await begin(api)
    unit_of_work = Twice(api.deployment.job_unit_of_work(api.front.outbox, None))
    tasks = Tasks(api.front.dead_letters, api.front.operations)
    await JobRunner(unit_of_work, tasks, api.deployment.new_id).run_once()

    assert (await job_now(api, job))["succeeded"] == 5
    assert await replays(api) == dict.fromkeys(sagas, 1)
    assert len(await audited(api, "dead_letter.replay")) == 5


async def test_what_nobody_foresaw_refuses_one_dead_letter_and_not_the_job(api: Api) -> None:
    await dead_reservations(api, 4)
    job = await begin(api)

    async def bug() -> None:
        raise RuntimeError("secret detail")

    await a_runner(api, Interrupted(api, 2, bug)).run_once()
    ended = await job_now(api, job)

    assert (ended["state"], ended["succeeded"]) == ("finished", 3)
    assert ended["refusals"] == [{"code": "unexpected_error", "count": 1, "example": "RuntimeError"}]


async def test_a_job_whose_list_is_gone_fails_and_says_so(api: Api) -> None:
    await dead_reservations(api, 1)
    job = await begin(api)
    async with api.deployment.database.begin() as connection:
        await connection.execute(text("DELETE FROM orchestrator.job_items"))
    await a_runner(api).run_once()
    failed = await job_now(api, job)

    assert (failed["state"], failed["failure"]) == ("failed", "the list of its items is not whole")


# -- cancel -----------------------------------------------------------------------------------------------


async def test_d5_once_a_cancel_is_answered_nothing_more_is_done(api: Api) -> None:
    await dead_reservations(api, 5)
    job = await begin(api)
    path = f"/admin/jobs/{job['job_id']}/cancel"
    body = {"reason": "wrong queue", "expected_version": 1}
    answers: list[httpx.Response] = []

    async def cancel() -> None:
        answers.append(await api.http.post(path, json=body))

    await a_runner(api, Interrupted(api, 3, cancel)).run_once()
    await may_go_on(api)
    assert await a_runner(api).run_once() == 0
    ended = await job_now(api, job)

    assert (answers[0].status_code, answers[0].headers["ETag"][:3]) == (200, '"2-')
    assert (answers[0].json()["state"], answers[0].json()["done"]) == ("cancelled", 2)
    assert (ended["state"], ended["done"], ended["allowed_actions"]) == ("cancelled", 2, [])
    assert (ended["ended_by"], ended["end_reason"]) == ("admin", "wrong queue")
    assert len(await replays(api)) == 2
    assert len(await audited(api, "job.cancel")) == 1
    stale = await api.http.post(path, json=body)
    again = await api.http.post(path, json={**body, "expected_version": 2})
    assert (stale.status_code, again.status_code, again.json()["code"]) == (412, 409, "ended")


# -- the selection ----------------------------------------------------------------------------------------


async def test_d5_what_dies_later_is_left_alone(api: Api) -> None:
    first = await dead_reservations(api, 3)
    await begin(api)
    later = await dead_reservations(api, 2, "died_later")
    await worked_through(api, a_runner(api))

    assert set(await replays(api)) == set(first)
    still = (await api.http.get("/admin/dead-letters?status=open")).json()["items"]
    assert {each["saga_id"] for each in still} == {str(each) for each in later}


async def test_dead_letters_are_selected_as_they_are_listed(api: Api) -> None:
    cold, warm = await dead_reservations(api, 2, "cold"), await dead_reservations(api, 1, "warm")
    await api.front.operations.cancel(cold[0], SOMEBODY)
    [boundary] = (await api.http.get("/admin/dead-letters?error_type=warm")).json()["items"]

    async def count(**selected: Any) -> int:
        body = {"filter": selected, "reason": "x", "dry_run": True}
        answer = await api.http.post(REPLAY, json=body)
        assert answer.status_code == 200, answer.text
        total: int = answer.json()["total"]
        listed = {name: value for name, value in selected.items() if name != "group"}
        found = await api.http.get("/admin/dead-letters", params={"status": "open", **listed})
        assert "group" in selected or len(found.json()["items"]) == total
        return total

    group = {"queue": "inventory.commands", "error_type": "warm"}
    assert await count() == 3 - 1  # what the cancelled saga awaited is resolved
    assert await count(error_type=["cold"]) == 1
    assert await count(error_type=["cold", "warm"]) == 2
    assert await count(queue=["payment.commands"]) == 0
    assert await count(step=["reserve"], saga_status=["running"]) == 2
    assert await count(saga_status=["compensating"]) == 0
    assert await count(saga_id=[str(warm[0])]) == 1
    assert await count(group=[group]) == 1
    assert await count(group=[{**group, "queue": "other"}]) == 0
    assert await count(created_before=boundary["created_at"]) == 1
    assert await count(created_after=boundary["created_at"]) == 1


async def test_a_selection_that_has_changed_is_refused(api: Api) -> None:
    await dead_reservations(api, 2)
    response = await api.http.post(REPLAY, json={"filter": {}, "reason": "x", "expected_count": 3})

    assert (response.status_code, response.json()["code"]) == (412, "count_changed")
    assert response.json()["current_count"] == 2
    assert (await api.http.get("/admin/jobs")).json()["items"] == []
    assert tuple(await api.row("SELECT count(*) FROM orchestrator.job_items")) == (0,)


async def test_a_selection_of_nothing_is_no_job(api: Api) -> None:
    response = await api.http.post(REPLAY, json={"filter": {"queue": ["nowhere"]}, "reason": "x"})
    assert (response.status_code, response.json()["code"]) == (409, "nothing_selected")


# -- refusals ---------------------------------------------------------------------------------------------


async def test_refusals_are_reported_with_their_reasons(api: Api) -> None:
    undone, by_hand, good = await dead_reservations(api, 3)
    await store_poison(api, b"poison")
    async with api.deployment.database.begin() as connection:
        await connection.execute(
            text("UPDATE orchestrator.dead_letters SET body_truncated = true WHERE kind = 'message'")
        )
    job = await begin(api)
    await api.front.operations.cancel(undone, SOMEBODY)
    mine = (await api.http.get("/admin/dead-letters", params={"saga_id": str(by_hand)})).json()["items"]
    await api.front.dead_letters.replay(UUID(mine[0]["dead_letter_id"]), SOMEBODY)
    await worked_through(api, a_runner(api))
    ended = await job_now(api, job)

    assert (ended["state"], ended["succeeded"], ended["refused"]) == ("finished", 1, 3)
    assert {each["code"]: each["count"] for each in ended["refusals"]} == {
        "closed": 1,
        "replayed_meanwhile": 1,
        "body_cut": 1,
    }
    assert await replays(api) == {by_hand: 1, good: 1}
    path = f"/admin/jobs/{job['job_id']}/items"
    refused = (await api.http.get(path, params={"result": "refused"})).json()["items"]
    assert {each["code"] for each in refused} == {"closed", "replayed_meanwhile", "body_cut"}
    assert all(each["explanation"] and each["at"] for each in refused)
    page = (await api.http.get(path, params={"limit": 3})).json()
    rest = (await api.http.get(path, params={"limit": 3, "cursor": page["next_cursor"]})).json()
    assert (len(page["items"]), len(rest["items"]), rest["next_cursor"]) == (3, 1, None)


@pytest.mark.parametrize("wrong", [{"dry_run": 1}, {"dry_run": "off"}, {"expected_count": True}])
async def test_a_job_is_not_begun_by_what_only_resembles_an_answer(api: Api, wrong: dict[str, Any]) -> None:
    await dead_reservations(api, 1)
    before = await everything(api)
    answer = await api.http.post(REPLAY, json={"filter": {}, "reason": "x", **wrong})

    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, f"/{next(iter(wrong))}")
    assert await everything(api) == before


async def test_a_dry_run_tells_what_would_be_refused_and_changes_nothing(api: Api) -> None:
    await dead_reservations(api, 3)
    await store_poison(api, b"poison")
    async with api.deployment.database.begin() as connection:
        await connection.execute(
            text("UPDATE orchestrator.dead_letters SET body_truncated = true WHERE kind = 'message'")
        )
    before = await everything(api)
    dry = await api.http.post(REPLAY, json={"filter": {}, "reason": "x", "dry_run": True})

    assert (dry.status_code, dry.json()["total"], dry.json()["examined"]) == (200, 4, 4)
    assert (dry.json()["would_succeed"], dry.json()["would_be_refused"]) == (3, 1)
    assert [each["code"] for each in dry.json()["refusals"]] == ["body_cut"]
    assert await everything(api) == before


async def everything(api: Api) -> list[Any]:
    """Every row of what a replay touches."""
    found: list[Any] = []
    async with api.deployment.database.connect() as connection:
        for table in ("sagas", "history", "dead_letters", "audit_log", "jobs", "job_items"):
            rows = await connection.execute(text(f"SELECT * FROM orchestrator.{table} ORDER BY 1, 2"))
            found += [repr(row) for row in rows]
    return found


# -- who may, and what is asked for -----------------------------------------------------------------------


async def test_a_viewer_looks_and_does_not_begin_or_cancel(api: Api) -> None:
    await dead_reservations(api, 1)
    job = await begin(api)
    tokens = [Token.of("other", Principal("somebody", Role.VIEWER))]
    object.__setattr__(api.dependencies, "access", Access(tokens, b"another key"))
    transport = httpx.ASGITransport(create_app(api.dependencies), raise_app_exceptions=False)
    headers = {"Authorization": "Bearer other"}
    async with httpx.AsyncClient(transport=transport, base_url="http://oms", headers=headers) as viewer:
        path = f"/admin/jobs/{job['job_id']}"
        looks = [await viewer.get(each) for each in ("/admin/jobs", path, f"{path}/items")]
        acts = [
            await viewer.post(REPLAY, json={"filter": {}, "reason": "x"}),
            await viewer.post(REPLAY, json={"filter": {}, "reason": "x", "dry_run": True}),
            await viewer.post("/admin/dead-letters/discard", json={"filter": {}, "reason": "x"}),
            await viewer.post(f"{path}/cancel", json={"reason": "x", "expected_version": 1}),
        ]
    assert [response.status_code for response in looks] == [200] * 3
    assert [response.status_code for response in acts] == [403] * 4


@pytest.mark.parametrize(
    "body",
    [
        {"reason": "x"},
        {"filter": {}},
        {"filter": {"status": ["resolved"]}, "reason": "x"},
        {"filter": {"qeue": ["x"]}, "reason": "x"},
        {"filter": {"group": [{"queue": "x"}]}, "reason": "x"},
        {"filter": {}, "reason": "x", "rate_per_second": 0},
        {"filter": {}, "reason": "x", "rate_per_second": 1001},
        {"filter": {}, "reason": "x", "expected_count": -1},
        {"filter": {"created_after": "yesterday"}, "reason": "x"},
    ],
)
async def test_a_job_that_makes_no_sense_is_refused(api: Api, body: dict[str, Any]) -> None:
    response = await api.http.post(REPLAY, json=body)
    assert (response.status_code, response.json()["code"]) == (422, "invalid")
    assert "yesterday" not in response.text


async def test_jobs_are_listed_filtered_and_not_found(api: Api) -> None:
    await dead_reservations(api, 2)
    first = await begin(api, filter={"error_type": ["warehouse_closed"]})
    await worked_through(api, a_runner(api))
    await dead_reservations(api, 1)
    second = await begin(api, "/admin/dead-letters/discard")

    async def listed(**filters: Any) -> list[str]:
        response = await api.http.get("/admin/jobs", params=filters)
        return [each["job_id"] for each in response.json()["items"]]

    assert await listed() == [second["job_id"], first["job_id"]]
    assert await listed(limit=1) == [second["job_id"]]
    assert await listed(state="finished") == [first["job_id"]]
    assert await listed(kind="discard", state=["running", "failed"]) == [second["job_id"]]
    assert first["filter"] == {"status": ["open"], "error_type": ["warehouse_closed"]}
    nobody = "/admin/jobs/01980000-0000-7000-8000-000000000001"
    assert [
        (await api.http.get(each)).status_code for each in (nobody, f"{nobody}/items", "/admin/jobs/7")
    ] == [404] * 3
    assert (await api.http.get("/admin/jobs?state=lost")).status_code == 422
    cancel = await api.http.post(f"{nobody}/cancel", json={"reason": "x", "expected_version": 1})
    assert cancel.status_code == 404
    unversioned = await api.http.post(f"/admin/jobs/{second['job_id']}/cancel", json={"reason": "x"})
    assert unversioned.status_code == 428
