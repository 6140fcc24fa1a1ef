"""Jobs in the console: from a list of dead letters over a dry run to a page that shows how far it is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from orchestrator.service import Pace
from orchestrator.tokens import Role
from tests.integration.test_console import SCRIPT, Page, as_a, page, press
from tests.integration.test_jobs import a_runner, dead_reservations, replays, worked_through
from tests.support.api import ADMIN, Api, an_api

pytestmark = pytest.mark.postgresql

NEW = "/console/jobs/new?kind=replay&queue=inventory.commands&error_type=warehouse_closed"


@pytest.fixture
async def api(migrated_database_url: str) -> AsyncIterator[Api]:
    """Somebody has signed in as the admin; jobs go on when a test says so."""
    async with an_api(migrated_database_url, pace=Pace(jobs_s=None)) as made:
        await made.http.post("/console/login", data={"token": "admin-token"})
        made.http.headers.update(ADMIN)
        yield made


def links(shown: Page, words: str) -> list[str]:
    return [each["href"] or "" for _, each in shown.tags if words in (each.get("href") or "")]


async def begun(api: Api, at: str = NEW, **fields: str) -> str:
    """The address of a job that has begun from a page."""
    response = await press(api, at, "/console/jobs", **{"reason": "open again", **fields})
    assert response.status_code == 303, response.text
    return response.headers["Location"].partition("?")[0]


async def test_a_group_is_replayed_from_its_dry_run_to_its_end(api: Api) -> None:
    sagas = await dead_reservations(api, 3)
    groups = await page(api, "/console/dead-letters")
    [new] = links(groups, "kind=replay")
    dry = await page(api, new)
    assert "Replay 3 dead letters" in dry.words
    assert "Would be sent once more3" in dry.words
    assert await replays(api) == {}

    response = await press(api, new, "/console/jobs", reason="open again", rate_per_second="1000")
    at = response.headers["Location"]
    running = await page(api, at)
    assert (response.status_code, "The job has begun" in running.words) == (303, True)
    assert [each["value"] for tag, each in running.tags if tag == "progress"] == ["0"]
    assert {"http-equiv": "refresh", "content": "3"} in [each for tag, each in running.tags if tag == "meta"]
    await worked_through(api, a_runner(api))
    ended = await page(api, at.partition("?")[0])

    assert "finished" in ended.words
    assert [(each["value"], each["max"]) for tag, each in ended.tags if tag == "progress"] == [("3", "3")]
    assert not [each for tag, each in ended.tags if tag == "meta" and "http-equiv" in each]
    assert "Nothing: it is finished" in ended.words
    assert set(await replays(api)) == set(sagas)
    assert "open again" in (await page(api, "/console/jobs")).words
    audit = await page(api, "/console/audit-log?action=job.start")
    assert links(audit, at.partition("?")[0]) == [at.partition("?")[0]]


async def test_a_list_is_replayed_as_it_is_filtered(api: Api) -> None:
    await dead_reservations(api, 2, "cold")
    await dead_reservations(api, 1, "warm")
    listed = "/console/dead-letters/messages"
    shown = await page(api, f"{listed}?error_type=cold&step=&status=open&created_before=2099-01-01T00:00")
    [new] = links(shown, "kind=replay")

    assert "Replay 2 dead letters" in (await page(api, new)).words
    assert (
        "Replay 3 dead letters" in (await page(api, links(await page(api, listed), "kind=replay")[0])).words
    )
    assert links(await page(api, f"{listed}?status=resolved"), "kind=") == []
    at = await begun(api, links(shown, "kind=discard")[0])
    await worked_through(api, a_runner(api))
    assert "Discard 2 dead letters" in (await page(api, at)).words
    assert "cold" in (await page(api, at)).words


async def test_what_has_changed_since_the_dry_run_is_looked_at_again(api: Api) -> None:
    await dead_reservations(api, 1)
    form = (await page(api, NEW)).forms["/console/jobs"]
    await dead_reservations(api, 2, already=1)
    fields = {**form, "reason": "mine", "rate_per_second": "7"}
    for late in (fields, {**fields, "expected_count": "2"}):
        answer = await api.http.post("/console/jobs", data=late)
        shown = Page(answer.text)
        assert answer.status_code == 412
        assert "not as many as you have seen: there are 3 now" in shown.words
        assert shown.typed["/console/jobs"]["reason"] == "mine"
        assert 'value="7"' in answer.text
        assert shown.forms["/console/jobs"]["expected_count"] == "3"
    assert "There are no jobs" in (await page(api, "/console/jobs")).words


async def test_a_job_is_cancelled_by_its_page(api: Api) -> None:
    await dead_reservations(api, 2)
    at = await begun(api)
    form = (await page(api, at)).forms[f"{at}/cancel"]
    response = await press(api, at, f"{at}/cancel", reason="wrong queue")
    ended = await page(api, response.headers["Location"])
    late = await api.http.post(f"{at}/cancel", data={**form, "reason": "again"})

    assert "nothing more is" in ended.words
    assert "Cancelled by adminwrong queue" in ended.words
    assert late.status_code == 412
    assert "Somebody was faster" in Page(late.text).words
    assert await a_runner(api).run_once() == 0
    assert (await api.http.get(f"{at}/cancel")).headers["Location"] == at


async def test_refused_dead_letters_stand_on_the_jobs_page(api: Api) -> None:
    await dead_reservations(api, 2)
    at = await begun(api)
    [one, _] = (await api.http.get("/admin/dead-letters")).json()["items"]
    body = {"reason": "by hand", "expected_version": 1}
    await api.http.post(f"/admin/dead-letters/{one['dead_letter_id']}/discard", json=body)
    await worked_through(api, a_runner(api))
    shown = await page(api, f"{at}?result=refused")

    assert "it is discarded already" in shown.words
    assert f"/console/dead-letters/{one['dead_letter_id']}" in links(shown, "/console/dead-letters/")
    assert "None of them is like this" in (await page(api, f"{at}?result=pending")).words
    [older] = links(await page(api, f"{at}?limit=1"), "cursor=")
    assert links(await page(api, f"{at}{older}"), "cursor=") == []


async def test_a_viewer_sees_jobs_and_begins_none(api: Api) -> None:
    await dead_reservations(api, 1)
    form = (await page(api, NEW)).forms["/console/jobs"]
    at = await begun(api)
    async with as_a(Role.VIEWER, api) as other:
        await other.post("/console/login", data={"token": "other"})
        seen = Page((await other.get(at)).text)
        groups = Page((await other.get("/console/dead-letters")).text)
        csrf = {"csrf": seen.forms["/console/logout"]["csrf"], "reason": "x"}
        refused = [
            await other.get(NEW),
            await other.post("/console/jobs", data={**form, **csrf}),
            await other.post(f"{at}/cancel", data={**csrf, "expected_version": "1"}),
        ]

    assert "lets you look, not act" in seen.words
    assert f"{at}/cancel" not in seen.forms
    assert links(groups, "/console/jobs/new") == []
    assert [response.status_code for response in refused] == [403] * 3


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"filter": "{"}, "This cannot be used: filter"),
        ({"filter": "[]"}, "This cannot be used: filter"),
        ({"filter": '{"status": ["resolved"]}'}, "This cannot be used: status"),
        ({"kind": SCRIPT}, "This cannot be used: kind"),
        ({"rate_per_second": "fast"}, "This cannot be used: rate per second"),
        ({"reason": ""}, "This cannot be used: reason"),
    ],
)
async def test_a_form_that_makes_no_sense_begins_nothing(
    api: Api, fields: dict[str, str], words: str
) -> None:
    await dead_reservations(api, 1)
    sent: dict[str, Any] = {"reason": "x", "rate_per_second": "5", **fields}
    response: httpx.Response = await press(api, NEW, "/console/jobs", **sent)
    assert response.status_code == 422
    assert words in Page(response.text).words
    assert "<script>alert" not in response.text
    assert tuple(await api.row("SELECT count(*) FROM orchestrator.jobs")) == (0,)


async def test_what_others_wrote_shows_as_text(api: Api) -> None:
    await dead_reservations(api, 1)
    new = "/console/jobs/new?" + str(httpx.QueryParams({"queue": ["inventory.commands", SCRIPT]}))
    at = await begun(api, new, reason=SCRIPT)
    for path in (new, at, "/console/jobs"):
        text = (await api.http.get(path)).text
        assert SCRIPT in Page(text).words
        assert "<script>alert" not in text


async def test_a_selection_of_nothing_offers_no_job(api: Api) -> None:
    shown = await page(api, NEW)
    assert "No open dead letter is like this" in shown.words
    assert "/console/jobs" not in shown.forms
    assert "Not found" in (await page(api, "/console/jobs/7", 404)).words


async def test_sagas_are_retried_as_their_list_is_filtered(api: Api) -> None:
    sagas = await dead_reservations(api, 2)
    listed = await page(api, "/console/sagas?incident=dead_letter")
    assert "Act on all of these" in listed.words
    new = "/console/jobs/new?incident=dead_letter&kind=retry&of_step=&verdict="
    dry = await page(api, new)
    assert "Retry 2 sagas" in dry.words
    assert "Would be asked for once more2" in dry.words
    at = await begun(api, new, rate_per_second="1000")
    await worked_through(api, a_runner(api))

    assert await replays(api) == dict.fromkeys(sagas, 1)
    ended = await page(api, at)
    assert "finished" in ended.words
    for saga_id in sagas:
        assert links(ended, f"/console/sagas/{saga_id}")


async def test_a_verdict_on_many_sagas_needs_to_be_whole(api: Api) -> None:
    await dead_reservations(api, 1)
    response = await api.http.get("/console/jobs/new?incident=any&kind=resolve&of_step=reserve&verdict=")
    assert response.status_code == 422
    assert "A verdict needs its step" in response.text

    whole = "/console/jobs/new?incident=any&kind=resolve&of_step=reserve&verdict=no_effect"
    assert "step reserve, verdict no_effect" in (await page(api, whole)).words
    at = await begun(api, whole)
    await worked_through(api, a_runner(api))
    assert "Resolve 1 sagas" in (await page(api, at)).words
