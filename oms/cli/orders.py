"""`oms orders`: submit, look at, follow and cancel orders."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID

import typer

from oms.cli import holds, order_view, output, returns, session
from oms.cli.options import (
    DEFAULT_URL,
    AsJson,
    Cursor,
    Limit,
    MetadataPairs,
    OrderToken,
    References,
    Timeout,
    Url,
    Yes,
    example,
    found_by,
    group,
)
from oms.cli.patience import Patience

if TYPE_CHECKING:
    from oms.api_client import ApiClient, StreamEvent

commands = group(
    "orders",
    "Submit orders and see what becomes of them.",
    "oms orders submit order.json --wait",
    "oms orders list --status rejected",
)

commands.command("approve", epilog=holds.APPROVE)(holds.approve)
commands.command("deny", epilog=holds.DENY)(holds.deny)
commands.command("return", epilog=returns.RETURN)(returns.ask_for)
commands.command("returns", epilog=returns.RETURNS)(returns.list_returns)

OrderId = Annotated[UUID, typer.Argument(metavar="ID", help="The order's id.")]
ENDED: Final = ("completed", "partially_fulfilled", "rejected", "cancelled")


@commands.command(
    "submit",
    epilog=example(
        "oms orders submit order.json --wait",
        "oms orders submit orders.ndjson --concurrency 32",
        "cat orders.ndjson | oms orders submit - --json",
    ),
)
def submit(
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="JSON (one order or a list), or one order a line; - is stdin."),
    ],
    idempotency_key: Annotated[
        str | None,
        typer.Option(
            "--idempotency-key",
            metavar="KEY",
            help="Key of the order; of several, line N gets KEY-N. Default: made from the order's content, "
            "so that running the same file again submits nothing twice.",
        ),
    ] = None,
    new: Annotated[bool, typer.Option("--new", help="Submit anew what was submitted before.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until every order has ended.")] = False,
    timeout: Timeout = 600,
    concurrency: Annotated[
        int, typer.Option("--concurrency", min=1, max=256, help="Submissions under way at once.")
    ] = 16,
    url: Url = DEFAULT_URL,
    token: OrderToken = None,
    as_json: AsJson = False,
) -> None:
    """Submit one order, or many. Running it again is safe: orders that were taken are not taken twice."""
    from oms.cli import order_files, submission, submission_view

    source = order_files.opened(file)
    keys = order_files.keys_for(source, idempotency_key, new)
    plan = submission.SubmissionPlan(keys, concurrency, timeout if wait else None)
    view = submission_view.view_for(source, as_json, wait)
    outcome = session.ask(url, token, lambda api: submission.run(api, source, plan, view))
    if outcome.failed:
        raise typer.Exit(1)


@commands.command("show", epilog=example("oms orders show ID"))
def show(
    order_id: OrderId, url: Url = DEFAULT_URL, token: OrderToken = None, as_json: AsJson = False
) -> None:
    """Show one order."""
    order = session.get(url, token, f"/orders/{order_id}")
    if as_json:
        output.show_json(order)
    else:
        order_view.show(order)


@commands.command(
    "list",
    epilog=example(
        "oms orders list --customer c-42",
        "oms orders list --status pending",
        "oms orders list --reference A-1001",
        "oms orders list --metadata channel=web",
    ),
)
def list_orders(
    customer: Annotated[
        list[str] | None, typer.Option("--customer", metavar="ID", help="Of this customer; may be repeated.")
    ] = None,
    status: Annotated[
        list[str] | None, typer.Option("--status", metavar="STATUS", help="In this status; may be repeated.")
    ] = None,
    reference: References = None,
    metadata: MetadataPairs = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    url: Url = DEFAULT_URL,
    token: OrderToken = None,
    as_json: AsJson = False,
) -> None:
    """List orders, newest first."""
    filters = {"customer_id": customer or None, "status": status or None, "cursor": cursor}
    filters |= found_by(reference, metadata)
    page = session.listed(url, token, "/orders", filters, limit)
    if as_json:
        output.show_json(page)
        return
    output.show(order_view.table(page["items"]))
    session.show_more(page)


@commands.command("watch", epilog=example("oms orders watch ID"))
def watch(
    order_id: OrderId, url: Url = DEFAULT_URL, token: OrderToken = None, as_json: AsJson = False
) -> None:
    """Follow one order until it has ended."""

    async def follow(api: ApiClient) -> None:
        async with aclosing(_events(api, order_id)) as events:
            async for event in events:
                if as_json:
                    output.show_json_line({"id": event.id, "event": event.kind, "order": event.data})
                else:
                    order_view.show_event(event.data)

    session.ask(url, token, follow)


@commands.command("cancel", epilog=example("oms orders cancel ID"))
def cancel(
    order_id: OrderId,
    reason: Annotated[str | None, typer.Option("--reason", "-r", metavar="TEXT", help="Why.")] = None,
    yes: Yes = False,
    url: Url = DEFAULT_URL,
    token: OrderToken = None,
    as_json: AsJson = False,
) -> None:
    """Cancel one order, if it is not too late; what was done for it is undone."""
    before = session.get(url, token, f"/orders/{order_id}")
    session.confirm(f"order {order_id} is {before.get('status')}; it will be cancelled", yes)
    body = None if reason is None else {"reason": reason}
    order = session.ask(url, token, lambda api: api.post(f"/orders/{order_id}/cancel", body))
    if as_json:
        output.show_json(order)
    else:
        order_view.show(order)


async def _events(api: ApiClient, order_id: UUID) -> AsyncGenerator[StreamEvent, None]:
    """The order's events until the final one; a stream that broke off is taken up where it ended.

    Raises:
        ApiFailure: it cannot be taken up.
    """
    from oms.api_client import ApiFailure, BrokenOff

    patience, last, pause_s = Patience(), None, 0.0
    while True:
        ended: ApiFailure = BrokenOff(f"{api.url} has broken the stream off")
        try:
            async with aclosing(api.events(f"/orders/{order_id}/events", last)) as events:
                async for event in events:
                    patience.rewarded()
                    last, pause_s = event.id or last, event.retry_s or pause_s
                    yield event
                    if _status(event.data) in ENDED:
                        return
        except ApiFailure as failure:
            ended = failure
        await patience.bear(ended, pause_s)


def _status(order: Any) -> str:
    return str(order.get("status")) if isinstance(order, dict) else ""
