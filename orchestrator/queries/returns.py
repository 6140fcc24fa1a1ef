"""Reads of returns: what the customers of the orders see of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, Select

from contracts.returns import ORDER_KEY, AcceptedReturn, Disposition
from orchestrator.codec import Unreadable
from orchestrator.core.registry import Registry
from orchestrator.core.state import Saga
from orchestrator.queries.paging import KEY, Page, read_page
from orchestrator.queries.reader import Reader
from orchestrator.queries.sagas import saga_of, whole_sagas
from orchestrator.queries.views import FailureView, ReturnLineView, ReturnList, ReturnView
from orchestrator.sagas.order_return import GOODS_RECEIVED, NAME
from orchestrator.selection import FoundBy
from orchestrator.tables import sagas

_KIND: Final = "r"
"""Of the cursors of these lists."""


class ReturnQueries:
    """Returns, for the customers of their orders."""

    def __init__(self, reader: Reader, registry: Registry) -> None:
        self._reader = reader
        self._registry = registry

    async def one(self, return_id: UUID) -> ReturnView | None:
        """A return, whatever can be read of it. Raises StorageUnavailable."""
        row = await self._reader.row(_returns().where(sagas.c.saga_id == return_id))
        return self._view_of(row) if row is not None else None

    async def of_order(self, order_id: UUID, page: Page) -> ReturnList:
        """The returns of an order, newest first. Raises InvalidCursor and StorageUnavailable."""
        found = FoundBy(metadata=((ORDER_KEY, (str(order_id),)),))
        wanted = _returns().add_columns(sagas.c.saga_id.label(KEY)).where(*found.conditions())
        items, following = await read_page(self._reader, [wanted], page, _KIND, self._view_of)
        return ReturnList(items=items, next_cursor=following)

    def _view_of(self, row: Row[Any]) -> ReturnView:
        try:
            saga = saga_of(row, self._registry)
        except Unreadable as error:
            self._reader.note_unreadable("return", row.saga_id, str(error))
            return _remains(row, str(error))
        if not isinstance(saga.input, AcceptedReturn):
            return _remains(row, f"version {row.definition_version} of {NAME} is not known here")
        return return_view(saga)


def _returns() -> Select[Any]:
    return whole_sagas().where(sagas.c.definition == NAME)


def _lines(given: AcceptedReturn, said: Mapping[str, Disposition]) -> Iterator[ReturnLineView]:
    """Each product once, from wherever it was."""
    pieces: dict[tuple[str, int], int] = {}
    for line in given.lines:
        pieces[line.sku, line.unit_price] = pieces.get((line.sku, line.unit_price), 0) + line.quantity
    for (sku, price), quantity in pieces.items():
        yield ReturnLineView(sku=sku, quantity=quantity, unit_price=price, disposition=said.get(sku))


def return_view(saga: Saga) -> ReturnView:
    """The return of a saga as the customer of its order sees it."""
    given: AcceptedReturn = saga.input
    results = {piece.name: piece.result for piece in saga.steps}
    received = results.get(GOODS_RECEIVED, {}).get("lines", ())
    said = {line["sku"]: line["disposition"] for line in received}
    return ReturnView(
        return_id=saga.saga_id,
        order_id=given.order_id,
        status=saga.label,
        lines=tuple(_lines(given, said)),
        reason=given.reason,
        currency=given.currency,
        amount=given.amount,
        refund_reference=results.get("refund", {}).get("reference"),
        failure=FailureView.model_validate(saga.failure) if saga.failure else None,
        created_at=saga.created_at,
        updated_at=saga.updated_at,
        ended_at=saga.ended_at,
    )


def _remains(row: Row[Any], reason: str) -> ReturnView:
    """What is left of a return that cannot be read, and why (S25)."""
    return ReturnView(
        return_id=row.saga_id,
        order_id=row.order_id,
        status=row.order_status,
        lines=(),
        reason=None,
        currency=None,
        amount=None,
        refund_reference=None,
        failure=None,
        created_at=row.created_at,
        updated_at=row.updated_at,
        ended_at=row.ended_at,
        unreadable=reason,
    )
