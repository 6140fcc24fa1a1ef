"""Signing in at the company's own provider, with one that is made by hand to do what no good one does."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jsonschema
import psycopg
import pytest
import pytest_asyncio
from sqlalchemy import make_url

from oms.processes import stack
from oms.settings import load_settings
from orchestrator.http.console.attempts import MOST
from orchestrator.oidc.code_flow import LOGOUT_EVENT
from tests.integration.test_console import Page
from tests.support.issuers import AUDIENCE, CLIENT, MadeIssuer, SigningKey, a_made_issuer, claims
from tests.support.servers import Databases
from tests.system.deployment import an_order, free_port, run_oms

pytestmark = [pytest.mark.postgresql, pytest.mark.asyncio(loop_scope="module")]

ADMIN_TOKEN = "an-admin-token"


class Place:
    """An installation whose people sign in at the provider."""

    def __init__(self, url: str, database_url: str, issuer: MadeIssuer) -> None:
        self.url = url
        self.database_url = database_url
        self.issuer = issuer
        self._addresses = count()

    def browser(self) -> httpx.AsyncClient:
        """Somebody's browser, without a session, at an address of its own."""
        at = next(self._addresses)
        transport = httpx.AsyncHTTPTransport(local_address=f"127.1.{at // 250}.{at % 250 + 1}")
        return httpx.AsyncClient(base_url=self.url, transport=transport)

    async def forget(self) -> None:
        """Nobody has ever signed in."""
        url = make_url(self.database_url).set(drivername="postgresql").render_as_string(hide_password=False)
        async with await psycopg.AsyncConnection.connect(url) as connection:
            await connection.execute("TRUNCATE orchestrator.people, orchestrator.audit_log")

    async def there(self, browser: httpx.AsyncClient, wanted: str = "/console") -> dict[str, str]:
        """Go to the provider, and sign in there; what the provider was sent."""
        answer = await browser.get("/console/login/provider", params={"next": wanted})
        assert answer.status_code == 303, answer.text
        self.issuer.codes.add("a-code")
        return self.issuer.sent_to(answer.headers["Location"])

    async def back(self, browser: httpx.AsyncClient, sent: dict[str, str], **changes: Any) -> httpx.Response:
        """Come back with a code, or with what the provider says instead."""
        answer = {"code": "a-code", "state": sent["state"], **changes}
        told = {name: value for name, value in answer.items() if value is not None}
        return await browser.get("/console/login/callback", params=told)

    async def signed_in(self, browser: httpx.AsyncClient, wanted: str = "/console") -> httpx.Response:
        """All of it; the page that leads on."""
        answer = await self.back(browser, await self.there(browser, wanted))
        assert answer.status_code == 200, answer.text
        return answer

    async def is_in(self, browser: httpx.AsyncClient) -> bool:
        """Whether somebody may look at the console."""
        answer = await browser.get("/console/sagas")
        assert answer.status_code in (200, 303), answer.text
        return answer.status_code == 200

    async def command(self, *arguments: str) -> tuple[int, str]:
        """Run `oms ...` on its database."""
        return await run_oms(arguments, {"OMS_DATABASE_URL": self.database_url})


@asynccontextmanager
async def a_place(
    database_url: str, issuer: MadeIssuer, folder: Path, **changes: Any
) -> AsyncIterator[Place]:
    port = free_port()
    settings = load_settings(
        **{
            "database_url": database_url,
            "admin_token": ADMIN_TOKEN,
            "oidc_issuer": issuer.url,
            "oidc_client_id": CLIENT,
            "oidc_client_secret": "a secret: of/ours",
            "oidc_audience": AUDIENCE,
            "oidc_roles": "admin=oms-admins,operator=oms-operators,viewer=oms-viewers",
            "public_url": f"http://127.0.0.1:{port}",
            **changes,
        }
    )
    async with stack(settings, "127.0.0.1", port, folder) as running:
        yield Place(running.api_url, database_url, issuer)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    url = databases.create()
    async with (
        a_made_issuer() as issuer,
        a_place(url, issuer, tmp_path_factory.mktemp("place")) as made,
    ):
        yield made
    databases.drop(url)


@pytest_asyncio.fixture(loop_scope="module")
async def place(shared: Place) -> Place:
    """The installation of all these tests, its provider without faults, and nobody signed in."""
    shared.issuer.be_good()
    await shared.forget()
    return shared


@pytest_asyncio.fixture(loop_scope="module")
async def issuer() -> AsyncIterator[MadeIssuer]:
    async with a_made_issuer() as made:
        yield made


def leads_to(answer: httpx.Response) -> str:
    """Where a page that leads on leads to."""
    found = re.search(r'http-equiv="refresh" content="0; url=([^"]*)"', answer.text)
    assert found is not None, answer.text
    return found[1].replace("&amp;", "&")


def cookies(answer: httpx.Response) -> dict[str, str]:
    """The cookies that an answer sets, by the beginnings of their names."""
    given = answer.headers.get_list("set-cookie")
    return {each.partition("=")[0].rpartition("_")[0]: each for each in given}


# -- the good way -----------------------------------------------------------------------------------------


async def test_somebody_signs_in_with_a_proof_that_they_began_it(place: Place) -> None:
    async with place.browser() as browser:
        sent = await place.there(browser, "/console/sagas?incident=any")
        assert (sent["response_type"], sent["code_challenge_method"]) == ("code", "S256")
        assert sent["redirect_uri"] == f"{place.url}/console/login/callback"
        answer = await place.back(browser, sent)
        assert leads_to(answer) == "/console/sagas?incident=any"
        page = Page((await browser.get("/console")).text)
        assert "oidc:8f2c (jane) (operator)" in page.words
    [redeemed] = place.issuer.redeemed
    assert redeemed["authorization"].startswith("Basic ")
    assert redeemed["redirect_uri"] == sent["redirect_uri"]
    assert "client_secret" not in redeemed


async def test_what_a_program_does_stands_in_the_audit_log_by_its_subject(place: Place) -> None:
    token = place.issuer.token(sub="a-program", preferred_username=None, groups=["oms-admins"])
    async with place.browser() as program:
        program.headers["Authorization"] = f"Bearer {token}"
        await program.put("/inventory/SKU-1", json={"on_hand": 10})
        order = (await program.post("/orders", json=an_order(), headers={"Prefer": "wait=30"})).json()
        messages = f"/admin/sagas/{order['saga_id']}/messages"
        [first, *_] = (await program.get(messages)).json()["items"]
        seen = await program.get(f"{messages}/{first['message_id']}/body", params={"reason": "to see"})
        assert seen.status_code == 200, seen.text
        [entry] = (await program.get("/admin/audit-log")).json()["items"]
    assert (entry["actor"], entry["action"]) == ("oidc:a-program", "saga.disclose")


async def test_the_cookies_are_out_of_reach_and_the_way_there_can_be_used_once(place: Place) -> None:
    async with place.browser() as browser:
        begun = await browser.get("/console/login/provider")
        sent = place.issuer.sent_to(begun.headers["Location"])
        answer = await place.back(browser, sent)
        assert "SameSite=lax" in cookies(begun)["oms_signing_in"]
        for name in ("oms_session", "oms_id_token"):
            assert "HttpOnly" in cookies(answer)[name]
            assert "SameSite=strict" in cookies(answer)[name]
        again = await place.back(browser, sent)
    assert again.status_code == 401
    assert "begun elsewhere, or too long ago" in again.text


async def test_signing_out_ends_every_session_of_the_person_and_leads_to_the_provider(place: Place) -> None:
    async with place.browser() as desk, place.browser() as sofa:
        await place.signed_in(desk)
        await place.signed_in(sofa)
        form = Page((await desk.get("/console/logout")).text).forms["/console/logout"]
        answer = await desk.post("/console/logout", data=form)
        there = urlsplit(leads_to(answer))
        assert f"{there.scheme}://{there.netloc}{there.path}" == f"{place.issuer.url}/leave"
        asked = parse_qs(there.query)
        assert asked["post_logout_redirect_uri"] == [f"{place.url}/console/login"]
        assert asked["id_token_hint"][0].count(".") == 2
        assert not await place.is_in(desk)
        assert not await place.is_in(sofa)
        await place.signed_in(desk)
        assert await place.is_in(desk)


async def test_a_stolen_cookie_is_worthless_once_its_owner_has_signed_out(place: Place) -> None:
    async with place.browser() as owner, place.browser() as thief:
        await place.signed_in(owner)
        thief.cookies = httpx.Cookies(owner.cookies)
        assert await place.is_in(thief)
        form = Page((await owner.get("/console/logout")).text).forms["/console/logout"]
        await owner.post("/console/logout", data=form)
        assert not await place.is_in(thief)


async def test_the_role_of_the_last_sign_in_counts_in_every_browser(place: Place) -> None:
    async with place.browser() as one, place.browser() as other:
        place.issuer.told["groups"] = ["oms-admins"]
        await place.signed_in(one)
        place.issuer.told["groups"] = ["oms-viewers"]
        await place.signed_in(other)
        assert "oidc:8f2c (jane) (viewer)" in Page((await one.get("/console")).text).words


async def test_people_are_listed_and_signed_out_from_the_terminal(place: Place) -> None:
    async with place.browser() as browser:
        await place.signed_in(browser)
        code, listed = await place.command("people", "list", "--json")
        assert (code, '"subject": "8f2c"' in listed) == (0, True)
        code, said = await place.command("people", "sign-out", "8f2c", "--reason", "has left")
        assert (code, said) == (0, "signed out: oidc:8f2c (jane), operator\n")
        assert not await place.is_in(browser)
        code, said = await place.command("people", "sign-out", "nobody")
        assert (code, said) == (1, "oms: nobody is nobody here\n")
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        [entry] = (await browser.get("/admin/audit-log", headers=headers)).json()["items"]
    assert (entry["action"], entry["reason"]) == ("person.sign_out", "has left")


async def test_a_session_ends_with_its_time(
    migrated_database_url: str, issuer: MadeIssuer, tmp_path: Path
) -> None:
    made = a_place(migrated_database_url, issuer, tmp_path, oidc_session_s=300)
    async with made as place, place.browser() as browser:
        await place.signed_in(browser)
        [session] = [value for name, value in browser.cookies.items() if name.startswith("oms_session")]
    _, ends, *_ = session.split(".")
    assert 0 < int(ends) - int(claims("x")["iat"]) <= 300


async def test_what_was_typed_is_kept_while_somebody_signs_in_again_in_another_tab(place: Place) -> None:
    async with place.browser() as browser:
        await place.signed_in(browser)
        order = (await browser.post("/orders", json=an_order(), headers={"Prefer": "wait=30"})).json()
        at = f"/console/sagas/{order['saga_id']}/cancel"
        await place.command("people", "sign-out", "8f2c")
        form = {"reason": "typed with care", "csrf": "of the old session"}
        asked = await browser.post(at, data=form)
        page = Page(asked.text)
        assert asked.status_code == 401
        assert page.forms[at]["reason"] == "typed with care"
        assert ("target", "_blank") in [
            each for tag, found in page.tags if tag == "a" for each in found.items()
        ]
        await place.signed_in(browser)
        again = await browser.post(at, data={**form, "token": ""})
        assert again.status_code == 403
        assert "This form is not from your present session, in which you are oidc:8f2c (jane)." in (
            Page(again.text).words
        )


# -- the provider says who has left -----------------------------------------------------------------------


def logout_token(place: Place, **changes: Any) -> str:
    said = {"aud": CLIENT, "jti": "1", "events": {LOGOUT_EVENT: {}}, "groups": None, **changes}
    return place.issuer.keys[0].signed(claims(place.issuer.url, **said), typ="logout+jwt")


async def test_whoever_signs_out_at_the_provider_is_signed_out_here(place: Place) -> None:
    async with place.browser() as browser, place.browser() as provider:
        await place.signed_in(browser)
        told = {"logout_token": logout_token(place)}
        assert (await provider.post("/console/login/gone", data=told)).status_code == 200
        assert not await place.is_in(browser)


@pytest.mark.parametrize(
    "changes",
    [
        {"events": None},
        {"events": {}},
        {"events": "x"},
        {"nonce": "n"},
        {"aud": "another"},
        {"sub": None},
        {"jti": None},
        {"sub": "somebody-else"},
    ],
)
async def test_what_is_no_logout_token_for_somebody_signs_nobody_out(
    place: Place, changes: dict[str, Any]
) -> None:
    async with place.browser() as browser, place.browser() as stranger:
        await place.signed_in(browser)
        token = logout_token(place, **changes)
        status = (await stranger.post("/console/login/gone", data={"logout_token": token})).status_code
        assert status == (200 if changes.get("sub") else 400)
        assert await place.is_in(browser)


# -- what must not open the console -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"state": "another"}, "this sign-in was begun elsewhere"),
        ({"state": None}, "this sign-in was begun elsewhere"),
        ({"state": "é"}, "this sign-in was begun elsewhere"),
        ({"code": "replayed"}, "the provider did not take the code: invalid_grant"),
        ({"code": None, "error": "access_denied"}, "the provider says: access_denied"),
        ({"code": None, "error": "<b>call +49 123</b>"}, "the provider says: an error without a name"),
        ({"code": None}, "the provider says: nothing"),
        ({"iss": "https://evil.example.com"}, "another provider has answered"),
    ],
)
async def test_an_answer_that_is_not_the_providers_signs_nobody_in(
    place: Place, answer: dict[str, Any], why: str
) -> None:
    async with place.browser() as browser:
        refused = await place.back(browser, await place.there(browser), **answer)
        assert refused.status_code == 401
        assert f"You are not signed in: {why}." in Page(refused.text).words
        assert not await place.is_in(browser)


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"nonce": "another"}, "it was made for another sign-in"),
        ({"nonce": None}, "it was made for another sign-in"),
        ({"aud": AUDIENCE}, "it is for another audience"),
        ({"azp": "another"}, "it was given to another client"),
        ({"exp": 1}, "it has expired"),
        ({"nbf": 4_000_000_000}, "it is not valid yet"),
        ({"iss": "https://evil.example.com"}, "it is from another issuer"),
        ({"sub": None}, "it lacks the claim sub"),
    ],
)
async def test_an_id_token_that_is_not_for_this_sign_in_signs_nobody_in(
    place: Place, told: dict[str, Any], why: str
) -> None:
    place.issuer.told = told
    async with place.browser() as browser:
        refused = await place.back(browser, await place.there(browser))
        assert refused.status_code == 401
        assert f"the provider's token cannot be used: {why}" in Page(refused.text).words
        assert not await place.is_in(browser)


async def test_an_unsigned_id_token_or_one_of_another_key_signs_nobody_in(place: Place) -> None:
    async with place.browser() as browser:
        for token in ("eyJhbGciOiJub25lIn0.e30.", SigningKey().signed(claims(place.issuer.url, aud=CLIENT))):
            place.issuer.id_token = token
            refused = await place.back(browser, await place.there(browser))
            assert refused.status_code == 401
        assert not await place.is_in(browser)


async def test_the_answer_of_somebody_elses_browser_signs_nobody_in(place: Place) -> None:
    async with place.browser() as attacker, place.browser() as victim:
        sent = await place.there(attacker)
        refused = await place.back(victim, sent)
        assert refused.status_code == 401
        assert not await place.is_in(victim)
        await place.there(victim)
        assert (await place.back(victim, sent)).status_code == 401
    assert place.issuer.redeemed == []


async def test_a_cookie_that_was_changed_is_worth_nothing(place: Place) -> None:
    async with place.browser() as browser:
        sent = await place.there(browser)
        [name] = browser.cookies.keys()
        browser.cookies[name] = browser.cookies[name].replace(sent["state"], "s" * 43)
        refused = await place.back(browser, {"state": "s" * 43})
    assert refused.status_code == 401


@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.example.com",
        "//evil.example.com",
        "/\\evil.example.com",
        "/console/../../evil",
        "/console/login/provider",
        "javascript:alert(1)",
        "/console%2f..%2f..%2fevil",
        "/console\r\nSet-Cookie: x=y",
        "/consolevil",
        "",
    ],
)
async def test_nobody_is_led_elsewhere(place: Place, wanted: str) -> None:
    async with place.browser() as browser:
        assert leads_to(await place.signed_in(browser, wanted)) == "/console"


async def test_somebody_without_a_role_is_told_so_and_kept_nowhere(place: Place) -> None:
    place.issuer.told["groups"] = ["others"]
    async with place.browser() as browser:
        refused = await place.back(browser, await place.there(browser))
        assert refused.status_code == 403
        assert "knows you as oidc:8f2c (jane), but nothing in the claim groups gives you a role" in (
            Page(refused.text).words
        )
        assert not await place.is_in(browser)
    code, listed = await place.command("people", "list", "--json")
    assert (code, '"items": []' in listed) == (0, True)


async def test_groups_that_are_told_only_when_asked_for_give_a_role_to_their_own_subject(
    migrated_database_url: str, issuer: MadeIssuer, tmp_path: Path
) -> None:
    issuer.told["groups"] = None
    issuer.metadata["userinfo_endpoint"] = f"{issuer.url}/userinfo"
    made = a_place(migrated_database_url, issuer, tmp_path)
    async with made as place, place.browser() as browser:
        place.issuer.userinfo = {"sub": "another", "groups": ["oms-admins"]}
        assert (await place.back(browser, await place.there(browser))).status_code == 403
        place.issuer.userinfo = {"sub": "8f2c", "groups": ["oms-admins"]}
        await place.signed_in(browser)
        assert "(admin)" in Page((await browser.get("/console")).text).words


async def test_somebody_who_tries_again_and_again_has_to_wait(place: Place) -> None:
    async with place.browser() as browser:
        for _ in range(MOST):
            await place.back(browser, await place.there(browser), code="wrong")
        refused = await place.back(browser, await place.there(browser), code="wrong")
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) > 0
    assert len(place.issuer.redeemed) == MOST


# -- a provider that is down ------------------------------------------------------------------------------


async def test_while_the_provider_is_down_those_signed_in_go_on_and_others_are_told(place: Place) -> None:
    async with place.browser() as inside, place.browser() as outside:
        await place.signed_in(inside)
        sent = await place.there(outside)
        place.issuer.answers = {page: (503, {}) for page in ("discovery", "keys", "token")}
        assert await place.is_in(inside)
        told = await place.back(outside, sent)
        assert told.status_code == 503
        assert "Nobody can sign in at the provider just now: the provider answers with 503" in told.text
        assert "Whoever is signed in already may go on" in told.text


async def test_it_starts_without_its_provider_and_tokens_open_it_all_the_same(
    migrated_database_url: str, tmp_path: Path
) -> None:
    gone = MadeIssuer(url=f"http://127.0.0.1:{free_port()}")
    async with a_place(migrated_database_url, gone, tmp_path) as place, place.browser() as browser:
        told = await browser.get("/console/login/provider")
        assert told.status_code == 503
        assert told.headers["Retry-After"]
        signed = {"Authorization": f"Bearer {gone.token()}"}
        assert (await browser.get("/admin/sagas", headers=signed)).status_code == 503
        known = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        assert (await browser.get("/admin/sagas", headers=known)).status_code == 200
        answer = await browser.post("/console/login", data={"token": ADMIN_TOKEN})
        assert answer.status_code == 303
        assert await place.is_in(browser)


async def test_another_issuers_sessions_are_over(
    migrated_database_url: str, issuer: MadeIssuer, tmp_path: Path
) -> None:
    async with a_place(migrated_database_url, issuer, tmp_path / "one") as place, place.browser() as browser:
        await place.signed_in(browser)
        kept = httpx.Cookies(browser.cookies)
    async with (
        a_made_issuer() as other,
        a_place(migrated_database_url, other, tmp_path / "two") as place,
        place.browser() as browser,
    ):
        browser.cookies = kept
        assert not await place.is_in(browser)


# -- programs ---------------------------------------------------------------------------------------------


async def test_a_program_is_told_why_its_token_is_not_good(place: Place) -> None:
    async with place.browser() as program:
        paths = (await program.get("/openapi.json")).json()["paths"]
        described = paths["/admin/sagas"]["get"]["responses"]["401"]["headers"]["WWW-Authenticate"]["schema"]
        jsonschema.validate((await program.get("/admin/sagas")).headers["WWW-Authenticate"], described)
        for changes, status, said in (
            ({"exp": 1}, 401, "it has expired"),
            ({"aud": CLIENT}, 401, "it is for another audience"),
            ({"groups": []}, 403, "Nothing that this token claims gives its subject a role here."),
            ({"groups": ["oms-viewers"]}, 403, "takes the role operator; this token has the role viewer"),
        ):
            headers = {"Authorization": f"Bearer {place.issuer.token(**changes)}"}
            answer = await program.put("/inventory/SKU-1", json={"on_hand": 1}, headers=headers)
            assert (answer.status_code, said in answer.json()["detail"]) == (status, True), answer.text
            if status == 401:
                assert answer.headers["WWW-Authenticate"] == (
                    f'Bearer error="invalid_token", error_description="{said}"'
                )
                jsonschema.validate(answer.headers["WWW-Authenticate"], described)


async def test_without_an_audience_no_program_is_let_in(
    migrated_database_url: str, issuer: MadeIssuer, tmp_path: Path
) -> None:
    made = a_place(migrated_database_url, issuer, tmp_path, oidc_audience=None)
    async with made as place, place.browser() as program:
        headers = {"Authorization": f"Bearer {issuer.token()}"}
        assert (await program.get("/admin/sagas", headers=headers)).status_code == 401


async def test_a_signed_token_does_not_open_the_door_of_the_console(place: Place) -> None:
    async with place.browser() as browser:
        answer = await browser.post("/console/login", data={"token": place.issuer.token()})
    assert answer.status_code == 401
