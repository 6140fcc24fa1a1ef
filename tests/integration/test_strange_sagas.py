"""Definitions and inputs that nobody foresaw: each harms its own saga alone, and is told (S22, S25)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import httpx
import pytest

from orchestrator.core.definition import ForEach, SagaDefinition, Stage, Step, StepPolicy, Wait
from orchestrator.sagas.order_fulfillment import order_fulfillment
from tests.support.any_saga import ADA, ADMIN, YES, AnySaga, any_saga
from tests.support.enrolment import Enrolment, enrolment

pytestmark = pytest.mark.postgresql

COURSE: Final = enrolment(StepPolicy()).course
EACH: Final = next(stage for stage in COURSE if isinstance(stage, ForEach))
CONFIRM: Final = next(stage for stage in COURSE if isinstance(stage, Step) and stage.name == "confirm")
RESERVE: Final = next(stage for stage in COURSE if isinstance(stage, Step))


def only(*course: Stage, **changes: Any) -> SagaDefinition:
    """An enrolment of these stages."""
    return enrolment(StepPolicy(), course=course, **changes)


async def seen(made: AnySaga, path: str) -> httpx.Response:
    """A page; asked for again while the database of a busy machine does not answer in time."""
    while (response := await made.http.get(path, headers=ADMIN)).status_code == 503:
        assert "database" in response.text, response.text
    return response


async def looked_at(made: AnySaga, saga: Mapping[str, Any]) -> None:
    """Every list and page shows it, whatever became of it."""
    one = str(saga["saga_id"])
    for path in (
        "/admin/sagas",
        f"/admin/sagas/{one}",
        f"/admin/sagas/{one}/history",
        f"/admin/sagas/{one}/explain",
        f"/sagas/{one}",
        "/admin/waiting",
        "/metrics",
        "/orders",
    ):
        response = await seen(made, path)
        assert response.status_code == 200, (path, response.text)
    await made.http.post("/console/login", data={"token": "admin-token"})
    for path in ("/console/sagas", f"/console/sagas/{one}", f"/console/sagas/{one}/history", "/console"):
        assert (await seen(made, path)).status_code == 200, path


# -- a saga that ends where it starts ------------------------------------------------------------------------

SKIPPED: Final = Wait("approval", 60, when=lambda it, _: bool(it.courses))


@pytest.mark.parametrize(
    "stages", [(EACH,), (SKIPPED, EACH)], ids=["a for-each of nothing", "a wait for nothing, too"]
)
async def test_s22_a_saga_whose_stages_are_all_skipped_ends_where_it_starts(
    migrated_database_url: str, stages: tuple[Stage, ...]
) -> None:
    async with any_saga(migrated_database_url, definitions=[only(*stages)]) as made:
        key = {"Idempotency-Key": "once", "Prefer": "wait=5"}
        started = await made.http.post("/sagas/enrolment", json={"student": "Ada"}, headers=key)
        again = await made.http.post("/sagas/enrolment", json={"student": "Ada"}, headers=key)

        assert started.status_code in (200, 202), started.text
        assert (started.json()["status"], started.json()["label"]) == ("completed", "enrolled")
        assert started.json()["ended_at"] is not None
        assert again.json()["saga_id"] == started.json()["saga_id"]
        await looked_at(made, started.json())
        ended = await made.http.get("/admin/sagas?status=completed", headers=ADMIN)
        assert len(ended.json()["items"]) == 1


# -- too much, and what no database takes --------------------------------------------------------------------

ITEMS: Final[Mapping[str, Any]] = {
    "500 branches": [f"course {number}" for number in range(500)],
    "an item without an end": ["x" * 200_000],
    "an item that is no text": ["\ud800"],
    "an item that is no JSON": [float("nan")],
    "no list": None,
}


@pytest.mark.parametrize("items", ITEMS.values(), ids=ITEMS)
async def test_a_for_each_that_cannot_be_kept_starts_no_saga(migrated_database_url: str, items: Any) -> None:
    def over(given: Enrolment, results: Any) -> Any:
        return items if given.student == "Eve" else list(given.courses)

    definition = only(replace(EACH, over=over), CONFIRM)
    async with any_saga(migrated_database_url, definitions=[definition]) as made:
        failed = await made.http.post("/sagas/enrolment", json={**ADA, "student": "Eve"})
        assert (failed.status_code, failed.json()["code"]) == (500, "definition_failed")
        assert await made.count("sagas") == 0
        assert (await made.ended(await made.enrol()))["status"] == "completed"


@pytest.mark.parametrize("items", ITEMS.values(), ids=ITEMS)
async def test_such_a_for_each_on_its_way_sets_its_own_saga_aside(
    migrated_database_url: str, items: Any
) -> None:
    def over(given: Enrolment, results: Any) -> Any:
        return items if given.student == "Eve" else list(given.courses)

    definition = only(RESERVE, replace(EACH, over=over), CONFIRM)
    async with any_saga(migrated_database_url, definitions=[definition]) as made:
        bad, good = await made.enrol(student="Eve"), await made.enrol()

        stuck = await made.once(bad, lambda saga: bool(saga["incidents"]))
        assert [each["kind"] for each in stuck["incidents"]] == ["unreadable"]
        assert (await made.ended(good))["status"] == "completed"
        await looked_at(made, bad)


async def test_an_order_of_half_a_million_characters_is_refused_at_the_door(
    migrated_database_url: str,
) -> None:
    async with any_saga(migrated_database_url) as made:
        huge = await made.http.post("/sagas/enrolment", json={**ADA, "courses": ["x" * 5_000_000]})
        assert huge.status_code == 413
        deep = b'{"student": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
        header = {"Content-Type": "application/json"}
        refused = await made.http.post("/sagas/enrolment", content=deep, headers=header)
        assert refused.status_code in (400, 413, 422)
        assert await made.count("sagas") == 0


NO_SIGNALS: Final = (
    b"",
    b"null",
    b"[]",
    b"7",
    b'"yes"',
    b"{",
    b"\xff\xfe",
    b'{"approved": "perhaps"}',
    b"[" * 50_000,
)


async def test_a_signal_with_a_wrong_body_is_refused_and_changes_nothing(migrated_database_url: str) -> None:
    async with any_saga(migrated_database_url) as made:
        saga = await made.at_the_dean()
        at, header = f"/sagas/{saga['saga_id']}/signals/approval", {"Content-Type": "application/json"}
        for body in NO_SIGNALS:
            refused = await made.http.post(at, content=body, headers=header)
            assert refused.status_code in (400, 422), (body[:20], refused.text)
        huge = await made.http.post(at, json={**YES, "reason": "x" * 30_000})
        assert huge.status_code in (409, 413, 422), huge.text
        assert (await made.detail(saga))["version"] == saga["version"]
        assert (await made.signal(saga, YES)).status_code == 202


# -- another definition than the one it began with -----------------------------------------------------------


async def left_at_the_dean(url: str) -> dict[str, Any]:
    """A saga that waits for a signal, while nothing runs."""
    async with any_saga(url) as made:
        return await made.at_the_dean()


async def told_to(made: AnySaga, saga: Mapping[str, Any], action: str) -> httpx.Response:
    at, asked = f"/admin/sagas/{saga['saga_id']}", {"reason": "x", "expected_version": saga["version"]}
    return await made.http.post(f"{at}/actions/{action}", json=asked, headers=ADMIN)


async def test_a_definition_that_was_removed_leaves_its_sagas_where_they_are(
    migrated_database_url: str,
) -> None:
    saga = await left_at_the_dean(migrated_database_url)

    async with any_saga(migrated_database_url, definitions=[order_fulfillment(StepPolicy())]) as made:
        await looked_at(made, saga)
        assert "does not know enrolment" in await explained(made, saga)
        for refused in (await made.signal(saga, YES), await told_to(made, saga, "cancel")):
            assert (refused.status_code, refused.json()["code"]) == (503, "unknown_version"), refused.text
        gone = await made.http.post("/sagas/enrolment", json=ADA)
        assert gone.status_code == 404

    async with any_saga(migrated_database_url) as made:
        assert (await made.signal(saga, YES)).status_code == 202
        assert (await made.ended(saga))["label"] == "enrolled"


async def explained(made: AnySaga, saga: Mapping[str, Any]) -> str:
    found = await made.http.get(f"/admin/sagas/{saga['saga_id']}/explain", headers=ADMIN)
    return str(found.json()["summary"])


class Other(Enrolment):
    house: str


CHANGED: Final[Mapping[str, SagaDefinition]] = {
    "a step is called otherwise": only(
        replace(RESERVE, name="book_seat"),
        *COURSE[1:],
    ),
    "a step is gone": only(*COURSE[1:]),
    "the wait is gone": only(*(stage for stage in COURSE if not isinstance(stage, Wait))),
    "its input has another field": enrolment(
        StepPolicy(), input=Other, examples=(Other(student="Ada", house="north"),)
    ),
}


@pytest.mark.parametrize("changed", CHANGED.values(), ids=CHANGED)
async def test_a_version_that_was_changed_in_place_harms_its_old_sagas_alone(
    migrated_database_url: str, changed: SagaDefinition
) -> None:
    saga = await left_at_the_dean(migrated_database_url)

    async with any_saga(migrated_database_url, definitions=[changed]) as made:
        await looked_at(made, saga)
        for refused in (await made.signal(saga, YES), await told_to(made, saga, "cancel")):
            assert (refused.status_code, refused.json()["code"]) == (409, "unreadable"), refused.text
        new = await made.http.post(
            "/sagas/enrolment", json={**ADA, "house": "north"} if changed.input is Other else ADA
        )
        assert new.status_code == 202, new.text
        await looked_at(made, new.json())

    async with any_saga(migrated_database_url) as made:
        assert (await made.signal(saga, YES)).status_code == 202
        assert (await made.ended(saga))["label"] == "enrolled"
