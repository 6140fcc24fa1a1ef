"""`oms dead-letters`: look at messages that gave up; replay or discard them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final
from uuid import UUID

import typer

from oms.cli import actions, bulk, dead_letter_view, output, session
from oms.cli.options import (
    DEFAULT_URL,
    AsJson,
    Cursor,
    Detach,
    DryRun,
    ExpectedVersion,
    Limit,
    MaybeReason,
    Rate,
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
    'oms dead-letters replay --all --queue payment.commands --reason "gateway is back"',
)

DeadLetterId = Annotated[UUID, typer.Argument(metavar="ID", help="The dead letter's id.")]
Status = Annotated[
    list[str] | None,
    typer.Option("--status", metavar="STATUS", help="open, replaying, resolved, discarded; may be repeated."),
]
Queue = Annotated[list[str] | None, typer.Option("--queue", metavar="QUEUE", help="From this queue.")]
ErrorType = Annotated[list[str] | None, typer.Option("--error-type", metavar="TYPE", help="With this error.")]
Step = Annotated[list[str] | None, typer.Option("--step", metavar="STEP", help="Commands of this step.")]
SagaStatus = Annotated[
    list[str] | None, typer.Option("--saga-status", metavar="STATUS", help="Of sagas that are like this now.")
]
CreatedAfter = Annotated[
    str | None, typer.Option("--created-after", metavar="TIME", help="RFC 3339, as 2026-01-31T12:00:00Z.")
]
CreatedBefore = Annotated[str | None, typer.Option("--created-before", metavar="TIME", help="RFC 3339.")]
MaybeDeadLetterId = Annotated[
    UUID | None, typer.Argument(metavar="[ID]", help="The dead letter's id; or give --all.")
]
Every = Annotated[
    bool, typer.Option("--all", help="Every open dead letter that the filters select, as a job.")
]


@commands.command("list", epilog=example("oms dead-letters list --status open --queue payment.commands"))
def list_dead_letters(
    status: Status = None,
    queue: Queue = None,
    error_type: ErrorType = None,
    step: Step = None,
    saga_status: SagaStatus = None,
    created_after: CreatedAfter = None,
    created_before: CreatedBefore = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """List dead letters, newest first."""
    selected = _selected(queue, error_type, step, saga_status, created_after, created_before)
    filters = {"status": status or None, **selected, "cursor": cursor}
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
        if found.get("more"):
            output.note("there are further groups, which are not counted here: oms dead-letters list")


@commands.command(
    "show",
    epilog=example(
        "oms dead-letters show ID", 'oms dead-letters show ID --full --reason "which card was it"'
    ),
)
def show(
    dead_letter_id: DeadLetterId,
    full: Annotated[
        bool, typer.Option("--full", help="Mask nothing; takes the role admin and a reason, and is audited.")
    ] = False,
    reason: Annotated[
        str | None, typer.Option("--reason", "-r", metavar="TEXT", help="Why; needed with --full.")
    ] = None,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Show one dead letter with its headers and its body; sensitive fields are masked."""
    if full and not reason:
        raise typer.BadParameter("say why with --reason: it stands in the audit log")

    async def look(api: ApiClient) -> Document:
        path = f"{_PATH}/{dead_letter_id}"
        found = await api.get(path)
        return found | await api.get(f"{path}/body", {"reason": reason}) if full else found

    found = session.ask(url, token, look)
    if as_json:
        output.show_json(found)
    else:
        dead_letter_view.show(found)


@commands.command(
    "replay",
    epilog=example(
        "oms dead-letters replay ID --dry-run",
        'oms dead-letters replay ID --reason "gateway is back"',
        "oms dead-letters replay --all --queue payment.commands --error-type ProviderUnavailable --dry-run",
        'oms dead-letters replay --all --queue payment.commands --rate 20 --reason "gateway is back"',
    ),
)
def replay(
    dead_letter_id: MaybeDeadLetterId = None,
    every: Every = False,
    queue: Queue = None,
    error_type: ErrorType = None,
    step: Step = None,
    saga_status: SagaStatus = None,
    created_after: CreatedAfter = None,
    created_before: CreatedBefore = None,
    reason: MaybeReason = None,
    dry_run: DryRun = False,
    rate: Rate = None,
    detach: Detach = False,
    expected_version: ExpectedVersion = None,
    yes: Yes = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Send a dead letter's work once more, if its saga still awaits it; with --all as a job on many."""
    selected = _selected(queue, error_type, step, saga_status, created_after, created_before)
    if _is_about_many(dead_letter_id, every, selected):
        many = bulk.Many(f"{_PATH}/replay", "replay", "dead letters", selected, reason, rate)
        _do_many(url, token, many, dry_run, yes, detach, as_json)
        return
    if reason is None and not dry_run:
        raise typer.BadParameter("say why with --reason, or try --dry-run")
    body: dict[str, Any] = {"reason": reason or "dry run", "dry_run": dry_run}
    _act(url, token, dead_letter_id, "replay", body, expected_version, yes or dry_run, as_json)


@commands.command(
    "discard",
    epilog=example(
        'oms dead-letters discard ID --reason "settled by phone"',
        'oms dead-letters discard --all --error-type undecodable --reason "a test of another team"',
    ),
)
def discard(
    dead_letter_id: MaybeDeadLetterId = None,
    every: Every = False,
    queue: Queue = None,
    error_type: ErrorType = None,
    step: Step = None,
    saga_status: SagaStatus = None,
    created_after: CreatedAfter = None,
    created_before: CreatedBefore = None,
    reason: MaybeReason = None,
    dry_run: DryRun = False,
    rate: Rate = None,
    detach: Detach = False,
    expected_version: ExpectedVersion = None,
    yes: Yes = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Close a dead letter without sending anything; with --all as a job on many."""
    selected = _selected(queue, error_type, step, saga_status, created_after, created_before)
    if _is_about_many(dead_letter_id, every, selected):
        many = bulk.Many(f"{_PATH}/discard", "discard", "dead letters", selected, reason, rate)
        _do_many(url, token, many, dry_run, yes, detach, as_json)
        return
    if dry_run:
        before = session.get(url, token, f"{_PATH}/{dead_letter_id}")
        output.note(dead_letter_view.intention(before, "discard"))
        return
    if reason is None:
        raise typer.BadParameter("say why with --reason")
    _act(url, token, dead_letter_id, "discard", {"reason": reason}, expected_version, yes, as_json)


def _selected(
    queue: list[str] | None,
    error_type: list[str] | None,
    step: list[str] | None,
    saga_status: list[str] | None,
    created_after: str | None,
    created_before: str | None,
) -> dict[str, Any]:
    given = {
        "queue": queue,
        "error_type": error_type,
        "step": step,
        "saga_status": saga_status,
        "created_after": created_after,
        "created_before": created_before,
    }
    return {name: value for name, value in given.items() if value}


def _is_about_many(dead_letter_id: UUID | None, every: bool, selected: dict[str, Any]) -> bool:
    """Whether --all was given. Raises BadParameter where it is not clear what is meant."""
    if every == (dead_letter_id is not None):
        raise typer.BadParameter("give an ID, or --all with filters")
    if selected and not every:
        raise typer.BadParameter("filters select many: they need --all")
    return every


def _do_many(
    url: str, token: str | None, many: bulk.Many, dry_run: bool, yes: bool, detach: bool, as_json: bool
) -> None:
    if dry_run:
        bulk.foretell(url, token, many, as_json)
    else:
        bulk.carry_out(url, token, many, yes, detach, as_json)


def _act(
    url: str,
    token: str | None,
    dead_letter_id: UUID | None,
    action: str,
    body: dict[str, Any],
    expected_version: int | None,
    yes: bool,
    as_json: bool,
) -> None:
    path = f"{_PATH}/{dead_letter_id}"
    after = actions.act(
        url,
        token,
        lambda api: api.get(path),
        lambda before: dead_letter_view.intention(before, action),
        lambda _: f"{path}/{action}",
        body,
        actions.Consent(expected_version, yes),
    )
    if as_json:
        output.show_json(after)
    else:
        dead_letter_view.result(after)
