"""`oms sagas rehearse`: what a new or edited definition would make of the sagas that are stored."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Final

import typer

from oms.cli import output
from oms.cli.options import AsJson

if TYPE_CHECKING:
    from oms.rehearsal import Rehearsal
    from oms.settings import Settings
    from orchestrator.core.definition import SagaDefinition

SHOWN_AT_MOST: Final = 50
"""Findings that are shown to people; programs get all that were kept."""


def rehearse(
    definition: Annotated[
        str,
        typer.Option(
            "--definition",
            metavar="MODULE:FUNCTION",
            help="A function of the step policy that returns the definition, as OMS_SAGA_DEFINITIONS has it.",
        ),
    ],
    stored: Annotated[
        int | None,
        typer.Option(
            "--version", min=1, metavar="N", help="Only sagas that run this version; all by default."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fold the histories of stored sagas through a definition that is not deployed yet. Reads only.

    Tells which running sagas it could not continue and which ended ones would have gone another way, each
    with the first entry of its history at which that shows. Exits with 1 when there are any. Reads
    OMS_AUDIT_DATABASE_URL, or the orchestrator's database, or what `oms run` keeps in this folder.
    """
    from oms.definitions import rehearsed
    from oms.settings import load_settings

    settings = load_settings()
    tried = rehearsed(definition, settings.step_policy)
    outcome = asyncio.run(_rehearsed(settings, tried, stored))
    if as_json:
        output.show_json(outcome.as_json())
    else:
        _show(outcome)
    if not outcome.is_as_before:
        raise typer.Exit(1)


async def _rehearsed(settings: Settings, definition: SagaDefinition, stored: int | None) -> Rehearsal:
    from oms.cli.progress import progress_bar
    from oms.cli.whole import EMBEDDED
    from oms.embedded.installation import own_database
    from oms.rehearsal import rehearsal

    readable = {
        "orchestrator_database_url": settings.audit_database_url or settings.orchestrator_database_url
    }
    async with own_database(settings.model_copy(update=readable), EMBEDDED) as database:
        with progress_bar() as progress:
            task = progress.add_task(f"rehearsing {definition.name}", total=None)
            return await rehearsal(
                database,
                definition,
                stored,
                lambda done, total: progress.update(task, completed=done, total=total),
            )


def _show(outcome: Rehearsal) -> None:
    if outcome.findings:
        shown = outcome.findings[:SHOWN_AT_MOST]
        rows = [
            (
                output.plain(str(each.saga_id)),
                output.plain(each.definition_version),
                output.plain(each.status),
                output.plain(each.entry),
                output.plain(each.happened),
                output.plain(each.reason),
            )
            for each in shown
        ]
        output.show(output.table(("saga", "#version", "status", "#entry", "of", "what is otherwise"), rows))
    hidden = outcome.found.total() - min(len(outcome.findings), SHOWN_AT_MOST)
    if hidden:
        output.note(f"... and {hidden:,} more (--json lists the first thousand)")
    for line in _conclusion(outcome):
        typer.echo(line)


def _conclusion(outcome: Rehearsal) -> list[str]:
    running, ended = outcome.looked_at["running"], outcome.looked_at["ended"]
    stuck, other = outcome.found["cannot_continue"], outcome.found["another_way"]
    return [
        f"{outcome.definition} version {outcome.version}:",
        f"  {running:,} running sagas, {stuck:,} of which it could not continue",
        f"  {ended:,} ended sagas, {other:,} of which would have gone another way",
    ]
