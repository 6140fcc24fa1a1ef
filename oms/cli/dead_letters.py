"""`oms dead-letters`: look at messages that gave up; replay or discard them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID

import typer

from oms.cli import dead_letter_view, output, session
from oms.cli.options import (
    DEFAULT_URL,
    AsJson,
    Cursor,
    ExpectedVersion,
    Limit,
    Reason,
    Token,
    Url,
    Yes,
    example,
    group,
)

if TYPE_CHECKING:
    from oms.api_client import ApiClient, Document

_PATH: Final = "/admin/dead-letters"

commands = group(
    "dead-letters",
    "Messages that gave up: why, and what to do about them.",
    "oms dead-letters groups",
    'oms dead-letters replay ID --dry-run --reason "gateway is back"',
)

DeadLetterId = Annotated[UUID, typer.Argument(metavar="ID", help="The dead letter's id.")]
Status = Annotated[
    list[str] | None,
    typer.Option("--status", metavar="STATUS", help="open, replaying, resolved, discarded; may be repeated."),
]
Queue = Annotated[list[str] | None, typer.Option("--queue", metavar="QUEUE", help="From this queue.")]
ErrorType = Annotated[list[str] | None, typer.Option("--error-type", metavar="TYPE", help="With this error.")]
Step = Annotated[list[str] | None, typer.Option("--step", metavar="STEP", help="Commands of this step.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only tell what would happen.")]


@commands.command("list", epilog=example("oms dead-letters list --status open --queue payment.commands"))
def list_dead_letters(
    status: Status = None,
    queue: Queue = None,
    error_type: ErrorType = None,
    step: Step = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """List dead letters, newest first."""
    filters = {
        "status": status or None,
        "queue": queue or None,
        "error_type": error_type or None,
        "step": step or None,
        "cursor": cursor,
    }
    page = session.listed(url, token, _PATH, filters, limit)
    if as_json:
        output.show_json(page)
        return
    output.show(dead_letter_view.table(page["items"]))
    session.show_more(page)


@commands.command("groups", epilog=example("oms dead-letters groups"))
def groups(url: Url = DEFAULT_URL, token: Token = None, as_json: AsJson = False) -> None:
    """Count what is open, by queue and error."""
    found = session.get(url, token, f"{_PATH}/groups")
    if as_json:
        output.show_json(found)
    else:
        output.show(dead_letter_view.groups(found.get("items", ())))


@commands.command("show", epilog=example("oms dead-letters show ID"))
def show(
    dead_letter_id: DeadLetterId, url: Url = DEFAULT_URL, token: Token = None, as_json: AsJson = False
) -> None:
    """Show one dead letter with its headers and its body; sensitive fields are masked."""
    found = session.get(url, token, f"{_PATH}/{dead_letter_id}")
    if as_json:
        output.show_json(found)
    else:
        dead_letter_view.show(found)


@commands.command(
    "replay",
    epilog=example(
        "oms dead-letters replay ID --dry-run",
        'oms dead-letters replay ID --reason "gateway is back"',
    ),
)
def replay(
    dead_letter_id: DeadLetterId,
    reason: Annotated[
        str | None,
        typer.Option("--reason", "-r", metavar="TEXT", help="Why; needed unless it is a dry run."),
    ] = None,
    dry_run: DryRun = False,
    expected_version: ExpectedVersion = None,
    yes: Yes = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Send a dead letter's work once more, if its saga still awaits it."""
    if reason is None and not dry_run:
        raise typer.BadParameter("say why with --reason, or try --dry-run")
    body: dict[str, Any] = {"reason": reason or "dry run", "dry_run": dry_run}
    _act(url, token, dead_letter_id, "replay", body, expected_version, yes or dry_run, as_json)


@commands.command("discard", epilog=example('oms dead-letters discard ID --reason "settled by phone"'))
def discard(
    dead_letter_id: DeadLetterId,
    reason: Reason,
    dry_run: DryRun = False,
    expected_version: ExpectedVersion = None,
    yes: Yes = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Close a dead letter without sending anything."""
    if dry_run:
        before = session.get(url, token, f"{_PATH}/{dead_letter_id}")
        output.note(dead_letter_view.intention(before, "discard"))
        return
    _act(url, token, dead_letter_id, "discard", {"reason": reason}, expected_version, yes, as_json)


def _act(
    url: str,
    token: str | None,
    dead_letter_id: UUID,
    action: str,
    body: dict[str, Any],
    expected_version: int | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Look, say what is about to happen, act on exactly what was looked at."""
    path = f"{_PATH}/{dead_letter_id}"
    before = session.get(url, token, path)
    session.confirm(dead_letter_view.intention(before, action), yes)
    version = before["version"] if expected_version is None else expected_version

    async def act(api: ApiClient) -> Document:
        return await api.post(f"{path}/{action}", {**body, "expected_version": version})

    after = session.ask(url, token, act)
    if as_json:
        output.show_json(after)
    else:
        dead_letter_view.result(after)
