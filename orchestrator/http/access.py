"""Who may do what: bearer tokens, of which only digests are kept, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from starlette.requests import Request

from contracts.problems import ProblemError


class Permission(Enum):
    """What a route asks for."""

    ORDERS = "submit, see and cancel orders"
    VIEW = "see sagas, dead letters and the audit log"
    OPERATE = "act on sagas and dead letters, set stock"


class Role(Enum):
    """What the holder of a token is."""

    SHOP = "shop"
    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


_GRANTED: Final[Mapping[Role, frozenset[Permission]]] = {
    Role.SHOP: frozenset({Permission.ORDERS}),
    Role.VIEWER: frozenset({Permission.VIEW}),
    Role.OPERATOR: frozenset({Permission.ORDERS, Permission.VIEW, Permission.OPERATE}),
    Role.ADMIN: frozenset(Permission),
}


@dataclass(frozen=True, slots=True)
class Principal:
    """Whose request it is; the name stands in the audit log (D6)."""

    name: str
    role: Role


CUSTOMER: Final = Principal("customer", Role.SHOP)
"""Whoever speaks to `/orders` while no token is asked for there."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token by its digest alone."""

    digest: bytes
    principal: Principal

    @classmethod
    def of(cls, secret: str, principal: Principal) -> Token:
        """The token that ``secret`` is."""
        return cls(_digest(secret), principal)


class Access:
    """Decides on requests by their bearer token."""

    def __init__(self, tokens: Iterable[Token], session_key: bytes) -> None:
        """Where no token is for the shop alone, `/orders` is open to everybody.

        Args:
            session_key: signs the console's sessions; the same in every process that serves it.
        """
        self._tokens = tuple(tokens)
        self.session_key = session_key
        roles = {token.principal.role for token in self._tokens}
        self.orders_are_open = Role.SHOP not in roles

    @classmethod
    def by_tokens(cls, admin_token: str, orders_token: str | None = None) -> Access:
        """One token for the admin and, where wanted, one for `/orders`."""
        tokens = [Token.of(admin_token, Principal("admin", Role.ADMIN))]
        if orders_token is not None:
            tokens.append(Token.of(orders_token, CUSTOMER))
        return cls(tokens, hmac.digest(admin_token.encode(), b"sessions of the console", "sha256"))

    def admit(self, request: Request, permission: Permission) -> Principal:
        """Who makes this request.

        Raises:
            ProblemError: 401 without a token that is known here, 403 where the token does not permit this.
        """
        if permission is Permission.ORDERS and self.orders_are_open:
            return CUSTOMER
        principal = self._holder(request.headers.get("authorization", ""))
        if principal is None:
            challenge = {"WWW-Authenticate": "Bearer"}
            raise ProblemError(401, "unauthorized", "A valid bearer token is needed.", headers=challenge)
        if not self.permits(principal, permission):
            raise ProblemError(403, "forbidden", f"This token does not permit to {permission.value}.")
        return principal

    def guard(self, permission: Permission) -> Callable[[Request], Awaitable[Principal]]:
        """The same as a dependency for routers, those of participants included."""

        async def guard(request: Request) -> Principal:
            return self.admit(request, permission)

        return guard

    def permits(self, principal: Principal, permission: Permission) -> bool:
        """Whether the principal's role goes that far."""
        return permission in _GRANTED[principal.role]

    def token_of(self, secret: str) -> Token | None:
        """The token that this secret is; None for one that is not known here."""
        digest, found = _digest(secret.strip()), None
        for token in self._tokens:
            if hmac.compare_digest(digest, token.digest):
                found = token
        return found

    def token_named(self, name: str) -> Token | None:
        """The token of a session: by its `name_of`, so that a session ends with its token."""
        found = None
        for token in self._tokens:
            if hmac.compare_digest(name.encode(), self.name_of(token).encode()):
                found = token
        return found

    def name_of(self, token: Token) -> str:
        """A name for a token that says nothing about it to whoever lacks the key."""
        return hmac.new(self.session_key, token.digest, "sha256").hexdigest()[:32]

    def _holder(self, authorization: str) -> Principal | None:
        scheme, _, secret = authorization.partition(" ")
        token = self.token_of(secret) if scheme.lower() == "bearer" else None
        return token.principal if token is not None else None


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
