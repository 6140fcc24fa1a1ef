"""`oms sagas each`: the same action on every saga of a selection, as a job."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from oms.cli import bulk
from oms.cli.options import (
    DEFAULT_URL,
    AsJson,
    Detach,
    DryRun,
    MaybeReason,
    MetadataPairs,
    Rate,
    References,
    Token,
    Url,
    Yes,
    example,
    found_by,
)
from oms.cli.verdicts import Verdict

EACH = example(
    "oms sagas each retry --incident overdue --dry-run",
    'oms sagas each retry --incident overdue --reason "the carrier is back"',
    'oms sagas each cancel --metadata campaign=spring --rate 20 --reason "priced wrongly"',
    "oms sagas each resolve --at-step ship --step ship --verdict took_effect --dry-run",
)


class Action(StrEnum):
    """What is done to each."""

    RETRY = "retry"
    CANCEL = "cancel"
    RESOLVE = "resolve"


def each(
    action: Annotated[Action, typer.Argument(help="What is done to each.")],
    status: Annotated[
        list[str] | None,
        typer.Option("--status", metavar="STATUS", help="Default: running or compensating; may be repeated."),
    ] = None,
    at_step: Annotated[
        list[str] | None, typer.Option("--at-step", metavar="STEP", help="Awaiting this step.")
    ] = None,
    definition: Annotated[
        list[str] | None, typer.Option("--definition", metavar="NAME", help="Of this kind; may be repeated.")
    ] = None,
    incident: Annotated[
        list[str] | None,
        typer.Option("--incident", metavar="any|none|KIND", help="With any open incident, none, or this."),
    ] = None,
    reference: References = None,
    metadata: MetadataPairs = None,
    created_after: Annotated[
        str | None, typer.Option("--created-after", metavar="TIME", help="RFC 3339, as 2026-01-31T12:00:00Z.")
    ] = None,
    created_before: Annotated[
        str | None, typer.Option("--created-before", metavar="TIME", help="RFC 3339.")
    ] = None,
    step: Annotated[
        str | None,
        typer.Option("--step", metavar="STEP", help="Which a verdict is on; of a retry this piece alone."),
    ] = None,
    verdict: Annotated[Verdict | None, typer.Option("--verdict", help="What became of it.")] = None,
    reason: MaybeReason = None,
    dry_run: DryRun = False,
    rate: Rate = None,
    detach: Detach = False,
    yes: Yes = False,
    url: Url = DEFAULT_URL,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Retry, cancel or resolve every saga that is like this now, as a job."""
    details = _details(action, step, verdict)
    given = {
        "status": status,
        "step": at_step,
        "definition": definition,
        "incident": incident,
        "created_after": created_after,
        "created_before": created_before,
        **found_by(reference, metadata),
    }
    selected = {name: value for name, value in given.items() if value}
    many = bulk.Many(f"/admin/sagas/{action}", action.value, "sagas", selected, reason, rate, details)
    if dry_run:
        bulk.foretell(url, token, many, as_json)
    else:
        bulk.carry_out(url, token, many, yes, detach, as_json)


def _details(action: Action, step: str | None, verdict: Verdict | None) -> dict[str, Any]:
    """What the action itself says. Raises typer.BadParameter where it is not whole, or too much."""
    if action is Action.RESOLVE and (step is None or verdict is None):
        raise typer.BadParameter("a verdict needs --step and --verdict")
    if action is not Action.RESOLVE and verdict is not None:
        raise typer.BadParameter("--verdict belongs to resolve")
    if action is Action.CANCEL and step is not None:
        raise typer.BadParameter("a saga is cancelled whole: --step belongs to retry and resolve")
    given = {"step": step, "verdict": verdict.value if verdict else None}
    return {name: value for name, value in given.items() if value}
