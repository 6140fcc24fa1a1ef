"""`oms sagas`: look into sagas, and act on those that need a person."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID

import typer

from oms.cli import actions, holds, output, saga_jobs, saga_starts, saga_view, session
from oms.cli.options import (
    DEFAULT_URL,
    AsJson,
    Cursor,
    ExpectedVersion,
    Limit,
    MetadataPairs,
    Reason,
    References,
    Token,
    Url,
    Yes,
    example,
    found_by,
    group,
)
from oms.cli.patience import Patience
from oms.cli.rehearse import rehearse
from oms.cli.verdicts import Verdict

if TYPE_CHECKING:
    from oms.api_client import ApiClient, Document

_POLL_S: Final = 0.5
SHOWN_ENTRIES: Final = 1000
"""Entries of a saga's history that come with the saga itself."""

ENDED: Final = ("completed", "compensated")

commands = group(
    "sagas",
    "Start sagas, signal them, see where every one stands and why; cancel, retry and settle.",
    "oms sagas list --incident any",
    "oms sagas explain ID",
)

SagaId = Annotated[UUID, typer.Argument(metavar="ID", help="The saga's id, or its order's.")]


commands.command("start", epilog=saga_starts.START)(saga_starts.start)
commands.command("signal", epilog=saga_starts.SIGNAL)(saga_starts.signal)
commands.command("waiting", epilog=holds.WAITING)(holds.waiting)
commands.command("each", epilog=saga_jobs.EACH)(saga_jobs.each)


@commands.command(
    "list",
    epilog=example(
        "oms sagas list --status compensating",
        "oms sagas list --incident any",
        "oms sagas list --definition enrolment",
        "oms sagas list --reference A-1001",
        "oms sagas list --metadata channel=web",
    ),
)
def list_sagas(
    status: Annotated[
        list[str] | None, typer.Option("--status", metavar="STATUS", help="May be repeated.")
    ] = None,
    step: Annotated[
        list[str] | None, typer.Option("--step", metavar="STEP", help="Awaiting this step.")
    ] = None,
    definition: Annotated[
        list[str] | None, typer.Option("--definition", metavar="NAME", help="Of this kind; may be repeated.")
    ] = None,
    incident: Annotated[
        list[str] | None,
        typer.Option(
            "--incident", metavar="any|none|KIND", help="With any open incident, none, or this kind."
        ),
    ] = None,
    order_id: Annotated[UUID | None, typer.Option("--order-id", metavar="ID", help="Of this order.")] = None,
    created_after: Annotated[
        str | None, typer.Option("--created-after", metavar="TIME", help="RFC 3339, as 2026-01-31T12:00:00Z.")
    ] = None,
    created_before: Annotated[
        str | None, typer.Option("--created-before", metavar="TIME", help="RFC 3339.")
    ] = None,
    reference: References = None,
    metadata: MetadataPairs = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """List sagas, newest first."""
    filters = {
        "status": status or None,
        "step": step or None,
        "definition": definition or None,
        "incident": incident or None,
        "order_id": None if order_id is None else str(order_id),
        "created_after": created_after,
        "created_before": created_before,
        "cursor": cursor,
        **found_by(reference, metadata),
    }
    page = session.listed(url, token, "/admin/sagas", filters, limit)
    if as_json:
        output.show_json(page)
        return
    output.show(saga_view.table(page["items"]))
    session.show_more(page)


@commands.command("show", epilog=example("oms sagas show ID", "oms sagas show ID --history 5000"))
def show(
    saga_id: SagaId,
    entries: Annotated[
        int,
        typer.Option(
            "--history",
            min=1,
            max=1_000_000,
            metavar="COUNT",
            help="So many entries of its history, the latest.",
        ),
    ] = SHOWN_ENTRIES,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Show one saga: its steps, its incidents, its history as a timeline."""
    saga = session.ask(url, token, lambda api: _with_history(api, saga_id, entries))
    if as_json:
        output.show_json(saga)
    else:
        saga_view.show(saga)
        _note_omitted(saga)


@commands.command(
    "messages",
    epilog=example(
        "oms sagas messages ID", 'oms sagas messages ID --full MESSAGE_ID --reason "where did it go"'
    ),
)
def messages(
    saga_id: SagaId,
    full: Annotated[
        UUID | None,
        typer.Option(
            "--full", metavar="ID", help="Only this one, nothing masked; takes the role admin and a reason."
        ),
    ] = None,
    reason: Annotated[
        str | None, typer.Option("--reason", "-r", metavar="TEXT", help="Why; needed with --full, audited.")
    ] = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Show what a saga has sent and heard, oldest first; sensitive fields are masked."""
    if full is not None and not reason:
        raise typer.BadParameter("say why with --reason: it stands in the audit log")
    path = f"/admin/sagas/{saga_id}/messages"

    async def look(api: ApiClient) -> Document:
        if full is None:
            return await api.get(path)
        return await api.get(f"{path}/{full}/body", {"reason": reason})

    found = session.ask(url, token, look)
    if as_json:
        output.show_json(found)
    else:
        saga_view.messages(found.get("items", [found]))


@commands.command("explain", epilog=example("oms sagas explain ID"))
def explain(saga_id: SagaId, url: Url = DEFAULT_URL, token: Token = None, as_json: AsJson = False) -> None:
    """Tell why a saga stands where it stands, and what can be done."""

    async def asked(api: ApiClient) -> Document:
        saga = await _find(api, saga_id)
        return await api.get(f"/admin/sagas/{saga['saga_id']}/explain")

    explanation = session.ask(url, token, asked)
    if as_json:
        output.show_json(explanation)
    else:
        saga_view.explain(explanation)


@commands.command("watch", epilog=example("oms sagas watch ID"))
def watch(saga_id: SagaId, url: Url = DEFAULT_URL, token: Token = None, as_json: AsJson = False) -> None:
    """Follow a saga's history until the saga has ended."""

    async def follow(api: ApiClient) -> None:
        seen = 0
        started: Any = None
        patience = Patience()
        while True:
            saga = await patience.answer(lambda: _find(api, saga_id))
            started = started or saga.get("created_at")
            missed = int(saga.get("history_omitted") or 0) - seen
            if missed > 0:
                output.note(f"{missed} older entries are not shown: oms sagas show {saga_id} --history COUNT")
            for entry in saga.get("history", ()):
                if entry.get("seq", 0) > seen:
                    seen = entry["seq"]
                    _show_entry(entry, started, as_json)
            if saga.get("status") in ENDED:
                return
            await asyncio.sleep(_POLL_S)

    session.ask(url, token, follow)


def _show_entry(entry: dict[str, Any], started: Any, as_json: bool) -> None:
    if as_json:
        output.show_json_line(entry)
    else:
        output.show_now(saga_view.history_line(entry, started))


@commands.command("cancel", epilog=example('oms sagas cancel ID --reason "ordered twice"'))
def cancel(
    saga_id: SagaId,
    reason: Reason,
    expected_version: ExpectedVersion = None,
    yes: Yes = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Undo what a saga has done, if it is not too late."""
    _act(url, token, saga_id, "cancel", {"reason": reason}, expected_version, yes, as_json)


@commands.command(
    "retry",
    epilog=example(
        'oms sagas retry ID --reason "gateway is back"',
        'oms sagas retry ID --step "ship[2]" --reason "only this one"',
    ),
)
def retry(
    saga_id: SagaId,
    reason: Reason,
    step: Annotated[
        str | None,
        typer.Option("--step", metavar="STEP", help="Of several awaited pieces of work this one alone."),
    ] = None,
    expected_version: ExpectedVersion = None,
    yes: Yes = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Send what a saga awaits once more, with a full deadline."""
    body = {"reason": reason} if step is None else {"reason": reason, "step": step}
    _act(url, token, saga_id, "retry", body, expected_version, yes, as_json)


@commands.command(
    "resolve",
    epilog=example(
        'oms sagas resolve ID --step ship --verdict took_effect --reference T-17 --reason "carrier says so"'
    ),
)
def resolve(
    saga_id: SagaId,
    step: Annotated[str, typer.Option("--step", metavar="STEP", help="The step that is stuck.")],
    verdict: Annotated[Verdict, typer.Option("--verdict", help="What became of it.")],
    reason: Reason,
    reference: Annotated[
        str | None, typer.Option("--reference", metavar="TEXT", help="The provider's reference, as proof.")
    ] = None,
    amount: Annotated[
        int | None, typer.Option("--amount", min=0, metavar="MINOR", help="Money concerned, in minor units.")
    ] = None,
    expected_version: ExpectedVersion = None,
    yes: Yes = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Take a person's verdict on stuck work to its participant, who moves the saga on."""
    given = {"reference": reference, "amount": amount}
    body = {
        "reason": reason,
        "step": step,
        "verdict": verdict.value,
        **{name: value for name, value in given.items() if value is not None},
    }
    _act(url, token, saga_id, "resolve", body, expected_version, yes, as_json)


def _act(
    url: str,
    token: str | None,
    saga_id: UUID,
    action: str,
    body: dict[str, Any],
    expected_version: int | None,
    yes: bool,
    as_json: bool,
) -> None:
    after = actions.act(
        url,
        token,
        lambda api: _find(api, saga_id),
        lambda before: saga_view.intention(before, action),
        lambda before: f"/admin/sagas/{before['saga_id']}/actions/{action}",
        body,
        actions.Consent(expected_version, yes),
    )
    if as_json:
        output.show_json(after)
    else:
        saga_view.show(after)


commands.command(
    "rehearse",
    epilog=example(
        "oms sagas rehearse --definition shop.sagas:order_fulfillment_3",
        "oms sagas rehearse --definition shop.sagas:order_fulfillment --version 2 --json",
    ),
)(rehearse)


async def _with_history(api: ApiClient, saga_id: UUID, entries: int) -> Document:
    """The saga with so many entries of its history, the latest. Raises ApiFailure."""
    saga = await _find(api, saga_id)
    given = list(saga.get("history", ()))
    if saga.get("history_omitted") and len(given) < entries:
        page = await api.items(f"/admin/sagas/{saga['saga_id']}/history", {}, entries)
        given = page["items"][::-1]
    shown = given[-entries:]
    omitted = shown[0]["seq"] - 1 if shown else 0
    told = {"history_omitted": omitted} if omitted or "history_omitted" in saga else {}
    return {**saga, "history": shown, **told}


def _note_omitted(saga: Document) -> None:
    """Say how to see the entries that are not shown, where there are some."""
    if omitted := saga.get("history_omitted"):
        whole = omitted + len(saga["history"])
        output.note(f"{omitted} older entries of its history are not shown: --history {whole} shows all")


async def _find(api: ApiClient, saga_id: UUID) -> Document:
    """The saga by its own id, or by its order's. Raises ApiFailure."""
    from oms.api_client import Refused

    try:
        return await api.get(f"/admin/sagas/{saga_id}")
    except Refused as refused:
        if refused.status != 404:
            raise
        of_order = await api.get("/admin/sagas", {"order_id": str(saga_id), "limit": 1})
        if not of_order.get("items"):
            raise
        return await api.get(f"/admin/sagas/{of_order['items'][0]['saga_id']}")
