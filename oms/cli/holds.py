"""Orders on hold: what waits for a person, and the person's word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from oms.cli import order_view, output, session
from oms.cli.options import DEFAULT_URL, AsJson, Reason, Token, Url, Yes, example
from oms.cli.output import age, money, plain, status

if TYPE_CHECKING:
    from oms.api_client import ApiClient, Document

OrderId = Annotated[UUID, typer.Argument(metavar="ID", help="The order's id.")]

APPROVE = example('oms orders approve ID --reason "the customer is known"')
DENY = example('oms orders deny ID --reason "the address does not exist"')
WAITING = example("oms sagas waiting", "oms sagas waiting --json")


def approve(
    order_id: OrderId,
    reason: Reason,
    yes: Yes = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Let an order that is on hold go on to its payment."""
    _decide(url, token, order_id, reason, yes, as_json, {"approved": True})


def deny(
    order_id: OrderId,
    reason: Reason,
    yes: Yes = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Reject an order that is on hold; its reservation is given back."""
    _decide(url, token, order_id, reason, yes, as_json, {"approved": False})


def waiting(url: Url = DEFAULT_URL, token: Token = None, as_json: AsJson = False) -> None:
    """List what waits for a person, oldest first: orders on hold, and sagas that take an operator's word."""
    found = session.get(url, token, "/admin/waiting")
    if as_json:
        output.show_json(found)
        return
    rows = [
        (
            plain(each.get("order_id")),
            plain(each.get("reference")),
            status(each.get("label")),
            money(each.get("total"), each.get("currency")),
            plain(each.get("owner")),
            plain(each.get("asked")),
            age(each.get("since")),
            age(each.get("deadline_at")),
        )
        for each in found["items"]
    ]
    titles = ("order", "reference", "stands at", "#total", "whose", "asked for", "since", "until")
    output.show(output.table(titles, rows))
    if found.get("more"):
        output.note("others wait, too: these have waited longest")


def _decide(
    url: str,
    token: str | None,
    order_id: UUID,
    reason: str,
    yes: bool,
    as_json: bool,
    word: dict[str, bool],
) -> None:
    before = session.get(url, token, f"/orders/{order_id}")
    verb = "approved" if word["approved"] else "denied"
    session.confirm(f"order {order_id} is {before.get('status')}; it will be {verb}", yes)

    async def tell(api: ApiClient) -> Document:
        path = f"/sagas/{before['saga_id']}/signals/hold"
        said = {**word, "reason": reason}
        await api.send("POST", path, body=said, parameters={"reason": reason})
        return await api.get(f"/orders/{order_id}")

    order = session.ask(url, token, tell)
    if as_json:
        output.show_json(order)
    else:
        order_view.show(order)
