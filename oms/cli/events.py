"""`oms events`: what has happened to all orders, in its order, and what happens from now on."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID

import typer
from rich.text import Text

from oms.cli import output, session
from oms.cli.options import DEFAULT_URL, AsJson, Token, Url, example
from oms.cli.patience import Patience

if TYPE_CHECKING:
    from oms.api_client import ApiClient, Document

LARGEST_PAGE: Final = 500


def add_to(app: typer.Typer) -> None:
    """Put the command on the command line."""
    examples = example(
        "oms events --type OrderCompletedEvent",
        "oms events --follow --after latest",
        "oms events --after CURSOR --limit 1000 --json",
    )
    app.command("events", epilog=examples)(events)


def events(
    after: Annotated[
        str | None,
        typer.Option(
            "--after", metavar="CURSOR", help="What follows this one; latest: nothing that is there already."
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what happens, also over restarts of the API.")
    ] = False,
    types: Annotated[
        list[str] | None, typer.Option("--type", metavar="TYPE", help="Of this type; may be repeated.")
    ] = None,
    order: Annotated[UUID | None, typer.Option("--order", metavar="ID", help="Of this order.")] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=100_000, help="How many at most, unless it follows.")
    ] = 100,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Read the events of all orders, oldest first, each a line.

    Every line of --json has the cursor behind its event. Whoever keeps the last one misses nothing.
    """
    wanted = {"type": types or None, "order_id": order and str(order)}
    show = output.show_json_line if as_json else _show
    if follow:
        session.ask(url, token, lambda api: _follow(api, after, wanted, show))
        return
    last, more = session.ask(url, token, lambda api: _read(api, after, wanted, limit, show))
    if more:
        output.note(f"there are more: --after {last}, or a larger --limit")


async def _read(
    api: ApiClient, after: str | None, wanted: Document, limit: int, show: Any
) -> tuple[str, bool]:
    """Show events; the cursor behind them, and whether there are more. Raises ApiFailure."""
    left = limit
    while True:
        asked = {**wanted, "after": after, "limit": min(left, LARGEST_PAGE)}
        page = await api.get("/events", asked)
        for event in page["items"]:
            show(event)
        left, after = left - len(page["items"]), str(page["next_cursor"])
        if not page["more"] or left <= 0:
            return after, bool(page["more"])


async def _follow(api: ApiClient, after: str | None, wanted: Document, show: Any) -> None:
    """Show events for as long as somebody reads them. Raises ApiFailure."""
    async with aclosing(_lasting(api, after, wanted)) as following:
        async for event in following:
            show(event)


async def _lasting(api: ApiClient, after: str | None, wanted: Document) -> AsyncGenerator[Document, None]:
    """Events without an end; where the API is away for a while, from where they ended. Raises ApiFailure."""
    patience = Patience()

    async def read_on() -> Document:
        asked = {**wanted, "after": after}
        return (await api.send("GET", "/events", parameters=asked, headers=_WAITING)).body

    while True:
        page = await patience.answer(read_on)
        after = str(page["next_cursor"])
        for event in page["items"]:
            yield event


_WAITING: Final = {"Prefer": "wait=20"}


def _show(event: Document) -> None:
    """One line. Raises BrokenPipeError when nobody reads it any more."""
    line = Text("  ").join(
        (
            output.plain(event.get("at")),
            output.plain(event.get("order_id")),
            output.plain(event.get("type")),
            output.plain(_details(event)),
        )
    )
    output.show_now(line)


_IDENTITIES: Final = frozenset({"saga_id", "order_id", "step", "direction"})


def _details(event: Document) -> Any:
    body = event.get("body")
    if not isinstance(body, dict):
        return event.get("unreadable")
    return {name: value for name, value in body.items() if name not in _IDENTITIES} or None
