"""Returns of orders: ask for one, list those of an order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID

import typer
from rich.table import Table

from oms.cli import order_view, output, session
from oms.cli.options import DEFAULT_URL, AsJson, Cursor, Limit, OrderToken, Url, example

if TYPE_CHECKING:
    from oms.api_client import ApiClient, Document

_QUANTITY: Final = re.compile("[0-9]{1,9}")

OrderId = Annotated[UUID, typer.Argument(metavar="ID", help="The order's id.")]
RETURN = example(
    'oms orders return ID SKU-1=1 --reason "too small"',
    'oms orders return ID SKU-1=1 SKU-2=3 --reason "not as described" --idempotency-key back-1',
)
RETURNS = example("oms orders returns ID", "oms orders returns ID --json")


def ask_for(
    order_id: OrderId,
    lines: Annotated[
        list[str], typer.Argument(metavar="SKU=QUANTITY...", help="What comes back, each SKU once.")
    ],
    reason: Annotated[str, typer.Option("--reason", "-r", metavar="TEXT", help="Why it comes back.")],
    idempotency_key: Annotated[
        str | None,
        typer.Option("--idempotency-key", metavar="KEY", help="With it, running the same again is safe."),
    ] = None,
    url: Url = DEFAULT_URL,
    token: OrderToken = None,
    as_json: AsJson = False,
) -> None:
    """Return goods of an order that was shipped. What they are worth is refunded once they are there."""
    body = {"lines": [_line(each) for each in lines], "reason": reason}
    headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}

    async def post(api: ApiClient) -> Document:
        return (await api.send("POST", f"/orders/{order_id}/returns", body=body, headers=headers)).body

    made = session.ask(url, token, post)
    if as_json:
        output.show_json(made)
    else:
        output.show(_table([made]))


def list_returns(
    order_id: OrderId,
    limit: Limit = 50,
    cursor: Cursor = None,
    url: Url = DEFAULT_URL,
    token: OrderToken = None,
    as_json: AsJson = False,
) -> None:
    """List the returns of an order, newest first."""
    page = session.listed(url, token, f"/orders/{order_id}/returns", {"cursor": cursor}, limit)
    if as_json:
        output.show_json(page)
        return
    output.show(_table(page["items"]))
    session.show_more(page)


def _line(given: str) -> dict[str, Any]:
    """A line of the return. Raises BadParameter."""
    sku, _, quantity = given.rpartition("=")
    if not sku or not _QUANTITY.fullmatch(quantity):
        raise typer.BadParameter(f"{given!r} is no SKU=QUANTITY, such as SKU-1=1", param_hint="SKU=QUANTITY")
    return {"sku": sku, "quantity": int(quantity)}


def _table(returns: Iterable[Mapping[str, Any]]) -> Table:
    rows = [
        (
            output.plain(each.get("return_id")),
            output.status(each.get("status")),
            output.plain(_goods(each)),
            output.money(each.get("amount"), each.get("currency")),
            output.plain(each.get("reason")),
            output.age(each.get("created_at")),
            order_view.failure(each),
        )
        for each in returns
    ]
    return output.table(("return", "status", "goods", "#amount", "reason", "created", "failure"), rows)


def _goods(made: Mapping[str, Any]) -> str:
    """What comes back, and what became of it."""
    return ", ".join(
        f"{line['quantity']} x {line['sku']}"
        + (f" ({line['disposition'].replace('_', ' ')})" if line.get("disposition") else "")
        for line in made.get("lines", ())
    )
