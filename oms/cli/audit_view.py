"""The audit's progress and verdict for people."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from rich.table import Table
from rich.text import Text

from oms.audit import Report, Sources, audit, sources_or_embedded
from oms.audit.checklist import MEANING, Check
from oms.audit.installed import installed_of
from oms.audit.report import Finding, VerdictNote
from oms.cli import output
from oms.cli.progress import progress_bar
from oms.settings import Settings

SHOWN_AT_MOST: Final = 50
"""Findings that are shown to people; programs get all that were kept."""


async def audited(settings: Settings, embedded: Path) -> Report:
    """The audit with a progress bar on a terminal.

    Args:
        embedded: folder of the database that is used when the settings name none.

    Raises:
        AuditImpossible: there is nothing to read, or it may not be read.
    """
    async with sources_or_embedded(settings, embedded, installed_of(settings)) as sources:
        return await _with_progress(sources)


async def _with_progress(sources: Sources) -> Report:
    with progress_bar() as progress:
        task = progress.add_task("auditing orders", total=None)
        return await audit(sources, lambda done, total: progress.update(task, completed=done, total=total))


def show(report: Report) -> None:
    """The table of checks, what is wrong, the verdicts of people, and the audit's own verdict."""
    output.show(table(report))
    for what, source in report.sources.items():
        output.note(f"{what} counted from {source}")
    if report.mark is not None:
        output.note(
            f"orders below the low-water mark {report.mark} may have been pruned and are not looked at"
        )
    for definition, count in report.unaudited.items():
        output.note(
            f"of {count} ended sagas of {definition} the steps were compared with the ledgers, no more"
        )
    for participant in report.unread:
        output.note(f"the ledger of {participant} was not read: its database was not given, or has no schema")
    if report.findings:
        output.show(_findings(report.findings[:SHOWN_AT_MOST]))
    hidden = report.objected.total() - min(len(report.findings), SHOWN_AT_MOST)
    if hidden:
        output.note(f"... and {hidden} more (--json lists them)")
    if report.verdicts:
        output.show(_verdicts(report.verdicts[:SHOWN_AT_MOST]))
    output.show(conclusion(report))


def table(report: Report) -> Table:
    """One row a check."""
    rows = [
        (
            _mark(report.objected[check]),
            Text(MEANING[check]),
            Text(f"{report.looked_at[check]:,}"),
            Text(f"{report.objected[check]:,}", style="bold red" if report.objected[check] else "dim"),
        )
        for check in Check
    ]
    return output.table(("", "what must hold", "#looked at", "#wrong"), rows, "audit")


def conclusion(report: Report) -> Text:
    """The audit's own verdict in one line."""
    still = report.sagas["running"] + report.sagas["compensating"]
    counted = f"{report.ended:,} ended orders"
    if still:
        counted += f" ({still:,} have not ended and are not judged)"
    if report.verdicts_in_all:
        counted += f", {report.verdicts_in_all:,} verdicts by people"
    if report.ok:
        return Text.assemble(("✔ everything adds up", "bold green"), f": {counted}")
    return Text.assemble((f"✘ {report.objected.total():,} findings", "bold red"), f" in {counted}")


def _mark(objected: int) -> Text:
    return Text("✘", style="bold red") if objected else Text("✔", style="green")


def _findings(findings: Iterable[Finding]) -> Table:
    rows = [
        (
            output.plain(finding.check.value, "red"),
            output.plain(finding.sku or finding.order_id),
            output.plain(None if finding.saga_id is None else str(finding.saga_id)),
            output.plain(finding.message),
        )
        for finding in findings
    ]
    return output.table(("check", "order or sku", "saga", "finding"), rows, "what is wrong")


def _verdicts(verdicts: Iterable[VerdictNote]) -> Table:
    rows = [
        (
            output.plain(str(verdict.saga_id)),
            output.plain(f"{verdict.step} ({verdict.said.get('direction')})"),
            output.plain(verdict.said.get("verdict"), "magenta"),
            output.plain(verdict.said.get("reference")),
            output.plain("; ".join(verdict.explains)),
        )
        for verdict in verdicts
    ]
    return output.table(("saga", "work", "verdict", "reference", "explains"), rows, "verdicts by people")
