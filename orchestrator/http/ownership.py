"""Whose business a saga is: who may start, see, signal and cancel sagas of which definition."""

from __future__ import annotations

from enum import Enum

from starlette.requests import Request

from orchestrator.core.registry import Registry
from orchestrator.http.access import CUSTOMER, Access, Permission, Principal, unauthorized
from orchestrator.http.answers import not_found
from orchestrator.queries.orders import shop_definitions
from orchestrator.tokens import Role


class Right(Enum):
    """What somebody wants with a saga."""

    SEE = Permission.VIEW
    ACT = Permission.SAGAS


class Ownership:
    """Decides by the caller's token and the saga's definition.

    A definition of orders, or of what follows them, is the shop's, any other its client's.
    Operators may do all of it, viewers may see.
    Whoever has no token may do what is open to everybody.
    """

    def __init__(self, access: Access, registry: Registry) -> None:
        self._access = access
        self._orders = shop_definitions(registry)
        self._started_here = registry.started_here

    async def may_start(self, request: Request, definition: str) -> Principal:
        """Who starts sagas of this definition. Raises ProblemError (401, 403) and StorageUnavailable."""
        principal = await self._access.caller(request)
        if principal is None:
            if not self._is_open(definition):
                raise unauthorized()
            return CUSTOMER
        if not self._is_of(principal, definition):
            self._access.require(principal, Permission.SAGAS)
        return principal

    async def somebody(self, request: Request) -> Principal | None:
        """Who asks for a saga; None without a token, where any definition is open to everybody.

        Raises:
            ProblemError: 401.
            StorageUnavailable: the token cannot be looked up.
        """
        principal = await self._access.caller(request)
        if principal is None and not any(map(self._is_open, self._started_here)):
            raise unauthorized()
        return principal

    async def may(self, request: Request, definition: str, right: Right) -> Principal:
        """Who asks for a saga of a definition, and may. Raises as `somebody` and `admitted` do."""
        return self.admitted(await self.somebody(request), definition, right)

    def admitted(self, principal: Principal | None, definition: str, right: Right) -> Principal:
        """The caller, who may do this to a saga of this definition.

        Raises:
            ProblemError: 401 without a token, 403 where its role does not go that far; 404 for those to whom
                such sagas are not there.
        """
        if principal is None:
            if not self._is_open(definition):
                raise unauthorized()
            return CUSTOMER
        if self._is_of(principal, definition):
            return principal
        if principal.role in (Role.CLIENT, Role.SHOP):
            raise not_found("saga")
        self._access.require(principal, right.value)
        return principal

    def _is_of(self, principal: Principal, definition: str) -> bool:
        if principal.role is Role.SHOP:
            return definition in self._orders
        return principal.role is Role.CLIENT and principal.definition == definition

    def _is_open(self, definition: str) -> bool:
        if definition in self._orders:
            return self._access.orders_are_open
        return self._access.is_open(definition)
