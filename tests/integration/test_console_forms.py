"""Forms that are sent twice, late, from another session or with words that cannot be kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from messaging.unit_of_work import StorageUnavailable
from orchestrator.http.access import Access, Principal, Token
from orchestrator.http.app import create_app
from orchestrator.http.console import notes
from orchestrator.service import Pace
from orchestrator.tokens import Role
from tests.integration.test_console import SCRIPT, Page, page, press, session_cookie
from tests.integration.test_console_jobs import NEW, begun
from tests.integration.test_http_admin import a_dead_charge
from tests.integration.test_jobs import dead_reservations
from tests.support.api import ADMIN, Api, an_api

pytestmark = pytest.mark.postgresql

DONE_BEFORE = "This was done already"
LINES = "the gateway is back:\n\tsee the mail \N{THUMBS UP SIGN}\U0001f469\u200d\U0001f4bb of Zoë\n\n再試行"


@pytest.fixture
async def api(migrated_database_url: str) -> AsyncIterator[Api]:
    """Somebody has signed in as the admin; jobs go on when a test says so."""
    async with an_api(migrated_database_url, pace=Pace(jobs_s=None)) as made:
        await made.http.post("/console/login", data={"token": "admin-token"})
        made.http.headers.update(ADMIN)
        yield made


async def a_saga(api: Api) -> str:
    """The address of the page of a saga."""
    return f"/console/sagas/{(await api.order())['saga_id']}"


async def filled_in(api: Api, at: str, action: str, **fields: str) -> dict[str, str]:
    """A form of a page as a browser would send it."""
    return {**(await page(api, at)).forms[action], "reason": "because", **fields}


async def entries(api: Api) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await api.http.get("/admin/audit-log")).json()["items"]
    return found


async def actions_on(api: Api, kind: str) -> list[tuple[str, str]]:
    """Where each form of one kind of thing is, and where it is sent."""
    if kind == "saga":
        at = await a_saga(api)
        return [(at, f"{at}/retry"), (at, f"{at}/cancel")]
    if kind == "job":
        await dead_reservations(api, 2)
        at = await begun(api)
        return [(at, f"{at}/cancel")]
    _, dead = await a_dead_charge(api)
    at = f"/console/dead-letters/{dead['dead_letter_id']}"
    return [(at, f"{at}/replay"), (at, f"{at}/discard")]


# -- twice ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["saga", "job", "dead letter"])
async def test_a_form_that_is_sent_again_is_told_as_done(api: Api, kind: str) -> None:
    for at, action in await actions_on(api, kind):
        form = await filled_in(api, at, action)
        before = len(await entries(api))
        first = await api.http.post(action, data=form)
        assert (first.status_code, first.headers["Location"]) == (303, at)
        assert DONE_BEFORE not in (await page(api, at)).words

        again = await api.http.post(action, data=form)
        assert (again.status_code, again.headers["Location"]) == (303, at), Page(again.text).words
        shown = (await page(api, at)).words
        assert DONE_BEFORE in shown
        assert "Somebody was faster" not in shown
        assert len(await entries(api)) == before + 1


@pytest.mark.parametrize("kind", ["saga", "job", "dead letter"])
async def test_a_double_click_is_told_as_done_both_times(api: Api, kind: str) -> None:
    for at, action in await actions_on(api, kind):
        form = await filled_in(api, at, action)
        before = len(await entries(api))
        both = await asyncio.gather(*(api.http.post(action, data=form) for _ in range(2)))
        assert [each.status_code for each in both] == [303, 303]
        assert len(await entries(api)) == before + 1


async def test_one_form_begins_one_job(api: Api) -> None:
    await dead_reservations(api, 2)
    form = await filled_in(api, NEW, "/console/jobs", rate_per_second="5")
    several = await asyncio.gather(*(api.http.post("/console/jobs", data=form) for _ in range(3)))
    again = await api.http.post("/console/jobs", data=form)

    assert [each.status_code for each in (*several, again)] == [303] * 4
    assert len({each.headers["Location"] for each in (*several, again)}) == 1
    assert tuple(await api.row("SELECT count(*) FROM orchestrator.jobs")) == (1,)
    assert DONE_BEFORE in (await page(api, again.headers["Location"])).words

    another = await filled_in(api, NEW, "/console/jobs", rate_per_second="5")
    assert (await api.http.post("/console/jobs", data=another)).headers["Location"] != again.headers[
        "Location"
    ]


async def test_a_made_up_name_of_a_form_finds_no_job(api: Api) -> None:
    await dead_reservations(api, 1)
    at = await begun(api)
    for name in ("", "x", "x.y", "00000000-0000-7000-8000-000000000000.abc"):
        form = await filled_in(api, NEW, "/console/jobs", rate_per_second="5", form=name)
        assert (await api.http.post("/console/jobs", data=form)).headers["Location"] != at


async def test_who_was_faster_is_told_by_name(api: Api) -> None:
    at = await a_saga(api)
    form = await filled_in(api, at, f"{at}/retry", reason="mine")
    version = {"reason": "over the API", "expected_version": 1}
    await api.http.post(f"/admin/sagas/{at.rpartition('/')[2]}/actions/cancel", json=version)
    late = await api.http.post(f"{at}/retry", data=form)

    words = Page(late.text).words
    assert late.status_code == 412
    assert "Somebody was faster: admin (you, or somebody with the same token)" in words
    assert "cancel, because “over the API”" in words
    assert Page(late.text).typed[f"{at}/retry"]["reason"] == "mine"


async def test_what_no_person_has_changed_is_nobodys_doing(api: Api) -> None:
    order = await api.order()
    at = f"/console/sagas/{order['saga_id']}"
    form = await filled_in(api, at, f"{at}/retry")
    await api.reserved()
    await api.is_now(order, "reserved")
    late = await api.http.post(f"{at}/retry", data=form)

    assert late.status_code == 412
    assert "It has changed since this page was made" in Page(late.text).words
    assert "Somebody" not in Page(late.text).words


async def test_the_api_keeps_refusing_what_is_stale(api: Api) -> None:
    at = f"/admin/sagas/{(await api.order())['saga_id']}/actions/retry"
    asked = {"reason": "once", "expected_version": 1}
    assert [(await api.http.post(at, json=asked)).status_code for _ in range(2)] == [200, 412]


# -- what is said -----------------------------------------------------------------------------------------


async def test_nothing_is_said_because_an_address_says_so(api: Api) -> None:
    await dead_reservations(api, 1)
    job, saga = await begun(api), await a_saga(api)
    await page(api, job)
    for at in (saga, job):
        for done in ("retry", "cancel", "resolve", "replay", "discard", "started", SCRIPT):
            response = await api.http.get(at, params={"done": done})
            assert 'class="good"' not in response.text


async def test_what_was_done_is_said_once(api: Api) -> None:
    at = await a_saga(api)
    await press(api, at, f"{at}/cancel", reason="fraud")
    fresh = await api.http.get(at, headers={"X-Live": "1"})
    assert "It is being undone" not in Page(fresh.text).words
    assert "It is being undone" in (await page(api, at)).words
    assert "It is being undone" not in (await page(api, at)).words


async def test_what_was_done_is_said_on_its_own_page(api: Api) -> None:
    at, other = await a_saga(api), await a_saga(api)
    await press(api, at, f"{at}/retry", reason="try")
    [(name, note)] = [pair for pair in api.http.cookies.items() if pair[0].startswith("oms_note")]
    elsewhere = await api.http.get(other, headers={"Cookie": f"{session_cookie(api)}; {name}={note}"})
    assert "Sent once more" not in Page(elsewhere.text).words
    for bad in (note[:-1], f"9{note}", "x", ".", "9999999999.eA.x"):
        forged = await api.http.get(at, headers={"Cookie": f"{session_cookie(api)}; {name}={bad}"})
        assert (forged.status_code, "Sent once more" in Page(forged.text).words) == (200, False)


async def test_what_was_done_is_not_said_much_later(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notes, "LIFETIME_S", -1)
    at = await a_saga(api)
    response = await press(api, at, f"{at}/retry", reason="try")
    note = response.headers["Set-Cookie"].partition(";")[0]
    late = await api.http.get(at, headers={"Cookie": f"{session_cookie(api)}; {note}"})
    assert "Sent once more" not in Page(late.text).words


async def test_a_second_cancel_of_the_present_version_changes_nothing_and_says_so(api: Api) -> None:
    at = await a_saga(api)
    await press(api, at, f"{at}/cancel", reason="fraud")
    form = await filled_in(api, at, f"{at}/retry")
    await api.http.post(f"{at}/cancel", data=form)
    assert "nothing has changed" in (await page(api, at)).words


# -- sessions ---------------------------------------------------------------------------------------------


async def signed_out(api: Api, action: str, form: dict[str, str]) -> Page:
    """What a form is answered by once the session has ended."""
    api.http.cookies.clear()
    response = await api.http.post(action, data=form)
    shown = Page(response.text)
    assert (response.status_code, "Your session has ended" in shown.words) == (401, True)
    return shown


@pytest.mark.parametrize("kind", ["saga", "job", "dead letter"])
async def test_what_was_typed_outlives_the_session(api: Api, kind: str) -> None:
    for at, action in await actions_on(api, kind):
        form = await filled_in(api, at, action, reason=f"{LINES} {SCRIPT}")
        before = len(await entries(api))
        door = await signed_out(api, action, form)
        wrong = await api.http.post(action, data={**door.forms[action], "token": "wrong"})
        assert wrong.status_code == 401
        entered = await api.http.post(action, data={**Page(wrong.text).forms[action], "token": "admin-token"})

        shown = Page(entered.text)
        assert entered.status_code == 200
        assert "Nothing was done yet" in shown.words
        assert shown.typed[action]["reason"] == f"{LINES} {SCRIPT}"
        assert len(await entries(api)) == before
        confirmed = await api.http.post(action, data={**shown.forms[action], **shown.typed[action]})
        assert (confirmed.status_code, confirmed.headers["Location"]) == (303, at)
        assert (await entries(api))[0]["reason"] == f"{LINES} {SCRIPT}"


async def test_a_job_that_was_asked_for_outlives_the_session(api: Api) -> None:
    await dead_reservations(api, 2)
    form = await filled_in(api, NEW, "/console/jobs", reason=LINES, rate_per_second="7")
    door = await signed_out(api, "/console/jobs", form)
    entered = await api.http.post(
        "/console/jobs", data={**door.forms["/console/jobs"], "token": "admin-token"}
    )

    shown = Page(entered.text)
    assert shown.typed["/console/jobs"]["reason"] == LINES
    assert 'value="7"' in entered.text
    assert tuple(await api.row("SELECT count(*) FROM orchestrator.jobs")) == (0,)


async def test_a_form_of_another_site_is_not_kept_for_anybody(api: Api) -> None:
    at = await a_saga(api)
    api.http.cookies.clear()
    form = {"reason": "theirs", "expected_version": "1"}
    for site in ("cross-site", "same-site"):
        response = await api.http.post(f"{at}/cancel", data=form, headers={"Sec-Fetch-Site": site})
        assert (response.status_code, "theirs" in response.text) == (403, False)


async def test_a_token_alone_does_nothing(api: Api) -> None:
    at = await a_saga(api)
    api.http.cookies.clear()
    form = {"reason": "x", "expected_version": "1", "token": "admin-token"}
    response = await api.http.post(f"{at}/cancel", data=form)
    assert (response.status_code, "Nothing was done yet" in Page(response.text).words) == (200, True)
    assert await entries(api) == []


async def test_a_form_from_before_another_sign_in_is_kept_and_asked_for_again(api: Api) -> None:
    at = await a_saga(api)
    form = await filled_in(api, at, f"{at}/cancel", reason="typed before")
    await api.http.post("/console/login", data={"token": "admin-token"})
    response = await api.http.post(f"{at}/cancel", data=form)

    shown = Page(response.text)
    assert (response.status_code, await entries(api)) == (403, [])
    assert "not from your present session, in which you are admin" in shown.words
    assert shown.typed[f"{at}/cancel"]["reason"] == "typed before"
    confirmed = {**shown.forms[f"{at}/cancel"], **shown.typed[f"{at}/cancel"]}
    assert (await api.http.post(f"{at}/cancel", data=confirmed)).status_code == 303


async def test_signing_out_of_a_session_before_is_not_silently_nothing(api: Api) -> None:
    old = (await page(api, "/console")).forms["/console/logout"]
    await api.http.post("/console/login", data={"token": "admin-token"})
    response = await api.http.post("/console/logout", data=old)
    shown = Page(response.text)
    assert (response.status_code, "you are still signed in" in shown.words) == (403, True)
    await api.http.post("/console/logout", data=shown.forms["/console/logout"])
    assert (await api.http.get("/console")).status_code == 303


async def test_two_installations_on_one_host_leave_each_other_alone(api: Api) -> None:
    async with an_installation(api, b"another key") as other:
        other.cookies = api.http.cookies
        await other.post("/console/login", data={"token": "other"})
        assert (await other.get("/console")).status_code == 200
        assert (await api.http.get("/console")).status_code == 200
        leaving = Page((await other.get("/console")).text).forms["/console/logout"]
        await other.post("/console/logout", data=leaving)
        assert (await other.get("/console")).status_code == 303
        assert (await api.http.get("/console")).status_code == 200


def an_installation(api: Api, key: bytes) -> httpx.AsyncClient:
    """A browser at the console of another installation on the same host."""
    dependencies = api.dependencies
    mine = dependencies.access
    tokens = [Token.of("other", Principal("somebody", Role.ADMIN))]
    object.__setattr__(dependencies, "access", Access(tokens, key))
    app = create_app(dependencies)
    object.__setattr__(dependencies, "access", mine)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://oms")


async def test_over_tls_no_other_host_can_set_the_session(api: Api) -> None:
    response = await api.http.post("https://oms/console/login", data={"token": "admin-token"})
    cookie = response.headers["Set-Cookie"]
    assert cookie.startswith("__Host-oms_session_")
    assert {"Secure", "Path=/", "HttpOnly", "SameSite=strict"} <= set(cookie.split("; "))
    assert "Domain" not in cookie
    assert (await api.http.get("https://oms/console")).status_code == 200


async def test_an_actions_address_leads_to_its_page(api: Api) -> None:
    at = await a_saga(api)
    for action in ("retry", "cancel", "resolve"):
        assert (await api.http.get(f"{at}/{action}")).headers["Location"] == at


# -- words ------------------------------------------------------------------------------------------------


async def test_a_reason_may_have_lines_and_pictures(api: Api) -> None:
    at = await a_saga(api)
    typed = LINES.replace("\n", "\r\n")
    assert (await press(api, at, f"{at}/retry", reason=f"\r\n {typed} ")).status_code == 303
    assert (await entries(api))[0]["reason"] == LINES
    text = (await api.http.get("/console/audit-log")).text
    assert LINES in text.replace("\r\n", "\n")


async def test_the_api_takes_the_same_reasons(api: Api) -> None:
    at = f"/admin/sagas/{(await api.order())['saga_id']}/actions/retry"
    for version, sent in enumerate((LINES, LINES.replace("\n", "\r\n"), LINES.replace("\n", "\r")), start=1):
        response = await api.http.post(at, json={"reason": sent, "expected_version": version})
        assert response.status_code == 200, response.text
    assert {entry["reason"] for entry in await entries(api)} == {LINES}


@pytest.mark.parametrize(
    ("reason", "why"),
    [
        ("x" * 501, "at most 500 characters"),
        ("  \n ", "more than blanks"),
        ("a\x1b[2J", "no control characters"),
        ("a\x00b", "no control characters"),
    ],
)
async def test_a_reason_that_cannot_be_kept_says_why_and_stays(api: Api, reason: str, why: str) -> None:
    at = await a_saga(api)
    response = await press(api, at, f"{at}/retry", reason=reason)
    shown = Page(response.text)
    assert response.status_code == 422
    assert "This cannot be used: reason. Reason: it should" in shown.words
    assert why in shown.words
    assert shown.typed[f"{at}/retry"]["reason"].startswith(reason[:1])
    assert await entries(api) == []

    over_api = await api.http.post(
        f"/admin{at.removeprefix('/console')}/actions/retry", json={"reason": reason, "expected_version": 1}
    )
    [error] = over_api.json()["errors"]
    assert (error["pointer"], why in error["detail"]) == ("/reason", True)


async def test_each_form_keeps_its_own_words(api: Api) -> None:
    _, dead = await a_dead_charge(api)
    at = f"/console/dead-letters/{dead['dead_letter_id']}"
    response = await press(api, at, f"{at}/discard", reason="for the bin", expected_version="9")
    typed = Page(response.text).typed
    assert typed[f"{at}/discard"]["reason"] == "for the bin"
    assert typed[f"{at}/replay"]["reason"] == ""


async def test_a_line_break_in_a_reference_is_refused_by_name(api: Api) -> None:
    at = await a_saga(api)
    form = await filled_in(api, at, f"{at}/retry", step="ship", verdict="took_effect", reference="a\nb")
    response = await api.http.post(f"{at}/resolve", data=form)
    assert response.status_code == 422
    assert "Reference: it may have no line breaks" in Page(response.text).words


async def test_a_database_in_trouble_keeps_what_was_typed(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    at = await a_saga(api)
    form = await filled_in(api, at, f"{at}/retry", reason=LINES)

    async def trouble(*_: Any) -> None:
        raise StorageUnavailable("no")

    with monkeypatch.context() as patched:
        patched.setattr(api.queries.sagas, "saga", trouble)
        patched.setattr(api.dependencies.operations, "retry", trouble)
        response = await api.http.post(f"{at}/retry", data=form)
    shown = Page(response.text)
    assert response.status_code == 503
    assert (await api.http.post(f"{at}/retry", data=shown.forms[f"{at}/retry"])).status_code == 303
    assert (await entries(api))[0]["reason"] == LINES
