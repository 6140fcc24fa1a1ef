"""Who may do what: bearer tokens, of which only digests are kept, compared in constant time.

The environment's tokens are known from the start. The others stand in the database, where they are looked up
by their digest: an index compares in no constant time, but what it compares is a hash that nobody can choose.
Where the company has an OpenID provider, programs may come with a token that it has signed, and people with a
session that began there.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial
from types import MappingProxyType
from typing import Annotated, Final, Protocol
from uuid import UUID

from fastapi import Security
from starlette.requests import Request

from contracts.problems import ProblemError
from orchestrator.http.openapi import BEARER
from orchestrator.oidc.identity import Identity
from orchestrator.oidc.remembered import ProviderUnavailable
from orchestrator.oidc.tokens import TokenUnfit, is_jwt
from orchestrator.queries.people import Visit, Visitor
from orchestrator.tokens import Role, StoredToken, digest_of, is_token

REMEMBERED_S: Final = 1.0
"""Seconds for which a token is good that was looked up; the console asks anew for every page.

Whoever stays is looked at again each second (`orchestrator.http.admission`): two in all for one that was
revoked.
"""

_MOST_REMEMBERED: Final = 1000


class Permission(Enum):
    """What a route asks for."""

    ORDERS = "submit, see and cancel orders"
    SAGAS = "start sagas of this definition, see, signal and cancel them"
    VIEW = "see sagas, dead letters and the audit log"
    OPERATE = "act on sagas and dead letters, or set stock"
    DISCLOSE = "see payment methods and addresses"
    WEBHOOKS = "manage webhooks"


_GRANTED: Final[Mapping[str, frozenset[Permission]]] = {
    Role.SHOP: frozenset({Permission.ORDERS}),
    Role.CLIENT: frozenset(),
    Role.VIEWER: frozenset({Permission.VIEW}),
    Role.OPERATOR: frozenset({Permission.ORDERS, Permission.SAGAS, Permission.VIEW, Permission.OPERATE}),
    Role.ADMIN: frozenset(Permission),
}

_NEEDED: Final = {
    permission: next(role for role, granted in _GRANTED.items() if permission in granted)
    for permission in Permission
}
"""The least role that a permission takes."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Whose request it is; the name stands in the audit log (D6).

    Attributes:
        role: one that is not known here permits nothing (S25).
        definition: of a client: the one whose sagas are its business.
    """

    name: str
    role: Role | str
    definition: str | None = None


def client_of(definition: str) -> Principal:
    """Whoever holds the token of a definition. No token of the database can have such a name."""
    return Principal(f"client of {definition}", Role.CLIENT, definition)


CUSTOMER: Final = Principal("customer", Role.SHOP)
"""Whoever speaks to `/orders` while no token is asked for there."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token by its digest alone, or what stands for one: that somebody has signed in at the provider.

    Attributes:
        token_id: in the database; None for one of the environment.
        visit: of somebody who has come from the provider, and so has no token.
    """

    digest: bytes
    principal: Principal
    token_id: UUID | None = None
    visit: Visit | None = None

    @classmethod
    def of(cls, secret: str, principal: Principal) -> Token:
        """The token that ``secret`` is."""
        return cls(digest_of(secret), principal)

    @classmethod
    def by_visit(cls, visitor: Visitor) -> Token:
        """What stands for the token of somebody whom the provider knows."""
        return cls(b"", Principal(visitor.name, visitor.role), visit=visitor.visit)


class Directory(Protocol):
    """Where tokens are looked up that the environment does not name; only good ones are found."""

    async def by_digest(self, digest: bytes) -> StoredToken | None:
        """The token of this digest. Raises StorageUnavailable."""

    async def by_id(self, token_id: UUID) -> StoredToken | None:
        """The token of this id. Raises StorageUnavailable."""


class Issuer(Protocol):
    """Whoever signs tokens for programs."""

    async def identity(self, token: str) -> Identity:
        """Whose token it is. Raises TokenUnfit and ProviderUnavailable."""


class Visitors(Protocol):
    """People who have come from the provider."""

    async def visiting(self, visit: Visit) -> Visitor | None:
        """Who it is; None when that is over. Raises StorageUnavailable."""


class Access:
    """Decides on requests by their bearer token."""

    def __init__(
        self,
        tokens: Iterable[Token],
        session_key: bytes,
        directory: Directory | None = None,
        clock: Callable[[], float] = time.monotonic,
        issuer: Issuer | None = None,
        visitors: Visitors | None = None,
    ) -> None:
        """Where no token is for the shop alone, `/orders` is open to everybody.

        Args:
            tokens: of the environment.
            session_key: signs the console's sessions; the same in every process that serves it.
            directory: of further tokens.
            clock: in seconds.
            issuer: of tokens that programs come with.
            visitors: who may have a session without a token.
        """
        self._issuer = issuer
        self._visitors = visitors
        self._tokens = tuple(tokens)
        self._directory = directory
        self._clock = clock
        self._remembered: dict[bytes, tuple[float, Token]] = {}
        self._asking: dict[bytes, asyncio.Task[Token | None]] = {}
        self.session_key = session_key
        roles = {token.principal.role for token in self._tokens}
        self.orders_are_open = Role.SHOP not in roles
        self._guarded = {token.principal.definition for token in self._tokens}

    @classmethod
    def by_tokens(
        cls,
        admin_token: str,
        orders_token: str | None = None,
        directory: Directory | None = None,
        saga_tokens: Mapping[str, str] = MappingProxyType({}),
        issuer: Issuer | None = None,
        visitors: Visitors | None = None,
    ) -> Access:
        """One token for the admin, where wanted one for `/orders`, and those of the directory.

        Args:
            saga_tokens: by the definition whose sagas they start, see, signal and cancel.
        """
        tokens = [Token.of(admin_token, Principal("admin", Role.ADMIN))]
        if orders_token is not None:
            tokens.append(Token.of(orders_token, CUSTOMER))
        tokens += [Token.of(secret, client_of(definition)) for definition, secret in saga_tokens.items()]
        key = hmac.digest(admin_token.encode(), b"sessions of the console", "sha256")
        return cls(tokens, key, directory, issuer=issuer, visitors=visitors)

    async def admit(self, request: Request, permission: Permission) -> Principal:
        """Who makes this request.

        Raises:
            ProblemError: 401 without a token that is good here, 403 where its role does not permit this.
            StorageUnavailable: the token cannot be looked up.
        """
        if permission is Permission.ORDERS and self.orders_are_open:
            return CUSTOMER
        principal = await self._holder(request.headers.get("authorization", ""))
        if principal is None:
            raise unauthorized()
        self.require(principal, permission)
        return principal

    def is_open(self, definition: str) -> bool:
        """Whether everybody may start sagas of a definition that are no orders: where orders are open, too,
        and it has no token of its own.
        """
        return self.orders_are_open and definition not in self._guarded

    async def caller(self, request: Request) -> Principal | None:
        """Who makes this request; None where it has no token.

        Raises:
            ProblemError: 401 for a token that is not good here.
            StorageUnavailable: the token cannot be looked up.
        """
        if "authorization" not in request.headers:
            return None
        principal = await self._holder(request.headers["authorization"])
        if principal is None:
            raise unauthorized()
        return principal

    def guard(self, permission: Permission) -> Callable[..., Awaitable[Principal]]:
        """The same as a dependency for routers, those of participants included; it declares the token."""

        async def guard(request: Request, _: Annotated[object, Security(BEARER)]) -> Principal:
            return await self.admit(request, permission)

        return guard

    def permits(self, principal: Principal, permission: Permission) -> bool:
        """Whether the principal's role goes that far."""
        return permission in _GRANTED.get(principal.role, frozenset())

    def require(self, principal: Principal, permission: Permission) -> None:
        """Raises ProblemError (403), naming the role that is needed, where another one asks."""
        if self.permits(principal, permission):
            return
        needed, role = str(_NEEDED[permission]), principal.role
        has = f"the role {role}" if role in _GRANTED else f'the role "{role}", which is not known here'
        detail = f"To {permission.value} takes the role {needed}; this token has {has}."
        raise ProblemError(403, "forbidden", detail, needed_role=needed)

    async def token_of(self, secret: str) -> Token | None:
        """The token that this secret is; None for one that is not good here. Raises StorageUnavailable."""
        secret = secret.strip()
        if not secret:  # nothing is nobody's token, whatever was configured
            return None
        digest, found = digest_of(secret), None
        for token in self._tokens:
            if hmac.compare_digest(digest, token.digest):
                found = token
        if found is None and self._directory is not None and is_token(secret):
            return await self._looked_up(digest)
        return found

    async def token_named(self, name: str) -> Token | None:
        """The token of a session: by its `name_of`, so that a session ends with its token.

        Raises:
            StorageUnavailable: it cannot be looked up.
        """
        found = None
        for token in self._tokens:
            if hmac.compare_digest(name.encode(), self.name_of(token).encode()):
                found = token
        if found is None and self._directory is not None and (token_id := _id_of(name)) is not None:
            return _known(await self._directory.by_id(token_id))
        if found is None and self._visitors is not None and (visit := Visit.named(name)) is not None:
            visitor = await self._visitors.visiting(visit)
            return Token.by_visit(visitor) if visitor is not None else None
        return found

    def name_of(self, token: Token) -> str:
        """A name for a token that says nothing about it to whoever lacks the key."""
        if token.token_id is not None:
            return str(token.token_id)
        if token.visit is not None:
            return str(token.visit)
        return hmac.new(self.session_key, token.digest, "sha256").hexdigest()[:32]

    async def _holder(self, authorization: str) -> Principal | None:
        scheme, _, secret = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return None
        token = await self.token_of(secret)
        if token is None and self._issuer is not None and is_jwt(secret.strip()):
            return await _issued(self._issuer, secret.strip())
        return token.principal if token is not None else None

    async def _looked_up(self, digest: bytes) -> Token | None:
        now = self._clock()
        since, token = self._remembered.get(digest, (now, None))
        if token is not None and now - since < REMEMBERED_S:
            return token
        asking = self._asking.get(digest)
        if asking is None:
            asking = self._asking[digest] = asyncio.create_task(self._asked(digest), name="look up a token")
            asking.add_done_callback(partial(self._answered, digest))
        # Hundreds of streams that are woken together ask once; none of them takes the answer from the others.
        return await asyncio.shield(asking)

    def _answered(self, digest: bytes, asked: asyncio.Task[Token | None]) -> None:
        del self._asking[digest]
        if not asked.cancelled():
            asked.exception()  # heard, also where nobody has waited for it to the end

    async def _asked(self, digest: bytes) -> Token | None:
        assert self._directory is not None
        now = self._clock()
        token = _known(await self._directory.by_digest(digest), digest)
        self._remembered.pop(digest, None)
        if token is not None:
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered[digest] = (now, token)
        return token


def unauthorized(why: str | None = None) -> ProblemError:
    """401; of a signed token it says why it is not good here, as its holder can read it."""
    if why is None:
        challenge = {"WWW-Authenticate": "Bearer"}
        return ProblemError(401, "unauthorized", "A valid bearer token is needed.", headers=challenge)
    challenge = {"WWW-Authenticate": f'Bearer error="invalid_token", error_description="{why}"'}
    return ProblemError(401, "unauthorized", f"This token is not good here: {why}.", headers=challenge)


async def _issued(issuer: Issuer, secret: str) -> Principal:
    """Whose token of the provider it is. Raises ProblemError."""
    try:
        identity = await issuer.identity(secret)
    except TokenUnfit as unfit:
        raise unauthorized(str(unfit)) from None
    except ProviderUnavailable as error:
        detail = f"The issuer's keys are not known here: {error}."
        raise ProblemError(503, "issuer_unavailable", detail, headers={"Retry-After": "5"}) from None
    if identity.role is None:
        raise ProblemError(403, "forbidden", "Nothing that this token claims gives its subject a role here.")
    return Principal(identity.name, identity.role)


def _known(stored: StoredToken | None, digest: bytes | None = None) -> Token | None:
    if stored is None or (digest is not None and not hmac.compare_digest(stored.digest, digest)):
        return None
    return Token(stored.digest, Principal(stored.name, stored.role), stored.token_id)


def _id_of(name: str) -> UUID | None:
    try:
        return UUID(name) if len(name) == _UUID_LENGTH else None
    except ValueError:
        return None


_UUID_LENGTH: Final = 36
