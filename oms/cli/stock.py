"""`oms stock`: what is on hand, and setting it."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from oms.cli import output, session
from oms.cli.options import DEFAULT_URL, AsJson, Cursor, Limit, Token, Url, example, group

commands = group(
    "stock", "See and set what inventory has on hand.", "oms stock list", "oms stock set SKU-1 100"
)


@commands.command("list", epilog=example("oms stock list"))
def list_stock(
    url: Url = DEFAULT_URL,
    token: Token = None,
    limit: Limit = 200,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List products with what is on hand, reserved for orders, and available."""
    page = session.listed(url, token, "/inventory", {"cursor": cursor}, limit)
    if as_json:
        output.show_json(page)
        return
    output.show(_table(page["items"]))
    session.show_more(page)


@commands.command("set", epilog=example("oms stock set SKU-1 100", "oms stock set SKU-1 40 --location north"))
def set_stock(
    sku: Annotated[str, typer.Argument(metavar="SKU", help="The product.")],
    on_hand: Annotated[int, typer.Argument(metavar="N", min=0, help="Pieces in the house.")],
    expected_on_hand: Annotated[
        int | None, typer.Option("--expected-on-hand", min=0, help="Only when it is this many now.")
    ] = None,
    location: Annotated[
        str | None, typer.Option("--location", metavar="NAME", help="Where they are; by default at default.")
    ] = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Set how many pieces of a product are at a location; what is reserved for orders counts as there."""
    body: dict[str, Any] = {"on_hand": on_hand}
    if location is not None:
        body["location"] = location
    if expected_on_hand is not None:
        body["expected_on_hand"] = expected_on_hand
    path = f"/inventory/{quote(sku, safe='', errors='surrogateescape')}"
    level = session.ask(url, token, lambda api: api.put(path, body))
    if as_json:
        output.show_json(level)
    else:
        output.show(_table([level]))


def _table(levels: list[dict[str, Any]]) -> Any:
    names = ("on_hand", "reserved", "available")
    placed = any(level.get("locations") for level in levels)
    rows = [
        (
            output.plain(each.get("sku")),
            *((output.plain(each.get("location")),) if placed else ()),
            *(output.plain(each.get(name)) for name in names),
        )
        for level in levels
        for each in (level, *({"sku": "", **place} for place in level.get("locations", ())))
    ]
    columns = ("sku", *(("location",) if placed else ()), "#on hand", "#reserved", "#available")
    return output.table(columns, rows)
