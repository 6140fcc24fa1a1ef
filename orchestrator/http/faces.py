"""How sagas look to those who start them: as orders, or as the sagas that they are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel

from orchestrator.core.state import Saga
from orchestrator.intake import Accepted
from orchestrator.queries import Queries
from orchestrator.queries.orders import order_view
from orchestrator.queries.returns import return_view
from orchestrator.queries.sagas import HistoryRow, saga_then
from orchestrator.queries.views import OrderView, ReturnView, SagaStanding, SagaView

V = TypeVar("V", bound=OrderView | SagaView | ReturnView)


class Face(ABC, Generic[V]):
    """How sagas of one kind are called, found and shown.

    Attributes:
        what: the word for one of them, which begins the names of its events.
        path: below which each is found by its id.
    """

    what: str
    path: str

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    @abstractmethod
    async def id_of(self, accepted: Accepted) -> UUID:
        """By which what was accepted is found. Raises StorageUnavailable."""

    @abstractmethod
    async def find(self, identity: UUID) -> V | None:
        """It as it is now, whatever can be read of it. Raises StorageUnavailable."""

    @abstractmethod
    async def saga(self, identity: UUID) -> Saga | None:
        """Its saga. Raises StorageUnavailable and Unreadable."""

    @abstractmethod
    def of(self, saga: Saga) -> V:
        """A saga as it is shown."""

    @abstractmethod
    def standing(self, saga: Saga) -> BaseModel:
        """What an event tells of a saga."""

    def then(self, saga: Saga, entry: HistoryRow) -> BaseModel:
        """What an event tells of it as it was right after an entry of its history."""
        return self.standing(saga_then(saga, entry))


class OrderFace(Face[OrderView]):
    """Sagas as the orders that started them."""

    what = "order"
    path = "/orders"

    async def id_of(self, accepted: Accepted) -> UUID:
        """See `Face`."""
        return accepted.subject_id

    async def find(self, identity: UUID) -> OrderView | None:
        """See `Face`."""
        return await self._queries.orders.order(identity)

    async def saga(self, identity: UUID) -> Saga | None:
        """See `Face`."""
        return await self._queries.orders.saga_of(identity)

    def of(self, saga: Saga) -> OrderView:
        """See `Face`."""
        return order_view(saga)

    standing = of


class SagaFace(Face[SagaView]):
    """Sagas of any definition."""

    what = "saga"
    path = "/sagas"

    async def id_of(self, accepted: Accepted) -> UUID:
        """See `Face`. A saga about an order that stood before is found by its order."""
        if accepted.saga is not None:
            return accepted.saga.saga_id
        return await self._queries.orders.saga_id_of(accepted.subject_id) or accepted.subject_id

    async def find(self, identity: UUID) -> SagaView | None:
        """See `Face`."""
        return await self._queries.sagas.started(identity)

    async def saga(self, identity: UUID) -> Saga | None:
        """See `Face`."""
        return await self._queries.sagas.saga(identity)

    def of(self, saga: Saga) -> SagaView:
        """See `Face`."""
        return self._queries.sagas.view_of(saga)

    def standing(self, saga: Saga) -> SagaStanding:
        """See `Face`."""
        return self._queries.sagas.standing_of(saga)


class ReturnFace(Face[ReturnView]):
    """Sagas as the returns that started them; each is followed, cancelled and signalled as the saga it is."""

    what = "return"
    path = "/sagas"

    async def id_of(self, accepted: Accepted) -> UUID:
        """See `Face`. A return is about nothing but itself."""
        return accepted.subject_id

    async def find(self, identity: UUID) -> ReturnView | None:
        """See `Face`."""
        return await self._queries.returns.one(identity)

    async def saga(self, identity: UUID) -> Saga | None:
        """See `Face`."""
        return await self._queries.sagas.saga(identity)

    def of(self, saga: Saga) -> ReturnView:
        """See `Face`."""
        return return_view(saga)

    standing = of
