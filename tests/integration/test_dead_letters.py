"""Dead letters as strangers make them: collected, read and acted on whatever they say (S18, S25, D4)."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from typing import Any, Final
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from contracts.envelope import REPLAY_OF
from contracts.failures import FIRST_FAILURE_AT, LAST_FAILURE_AT
from contracts.routing import OUTCOMES_QUEUE, dead_letter_queue
from tests.conformance.correspondence import PATIENCE_S, message
from tests.integration.test_http_admin import store_poison
from tests.support.api import ADMIN, Api, an_api

pytestmark = pytest.mark.postgresql


@pytest.fixture
async def api(migrated_database_url: str) -> AsyncIterator[Api]:
    async with an_api(migrated_database_url) as made:
        made.http.headers.update(ADMIN)
        yield made


def dies(api: Api, **headers: Any) -> None:
    """Put a message of nobody's among the dead letters of outcomes."""
    api.publish(message(routing_key=dead_letter_queue(OUTCOMES_QUEUE), headers=headers))


async def collected(api: Api, deaths: int) -> list[dict[str, Any]]:
    """The dead letters, once so many deaths are counted on them."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found: list[dict[str, Any]] = (await api.http.get("/admin/dead-letters")).json()["items"]
            if sum(dead["deaths"] for dead in found) == deaths:
                return found
            await asyncio.sleep(0.05)


OUTSIDE: Final = (
    "9999-12-31T23:59:59-14:00",
    "0001-01-01T00:00:00+14:00",
    "1999-12-31T23:59:59Z",
    "2500-01-01T00:00:00Z",
)


async def test_s25_no_time_that_a_stranger_wrote_keeps_a_dead_letter_from_anybody(api: Api) -> None:
    """What was told is believed within reason; what an earlier release has believed is read all the same."""
    right = "2026-01-02T03:04:05+14:00"
    for first, last in ((OUTSIDE[0], OUTSIDE[1]), (OUTSIDE[2], OUTSIDE[3]), (right, "noon")):
        dies(api, **{FIRST_FAILURE_AT: first, LAST_FAILURE_AT: last, "odd": math.nan})
    found = await collected(api, 3)
    told = sorted((dead["first_failed_at"], dead["last_failed_at"], dead["created_at"]) for dead in found)
    assert (told[0][0], told[0][1]) == ("2026-01-01T13:04:05Z", told[0][2])
    assert all(first == last == collected for first, last, collected in told[1:])

    times = "first_failed_at = '0005-01-01 BC', last_failed_at = '12000-01-01'"
    async with api.deployment.database.begin() as connection:
        await connection.execute(text(f"UPDATE orchestrator.dead_letters SET {times}"))
    assert len((await api.http.get("/admin/dead-letters")).json()["items"]) == 3
    [group] = (await api.http.get("/admin/dead-letters/groups")).json()["items"]
    assert (group["first_failed_at"][:4], group["last_failed_at"][:4]) == ("2000", "9999")
    for dead, action in zip(found, ("replay", "replay", "discard"), strict=True):
        at = f"/admin/dead-letters/{dead['dead_letter_id']}"
        assert (await api.http.get(at)).json()["last_failed_at"][:4] == "9999"
        asked = {"reason": "looked at it", "expected_version": 1}
        assert (await api.http.post(f"{at}/{action}", json=asked)).status_code == 200


async def test_d4_what_came_from_no_queue_of_ours_is_not_replayed(api: Api) -> None:
    await store_poison(api, b"{}")
    async with api.deployment.database.begin() as connection:
        await connection.execute(text("UPDATE orchestrator.dead_letters SET queue = 'retired.commands'"))
    [dead] = (await api.http.get("/admin/dead-letters")).json()["items"]
    path = f"/admin/dead-letters/{dead['dead_letter_id']}/replay"
    for dry_run in (True, False):
        asked = {"reason": "try it", "expected_version": dead["version"], "dry_run": dry_run}
        refused = await api.http.post(path, json=asked)
        assert (refused.status_code, refused.json()["code"]) == (409, "no_such_queue")
        assert "retired.commands" in refused.json()["detail"]
    job = {"filter": {}, "reason": "try all", "dry_run": True}
    dry = (await api.http.post("/admin/dead-letters/replay", json=job)).json()
    assert [each["code"] for each in dry["refusals"]] == ["no_such_queue"]


async def test_s18_two_collectors_lock_the_same_works_in_the_same_order(api: Api) -> None:
    """Whatever comes first: one that waits for the first work holds no later one."""
    first, later = UUID(int=1), UUID(int=2)
    for work in (later, first):
        dies(api, **{REPLAY_OF: str(work)})
    await collected(api, 2)
    lock = "SELECT FROM orchestrator.dead_letters WHERE work_key = :key FOR UPDATE NOWAIT"
    async with api.deployment.database.connect() as other:
        await other.execute(text(lock), {"key": f"message:{first}"})
        for work in (later, first):
            dies(api, **{REPLAY_OF: str(work)})
        await somebody_waits(other)
        await other.execute(text(lock), {"key": f"message:{later}"})
        await other.commit()
    assert [dead["deaths"] for dead in await collected(api, 4)] == [2, 2]


async def somebody_waits(connection: AsyncConnection) -> None:
    here = "datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.timeout(PATIENCE_S):
        while not await connection.scalar(text(f"SELECT count(*) FROM pg_stat_activity WHERE {here}")):
            await connection.execute(text("SELECT pg_stat_clear_snapshot()"))
            await asyncio.sleep(0.02)
