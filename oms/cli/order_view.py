"""How orders look to people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from oms.cli import output

Order = Mapping[str, Any]


def show(order: Order) -> None:
    """One order with its lines."""
    output.show(
        output.pairs(
            {
                "order": output.plain(order.get("order_id"), "bold"),
                "reference": output.plain(order.get("reference")),
                "status": _status(order),
                "customer": output.plain(order.get("customer_id")),
                "total": output.money(order.get("total"), order.get("currency")),
                "metadata": output.marks(order.get("metadata")),
                "failure": failure(order),
                "created": output.age(order.get("created_at")),
                "cancel asked for": output.age(order.get("cancel_requested_at")),
                "ended": output.age(order.get("ended_at")),
                "saga": output.plain(order.get("saga_id")),
            }
        ),
        _lines(order),
        *([_parcels(order)] if order.get("parcels") else ()),
    )


def table(orders: Iterable[Order]) -> Table:
    """Many orders, one a row."""
    rows = [
        (
            output.plain(order.get("order_id")),
            output.plain(order.get("reference")),
            _status(order),
            output.plain(order.get("customer_id")),
            output.money(order.get("total"), order.get("currency")),
            output.age(order.get("created_at")),
            failure(order),
        )
        for order in orders
    ]
    return output.table(("order", "reference", "status", "customer", "#total", "created", "failure"), rows)


def show_event(order: Order) -> None:
    """One line of an order's progress. Raises BrokenPipeError when nobody follows it any more."""
    at = output.moment(order.get("updated_at"))
    line = Text(at.astimezone().strftime("%H:%M:%S") if at else "", style="dim")
    line.append("  ").append_text(_status(order))
    if order.get("failure"):
        line.append("  ").append_text(failure(order))
    output.show_now(line)


def failure(order: Order) -> Text:
    """Why an order will not be fulfilled."""
    cause = order.get("failure")
    if not isinstance(cause, Mapping):
        return output.plain(None)
    code, message = cause.get("code"), cause.get("message")
    return output.plain(f"{code}: {message}" if message else str(code))


def _status(order: Order) -> Text:
    status = output.status(order.get("status"))
    return status.append(" (being undone)", "yellow") if order.get("compensating") else status


def _parcels(order: Order) -> Table:
    rows = [
        (
            output.plain(parcel.get("location")),
            output.status(parcel.get("status")),
            output.plain(", ".join(map(_said, parcel.get("lines", ())))),
            output.plain(parcel.get("reference")),
            failure(parcel),
        )
        for parcel in order["parcels"]
    ]
    return output.table(("parcel from", "status", "lines", "reference", "failure"), rows)


def _said(line: Mapping[str, Any]) -> str:
    return f"{line.get('quantity')} x {line.get('sku')}"


def _lines(order: Order) -> Table:
    rows = [
        (
            output.plain(line.get("sku")),
            output.plain(line.get("quantity")),
            output.money(line.get("unit_price"), order.get("currency")),
        )
        for line in order.get("lines", ())
    ]
    return output.table(("sku", "#quantity", "#unit price"), rows)
