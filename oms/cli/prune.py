"""`oms prune`: lets go of what has ended long ago (P7)."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.table import Table
from rich.text import Text

from oms.cli import output, session
from oms.cli.durations import duration
from oms.cli.options import AsJson, Yes, actor, example
from oms.cli.progress import progress_bar
from oms.cli.whole import EMBEDDED

if TYPE_CHECKING:
    from oms.archive import Archive
    from orchestrator.core.inputs import Actor
    from orchestrator.retention.mark import Keep
    from orchestrator.retention.postgresql import Removed
    from orchestrator.retention.pruning import Outlook, Retention

_PANEL: Final = "Whole system"


def add_to(app: typer.Typer) -> None:
    """Put the command on the command line."""
    examples = example(
        "oms prune --older-than 30d --dry-run",
        "oms prune --older-than 30d --yes",
        "oms prune --older-than 30d --archive pruned.ndjson --yes",
    )
    app.command("prune", epilog=examples, rich_help_panel=_PANEL)(prune)


def prune(
    older_than: Annotated[
        str,
        typer.Option("--older-than", metavar="TIME", help="At rest for so long: 30d, 12w. 7 days at least."),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would go.")] = False,
    batch: Annotated[
        int, typer.Option("--batch", min=1, max=10_000, help="Most sagas, or other rows, in one transaction.")
    ] = 200,
    archive: Annotated[
        Path | None,
        typer.Option("--archive", metavar="FILE", help="Write what is removed to this new file first."),
    ] = None,
    reason: Annotated[
        str | None,
        typer.Option("--reason", "-r", metavar="TEXT", help="Why; kept in the audit log."),
    ] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Remove orders that have ended long ago, in every service. What runs or needs a person stays.

    Sagas go with their orders, histories and closed dead letters, and idempotency keys that have expired.
    Participants are told, and prune by themselves. The audit log stays. It may be interrupted and repeated.
    An archive has one row a line, as JSON, nothing masked; after an interruption the last may be there still.

    Works on OMS_ORCHESTRATOR_DATABASE_URL (or OMS_DATABASE_URL), or on what `oms run` keeps in this folder.
    """
    from oms.archive import archive_in
    from oms.retention import retention_of
    from oms.settings import load_settings
    from orchestrator.retention.mark import Keep

    asked = duration(older_than, "--older-than")
    by = actor(reason or f"retention: older than {older_than.strip()}")
    settings = load_settings()
    keep = Keep(asked.total_seconds(), settings.idempotency_ttl_s)

    async def run() -> dict[str, Any]:
        with archive_in(archive) if archive and not dry_run else nullcontext() as kept:
            return await prune_into(kept)

    async def prune_into(kept: Archive | None) -> dict[str, Any]:
        async with retention_of(settings, EMBEDDED, kept) as retention:
            outlook = await retention.look(keep)
            _tell(outlook, keep, asked)
            if dry_run:
                return _document(outlook, outlook.expected, dry_run=True)
            session.confirm(_intention(outlook), yes)
            return await _pruned(retention, keep, by, batch)

    done = asyncio.run(run())
    if as_json:
        output.show_json(done)
    else:
        output.note(f"of sagas that were taken in before {done['mark_time'][:16].replace('T', ' ')} UTC")
        output.show(_table(done))


async def _pruned(retention: Retention, keep: Keep, by: Actor, batch: int) -> dict[str, Any]:
    """Raise the mark and prune behind it, with a progress bar on a terminal."""
    outlook = await retention.advance(keep, by)
    with progress_bar() as progress:
        bar = progress.add_task("pruning", total=_rows(outlook.expected))
        removed = await retention.prune(
            outlook.behind, batch, lambda so_far: progress.update(bar, completed=_rows(so_far))
        )
    return _document(outlook, removed, dry_run=False)


def _rows(removed: Removed) -> int:
    return removed.sagas + removed.dead_letters + removed.idempotency_keys + removed.jobs


def _tell(outlook: Outlook, keep: Keep, asked: timedelta) -> None:
    """What a person would wonder about: why it is less than was asked for."""
    if asked < keep.age:
        output.note(f"what is younger than {keep.age.days} days is kept in any case")
    held = outlook.rise.held_back_by
    if held is not None:
        output.note(f"sagas since {held.saga_id} are kept: {held.reason}")


def _intention(outlook: Outlook) -> str:
    there = outlook.expected
    return (
        f"{there.sagas:,} sagas with their orders and histories, {there.dead_letters:,} closed dead letters, "
        f"{there.idempotency_keys:,} expired idempotency keys and {there.jobs:,} ended jobs are removed for "
        "good, and what the participants know of such sagas"
    )


def _document(outlook: Outlook, removed: Removed, *, dry_run: bool) -> dict[str, Any]:
    from messaging.identifiers import time_of

    held = outlook.rise.held_back_by
    return {
        "dry_run": dry_run,
        "mark": str(outlook.rise.mark),
        "mark_time": time_of(outlook.rise.mark).isoformat(),
        "mark_before": None if outlook.standing is None else str(outlook.standing),
        "held_back_by": None if held is None else {"saga_id": str(held.saga_id), "reason": held.reason.value},
        "at_rest_since": outlook.behind.quiet_since.isoformat(),
        "sagas": removed.sagas,
        "history_entries": None if dry_run else removed.history,
        "dead_letters": removed.dead_letters,
        "idempotency_keys": removed.idempotency_keys,
        "jobs": removed.jobs,
    }


def _table(done: dict[str, Any]) -> Table:
    names = {
        "sagas": "sagas, each with its order",
        "history_entries": "entries of their histories",
        "dead_letters": "closed dead letters",
        "idempotency_keys": "expired idempotency keys",
        "jobs": "ended jobs, each with its list",
    }
    rows = [(Text(said), Text(f"{done[name]:,}")) for name, said in names.items() if done[name] is not None]
    return output.table(("what would be removed" if done["dry_run"] else "what was removed", "#rows"), rows)
