"""Who may do what, by role."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest
from starlette.requests import Request

from contracts.problems import ProblemError
from orchestrator.http.access import REMEMBERED_S, Access, Permission, Principal, Token
from orchestrator.http.console.attempts import MOST, WINDOW_S, Attempts
from orchestrator.tokens import Role, StoredToken, digest_of
from tests.support.orders import NOON


def request(authorization: str | None = None) -> Request:
    headers = [] if authorization is None else [(b"authorization", authorization.encode("latin-1"))]
    return Request({"type": "http", "method": "GET", "path": "/", "headers": headers})


async def refused(access: Access, authorization: str | None, permission: Permission) -> int:
    with pytest.raises(ProblemError) as error:
        await access.admit(request(authorization), permission)
    return error.value.status


@pytest.mark.parametrize(
    ("role", "permitted"),
    [
        (Role.SHOP, {Permission.ORDERS}),
        (Role.VIEWER, {Permission.VIEW}),
        (Role.CLIENT, set()),
        (Role.OPERATOR, {Permission.ORDERS, Permission.SAGAS, Permission.VIEW, Permission.OPERATE}),
        (Role.ADMIN, set(Permission)),
    ],
)
async def test_a_role_permits_what_it_says_and_no_more(role: Role, permitted: set[Permission]) -> None:
    tokens = [Token.of("s", Principal("shop", Role.SHOP)), Token.of("t", Principal("me", role))]
    access = Access(tokens, b"key")
    for permission in Permission:
        if permission in permitted:
            assert (await access.admit(request("Bearer t"), permission)).name == "me"
        else:
            assert await refused(access, "Bearer t", permission) == 403


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer x", "Basic t", "t", "Bearer tt", "Bearer é"]
)
async def test_an_unknown_token_is_nobodys(authorization: str | None) -> None:
    access = Access.by_tokens("t")
    assert await refused(access, authorization, Permission.VIEW) == 401


@pytest.mark.parametrize("authorization", ["Bearer", "Bearer ", "Bearer    ", "bearer \t "])
async def test_nothing_is_no_token_whatever_was_configured(authorization: str) -> None:
    others = Access.by_tokens("t", orders_token="", saga_tokens={"enrolment": ""})
    for access in (Access.by_tokens(""), others):
        assert await refused(access, authorization, Permission.VIEW) == 401
        assert await access.token_of(" ") is None


async def test_the_scheme_is_written_in_any_case() -> None:
    principal = await Access.by_tokens("t").admit(request("bEARER t"), Permission.VIEW)
    assert principal.name == "admin"


async def test_orders_are_open_unless_they_have_a_token() -> None:
    assert (await Access.by_tokens("t").admit(request(), Permission.ORDERS)).name == "customer"
    assert await refused(Access.by_tokens("t", "o"), None, Permission.ORDERS) == 401


def test_no_secret_is_kept() -> None:
    assert "very-secret" not in repr(Token.of("very-secret", Principal("me", Role.ADMIN)))


# -- tokens of the database -------------------------------------------------------------------------------

SECRET = f"oms_{'x' * 43}"


class Cabinet:
    """A directory of one token, which counts how often it is asked."""

    def __init__(self, role: Role = Role.OPERATOR) -> None:
        self.token: StoredToken | None = StoredToken(
            UUID(int=7), "jane", role, digest_of(SECRET), NOON, "boss"
        )
        self.asked = 0

    async def by_digest(self, digest: bytes) -> StoredToken | None:
        self.asked += 1
        return self.token

    async def by_id(self, token_id: UUID) -> StoredToken | None:
        self.asked += 1
        return self.token


async def test_a_token_is_remembered_for_seconds_and_forgotten_once_revoked() -> None:
    now, cabinet = 100.0, Cabinet()
    access = Access([], b"key", cabinet, lambda: now)
    for _ in range(3):
        assert (await access.admit(request(f"Bearer {SECRET}"), Permission.OPERATE)).name == "jane"
    assert cabinet.asked == 1
    cabinet.token = None
    now += REMEMBERED_S
    assert await refused(access, f"Bearer {SECRET}", Permission.OPERATE) == 401


async def test_many_who_come_at_once_with_one_token_have_it_looked_up_once() -> None:
    cabinet = Cabinet()
    access = Access([], b"key", cabinet)
    coming = [access.admit(request(f"Bearer {SECRET}"), Permission.OPERATE) for _ in range(50)]
    assert {principal.name for principal in await asyncio.gather(*coming)} == {"jane"}
    assert cabinet.asked == 1


async def test_what_has_not_the_shape_of_a_token_is_not_looked_up() -> None:
    cabinet = Cabinet()
    access = Access([], b"key", cabinet)
    for text in ("x", "oms_", f"{SECRET}x", SECRET[:-1], SECRET.upper(), "é" * 47):
        assert await refused(access, f"Bearer {text}", Permission.VIEW) == 401
    assert cabinet.asked == 0


async def test_a_directory_that_finds_another_token_is_not_believed() -> None:
    access = Access([], b"key", Cabinet())
    assert await refused(access, f"Bearer oms_{'y' * 43}", Permission.VIEW) == 401


async def test_a_session_of_a_stored_token_is_looked_up_each_time() -> None:
    cabinet = Cabinet()
    access = Access([], b"key", cabinet)
    token = await access.token_of(SECRET)
    assert token is not None
    assert await access.token_named(access.name_of(token)) == token
    cabinet.token = None
    assert await access.token_named(access.name_of(token)) is None


async def test_a_refusal_names_the_role_that_is_needed() -> None:
    access = Access([], b"key", Cabinet(Role.VIEWER))
    for permission, needed in ((Permission.OPERATE, "operator"), (Permission.DISCLOSE, "admin")):
        with pytest.raises(ProblemError) as error:
            await access.admit(request(f"Bearer {SECRET}"), permission)
        assert f"takes the role {needed}; this token has the role viewer" in str(error.value)


def test_a_client_may_try_again_after_a_while() -> None:
    now = 0.0
    attempts = Attempts(lambda: now)
    for _ in range(MOST):
        assert attempts.wait_s("a") == 0
        attempts.failed("a")
    now = WINDOW_S / 2
    assert (attempts.wait_s("a"), attempts.wait_s("b")) == (WINDOW_S / 2, 0)
    now = WINDOW_S
    assert attempts.wait_s("a") == 0
    attempts.failed("a")
    assert attempts.wait_s("a") == 0
