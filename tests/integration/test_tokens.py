"""Tokens in the database: made by the command line, asked for by the API and the console."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from sqlalchemy import make_url, text

from oms.cli import main
from orchestrator.core.inputs import Actor
from orchestrator.http.console.attempts import MOST
from orchestrator.tokens import Role, StoredToken, TokenRefused, Tokens, is_token
from tests.integration.test_console import Page
from tests.support.api import ADMIN, Api, an_api
from tests.support.orders import AN_ORDER
from tests.support.serving import serving

pytestmark = pytest.mark.postgresql

BOSS = Actor("boss", "hired")


@pytest.fixture
async def api(migrated_database_url: str) -> AsyncIterator[Api]:
    async with an_api(migrated_database_url) as made:
        yield made


def keeper(api: Api) -> Tokens:
    texts = iter("abcdefghij")
    return Tokens(api.deployment.database, api.deployment.new_id, lambda _: next(texts) * 43)


async def a_token(api: Api, role: Role, **changes: Any) -> tuple[dict[str, str], StoredToken]:
    """Headers that come with a new token, and what is kept of it."""
    secret, made = await keeper(api).create("jane", role, BOSS, **changes)
    return {"Authorization": f"Bearer {secret}"}, made


# -- the command line -------------------------------------------------------------------------------------

Oms = Callable[..., tuple[int, str, str]]


@pytest.fixture
def oms(
    migrated_database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Oms:
    """Runs one command on the database; gives its exit code, stdout and stderr."""
    monkeypatch.setenv("OMS_ORCHESTRATOR_DATABASE_URL", migrated_database_url)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def rows(url: str, statement: str) -> list[tuple[Any, ...]]:
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain) as connection:
        return connection.execute(statement.encode()).fetchall()


def test_a_token_is_shown_once_and_its_hash_is_kept(oms: Oms, migrated_database_url: str) -> None:
    code, out, err = oms("tokens", "create", "--name", "jane", "--role", "operator", "--expires", "90d")
    secret = out.strip()

    assert code == 0, err
    assert is_token(secret)
    assert secret not in err
    assert "token of jane, operator, good until" in err
    [kept] = rows(migrated_database_url, "SELECT * FROM orchestrator.tokens")
    everything = str(kept) + str(rows(migrated_database_url, "SELECT * FROM orchestrator.audit_log"))
    assert secret.removeprefix("oms_") not in everything
    for arguments in (("tokens", "list"), ("tokens", "list", "--json")):
        code, out, err = oms(*arguments)
        assert code == 0
        assert "jane" in out
        assert secret not in out + err


def test_programs_make_and_list_tokens(oms: Oms) -> None:
    code, out, _ = oms("tokens", "create", "--name", "ci", "--role", "viewer", "--json")
    made = json.loads(out)
    assert code == 0
    assert is_token(made["token"])
    [listed] = json.loads(oms("tokens", "list", "--json")[1])["items"]
    assert listed == {name: value for name, value in made.items() if name != "token"}
    assert (listed["status"], listed["expires_at"], listed["last_used_at"]) == ("valid", None, None)


def test_a_token_is_revoked_by_name_or_by_id(oms: Oms, migrated_database_url: str) -> None:
    oms("tokens", "create", "--name", "jane", "--role", "admin")
    made = json.loads(oms("tokens", "create", "--name", "ci", "--role", "viewer", "--json")[1])
    assert oms("tokens", "revoke", "jane", "--reason", "has left")[0] == 0
    assert json.loads(oms("tokens", "revoke", made["token_id"], "--json")[1])["status"] == "revoked"
    code, _, err = oms("tokens", "revoke", "jane")
    assert (code, err) == (1, "oms: jane is no token that could be revoked\n")

    entries = rows(
        migrated_database_url,
        "SELECT action, reason, before->>'status', after->>'status', after->>'name', actor LIKE 'cli:_%'"
        " FROM orchestrator.audit_log ORDER BY audit_id",
    )
    assert entries == [
        ("token.create", "no reason was given", None, "valid", "jane", True),
        ("token.create", "no reason was given", None, "valid", "ci", True),
        ("token.revoke", "has left", "valid", "revoked", "jane", True),
        ("token.revoke", "no reason was given", "valid", "revoked", "ci", True),
    ]


def test_a_name_is_free_again_once_its_token_is_revoked(oms: Oms) -> None:
    create = ("tokens", "create", "--name", "jane", "--role", "viewer")
    assert oms(*create)[0] == 0
    code, out, err = oms(*create)
    assert (code, out) == (1, "")
    assert err == "oms: there is a token of the name jane already: revoke it first\n"
    oms("tokens", "revoke", "jane")
    assert oms(*create)[0] == 0


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (("--name", "admin", "--role", "viewer"), "this name cannot be used"),
        (("--name", "a b", "--role", "viewer"), "this name cannot be used"),
        (("--name", "<b>", "--role", "viewer"), "this name cannot be used"),
        (("--name", "jane", "--role", "shop"), "'shop' is not one of"),
        (("--name", "jane", "--role", "viewer", "--expires", "0d"), "--expires takes a time such as"),
        (("--name", "jane", "--role", "viewer", "--expires", "soon"), "--expires takes a time such as"),
        (("--name", "jane", "--role", "viewer", "--reason", "\x1b[2J"), "printable characters"),
    ],
)
def test_what_cannot_be_made_is_said_in_one_line(oms: Oms, wrong: tuple[str, ...], words: str) -> None:
    code, out, err = oms("tokens", "create", *wrong)
    assert code != 0
    assert out == ""
    assert words in err
    assert err.count("\n") == 1
    assert json.loads(oms("tokens", "list", "--json")[1])["items"] == []


def test_without_a_database_the_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("OMS_DATABASE_URL", "OMS_ORCHESTRATOR_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    assert main(("tokens", "list")) == 1
    assert "OMS_ORCHESTRATOR_DATABASE_URL (or OMS_DATABASE_URL) must be set" in capsys.readouterr().err


# -- the API ----------------------------------------------------------------------------------------------


async def test_each_role_may_do_what_it_may_and_is_told_which_one_it_takes(api: Api) -> None:
    order = await api.order()
    at = f"/admin/sagas/{order['saga_id']}"
    asked = {"reason": "fraud", "expected_version": 1}
    headers, _ = await a_token(api, Role.VIEWER)
    assert (await api.http.get(at, headers=headers)).status_code == 200
    refused = await api.http.post(f"{at}/actions/cancel", json=asked, headers=headers)
    assert refused.status_code == 403
    assert refused.json()["needed_role"] == "operator"
    assert "takes the role operator; this token has the role viewer" in refused.json()["detail"]


async def test_the_actor_in_the_audit_log_is_the_tokens_name(api: Api) -> None:
    order = await api.order()
    headers, _ = await a_token(api, Role.OPERATOR)
    asked = {"reason": "fraud", "expected_version": 1}
    done = await api.http.post(f"/admin/sagas/{order['saga_id']}/actions/cancel", json=asked, headers=headers)
    assert done.status_code == 200
    log = (await api.http.get("/admin/audit-log", headers=headers)).json()["items"]
    assert [(entry["actor"], entry["action"]) for entry in log] == [
        ("jane", "saga.cancel"),
        ("boss", "token.create"),
    ]


async def test_a_token_is_worth_nothing_once_it_has_expired(api: Api) -> None:
    headers, _ = await a_token(api, Role.ADMIN, lifetime=timedelta(days=1))
    async with api.deployment.database.begin() as connection:
        past = "UPDATE orchestrator.tokens SET expires_at = now() - interval '1 second'"
        await connection.execute(text(past))
    response = await api.http.get("/admin/sagas", headers=headers)
    assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, "Bearer")


async def test_a_token_is_worth_nothing_once_it_is_revoked(api: Api) -> None:
    headers, made = await a_token(api, Role.ADMIN)
    await keeper(api).revoke("jane", BOSS)
    assert (await api.http.get("/admin/sagas", headers=headers)).status_code == 401
    with pytest.raises(TokenRefused):
        await keeper(api).revoke(str(made.token_id), BOSS)


async def test_whoever_follows_something_is_let_go_once_the_token_is_worth_nothing(
    migrated_database_url: str,
) -> None:
    async with (
        an_api(migrated_database_url, orders_token="orders-token") as api,
        serving(api.app) as url,
        httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as http,
        asyncio.timeout(60),
    ):
        jane, _ = await a_token(api, Role.OPERATOR)
        order = (await http.post("/orders", json=AN_ORDER, headers=jane)).json()
        stream, wait = {**jane, "Accept": "text/event-stream"}, {**jane, "Prefer": "wait=30"}
        of_one = (f"/orders/{order['order_id']}/events", f"/sagas/{order['saga_id']}/events")
        following = [asyncio.create_task(http.get(path, headers=stream)) for path in ("/events", *of_one)]
        polling = asyncio.create_task(http.get("/events?type=OrderCompletedEvent", headers=wait))
        submitting = asyncio.create_task(http.post("/orders", json=AN_ORDER, headers=wait))
        while api.listener.watching < 5:
            await asyncio.sleep(0.01)

        await keeper(api).revoke("jane", BOSS)

        for told in await asyncio.gather(*following):
            assert (told.status_code, told.headers["Content-Type"].partition(";")[0]) == (
                200,
                "text/event-stream",
            )
        polled, submitted = await polling, await submitting
        assert (polled.status_code, polled.json()["code"]) == (401, "unauthorized")
        assert (submitted.status_code, submitted.json()["status"]) == (202, "pending")
        assert (await http.get(of_one[0], headers=stream)).status_code == 401


async def test_a_use_is_noted_now_and_then(api: Api) -> None:
    headers, _ = await a_token(api, Role.VIEWER)
    assert [token.last_used_at for token in (await keeper(api).listed())[0]] == [None]
    await api.http.get("/admin/sagas", headers=headers)
    [used] = (await keeper(api).listed())[0]
    assert used.last_used_at is not None
    await api.http.post("/console/login", data={"token": headers["Authorization"].split()[1]})
    await api.http.get("/console/sagas")
    [again] = (await keeper(api).listed())[0]
    assert again.last_used_at == used.last_used_at


async def test_the_environments_token_is_the_admins_still(api: Api) -> None:
    await a_token(api, Role.VIEWER)
    assert (await api.http.get("/admin/sagas", headers=ADMIN)).status_code == 200


# -- the console ------------------------------------------------------------------------------------------


async def test_a_session_shows_name_and_role_and_ends_with_its_token(api: Api) -> None:
    headers, _ = await a_token(api, Role.OPERATOR)
    secret = headers["Authorization"].split()[1]
    entered = await api.http.post("/console/login", data={"token": secret})
    assert entered.status_code == 303
    assert secret not in str(entered.headers)
    shown = await api.http.get("/console/sagas")
    assert "jane (operator)" in Page(shown.text).words
    await keeper(api).revoke("jane", BOSS)
    gone = await api.http.get("/console/sagas")
    assert (gone.status_code, gone.headers["Location"]) == (303, "/console/login?next=%2Fconsole%2Fsagas")


async def test_a_revoked_token_acts_no_more_with_a_form_it_has_open(api: Api) -> None:
    order = await api.order()
    at = f"/console/sagas/{order['saga_id']}"
    headers, _ = await a_token(api, Role.OPERATOR)
    await api.http.post("/console/login", data={"token": headers["Authorization"].split()[1]})
    form = Page((await api.http.get(at)).text).forms[f"{at}/cancel"]
    await keeper(api).revoke("jane", BOSS)
    late = await api.http.post(f"{at}/cancel", data={**form, "reason": "too late"})
    assert (late.status_code, "Your session has ended" in Page(late.text).words) == (401, True)
    log = (await api.http.get("/admin/audit-log", headers=ADMIN)).json()["items"]
    assert [entry["action"] for entry in log] == ["token.revoke", "token.create"]


async def test_whoever_tries_too_often_has_to_wait(api: Api) -> None:
    for _ in range(MOST):
        assert (await api.http.post("/console/login", data={"token": "guess"})).status_code == 401
    response = await api.http.post("/console/login", data={"token": "admin-token"})
    assert response.status_code == 429
    assert 1 <= int(response.headers["Retry-After"]) <= 60
    assert f"again in {response.headers['Retry-After']} seconds" in Page(response.text).words
    assert not response.cookies
