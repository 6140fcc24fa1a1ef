"""Reads of orders: what their customers see."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import Row, Select, Uuid, cast, func, select
from sqlalchemy.dialects.postgresql import ARRAY

from contracts.orders import AcceptedOrder
from orchestrator.codec import Unreadable, load_order
from orchestrator.core.definition import SagaDefinition, step_name
from orchestrator.core.registry import Registry
from orchestrator.core.state import Forward, Saga, Status, StepState
from orchestrator.core.values import replace
from orchestrator.progress import Standing
from orchestrator.queries.paging import KEY, Page, read_page
from orchestrator.queries.reader import Reader
from orchestrator.queries.sagas import WHOLE_SAGA, saga_of, whole_sagas
from orchestrator.queries.views import FailureView, LineView, OrderList, OrderView, ParcelLineView, ParcelView
from orchestrator.sagas.order_fulfillment import END_STATUSES, SHIP, OrderStatus
from orchestrator.selection import NOTHING, FoundBy
from orchestrator.tables import orders, sagas


@dataclass(frozen=True, slots=True)
class OrderFilter:
    """Which orders are wanted; several values of one filter mean "or", an empty filter means all."""

    customer_ids: tuple[str, ...] = ()
    statuses: tuple[OrderStatus, ...] = ()
    found_by: FoundBy = NOTHING


def is_of_orders(definition: SagaDefinition) -> bool:
    """Whether its sagas are started by orders."""
    return issubclass(definition.accepted or definition.input, AcceptedOrder)


def order_definitions(registry: Registry) -> frozenset[str]:
    """The names of those definitions whose sagas are started by orders."""
    return frozenset(each.name for each in registry if is_of_orders(each))


def shop_definitions(registry: Registry) -> frozenset[str]:
    """The names of those definitions that are the shop's business: of orders, and of what follows them."""
    of_orders = order_definitions(registry)
    following = {each.name for each in registry if each.follows and each.follows.definition in of_orders}
    return of_orders | following


class OrderQueries:
    """Orders, for their customers. Sagas that are about something else are none."""

    def __init__(self, reader: Reader, registry: Registry) -> None:
        self._registry = registry
        self._reader = reader
        self._are_orders = sagas.c.definition.in_(sorted(order_definitions(registry)))

    async def saga_of(self, order_id: UUID) -> Saga | None:
        """The saga of an order. Raises StorageUnavailable and Unreadable."""
        row = await self._reader.row(self._of_order(order_id))
        return self._whole(row) if row is not None else None

    async def order(self, order_id: UUID) -> OrderView | None:
        """An order as its customer sees it, whatever can be read of it. Raises StorageUnavailable."""
        row = await self._reader.row(self._of_order(order_id))
        return self._view_of(row) if row is not None else None

    async def saga_id_of(self, order_id: UUID) -> UUID | None:
        """Which saga an order has. Raises StorageUnavailable."""
        found = select(orders.c.saga_id).join_from(orders, sagas, _OF_ITS_SAGA)
        row = await self._reader.row(found.where(orders.c.order_id == order_id, self._are_orders))
        return row.saga_id if row is not None else None

    async def standings(self, order_ids: Collection[UUID]) -> Mapping[UUID, Standing]:
        """How far these orders are; those that do not exist are missing. Raises StorageUnavailable."""
        ended = sagas.c.ended_at.is_not(None).label("ended")
        wanted = sagas.c.order_id == func.any(cast(list(order_ids), ARRAY(Uuid)))
        rows = await self._reader.rows(select(sagas.c.order_id, sagas.c.version, ended).where(wanted))
        return {row.order_id: Standing(row.version, row.ended) for row in rows}

    async def page(self, wanted: OrderFilter, page: Page) -> OrderList:
        """Orders, newest first. Raises InvalidCursor and StorageUnavailable."""
        items, following = await read_page(
            self._reader, list(self._branches(wanted)), page, "o", self._view_of
        )
        return OrderList(items=items, next_cursor=following)

    def _whole(self, row: Row[Any]) -> Saga:
        """The saga of a row, with its order also where its definition is not known here (S13)."""
        saga = saga_of(row, self._registry)
        known = isinstance(saga.input, AcceptedOrder)
        return saga if known else replace(saga, input=load_order(row.document))

    def _of_order(self, order_id: UUID) -> Select[Any]:
        whole = select(*WHOLE_SAGA).join_from(orders, sagas, _OF_ITS_SAGA)
        return whole.where(orders.c.order_id == order_id, self._are_orders)

    def _branches(self, wanted: OrderFilter) -> Iterator[Select[Any]]:
        """One selection a customer and status, each bounded by an index; active sagas are few."""
        statuses = tuple(dict.fromkeys(wanted.statuses))
        for customer_id in tuple(dict.fromkeys(wanted.customer_ids)) or (None,):
            key = sagas.c.saga_id if customer_id is None else orders.c.order_id
            base = whole_sagas().add_columns(key.label(KEY)).where(self._are_orders)
            base = base.where(*wanted.found_by.conditions())
            if customer_id is not None:
                base = base.where(orders.c.customer_id == customer_id)
            yield from _by_status(base, statuses)

    def _view_of(self, row: Row[Any]) -> OrderView:
        try:
            return order_view(self._whole(row))
        except Unreadable as error:
            self._reader.note_unreadable("order", row.order_id, str(error))
            return _remains(row, str(error))


_OF_ITS_SAGA: Final = sagas.c.saga_id == orders.c.saga_id


def _remains(row: Row[Any], reason: str) -> OrderView:
    """What is left of an order that cannot be read, or whose saga cannot, and why (S25)."""
    try:
        order = load_order(row.document)
    except Unreadable:
        order = None
    return OrderView(
        order_id=row.order_id,
        saga_id=row.saga_id,
        customer_id=row.customer_id,
        reference=order.reference if order else None,
        metadata=order.metadata if order else {},
        status=_status(row.order_status),
        compensating=row.status == Status.COMPENSATING,
        currency=order.currency if order else None,
        total=order.total if order else None,
        lines=tuple(map(LineView.model_validate, order.lines)) if order else (),
        failure=None,
        cancel_requested_at=None,
        created_at=row.created_at,
        updated_at=row.updated_at,
        ended_at=row.ended_at,
        unreadable=reason,
    )


def _status(label: str) -> OrderStatus | str:
    """A saga's label; another definition of orders may have words of its own."""
    return OrderStatus(label) if label in set(OrderStatus) else label


def order_view(saga: Saga) -> OrderView:
    """The order of a saga as its customer sees it."""
    order = saga.input
    return OrderView(
        order_id=saga.subject_id,
        saga_id=saga.saga_id,
        customer_id=order.customer_id,
        reference=order.reference,
        metadata=order.metadata,
        status=_status(saga.label),
        compensating=saga.status is Status.COMPENSATING,
        currency=order.currency,
        total=order.total,
        lines=tuple(map(LineView.model_validate, order.lines)),
        parcels=tuple(map(_parcel, filter(_is_parcel, saga.steps))),
        failure=FailureView.model_validate(saga.failure) if saga.failure else None,
        cancel_requested_at=saga.cancel_requested_at,
        created_at=saga.created_at,
        updated_at=saga.updated_at,
        ended_at=saga.ended_at,
    )


_PARCEL_STATUS: Final[Mapping[Forward, Literal["shipped", "refused"]]] = {
    Forward.SUCCEEDED: "shipped",
    Forward.REJECTED: "refused",
}


def _is_parcel(piece: StepState) -> bool:
    """Whether it is one of ours; another definition of orders may have branches about something else."""
    item = piece.item
    return (
        step_name(piece.name) == SHIP and isinstance(item, Mapping) and {"location", "lines"} <= item.keys()
    )


def _parcel(branch: StepState) -> ParcelView:
    """A branch of the stage that ships (S31)."""
    refused = branch.forward is Forward.REJECTED
    return ParcelView(
        location=branch.item["location"],
        status=_PARCEL_STATUS.get(branch.forward, "pending"),
        lines=tuple(map(ParcelLineView.model_validate, branch.item["lines"])),
        reference=branch.result.get("reference"),
        failure=FailureView(**branch.result) if refused else None,
    )


def _by_status(base: Select[Any], statuses: Sequence[OrderStatus]) -> Iterator[Select[Any]]:
    active = [status for status in statuses if status not in END_STATUSES]
    if not statuses:
        yield base
    if active:
        yield base.where(sagas.c.ended_as.is_(None), sagas.c.order_status.in_(active))
    for result in statuses:
        if result in END_STATUSES:
            yield base.where(sagas.c.ended_as == result)
