"""Who may do what, by role."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from contracts.problems import ProblemError
from orchestrator.http.access import Access, Permission, Principal, Token
from orchestrator.tokens import Role


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
        (Role.OPERATOR, {Permission.ORDERS, Permission.VIEW, Permission.OPERATE}),
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


async def test_the_scheme_is_written_in_any_case() -> None:
    principal = await Access.by_tokens("t").admit(request("bEARER t"), Permission.VIEW)
    assert principal.name == "admin"


async def test_orders_are_open_unless_they_have_a_token() -> None:
    assert (await Access.by_tokens("t").admit(request(), Permission.ORDERS)).name == "customer"
    assert await refused(Access.by_tokens("t", "o"), None, Permission.ORDERS) == 401


def test_no_secret_is_kept() -> None:
    assert "very-secret" not in repr(Token.of("very-secret", Principal("me", Role.ADMIN)))
