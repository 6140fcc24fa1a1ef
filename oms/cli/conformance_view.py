"""What conformance found, for people."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from oms.cli import output
from oms.conformance.rules import RULES
from oms.conformance.verdict import Finding, Report, Result, Verdict

_MARKS = {
    Verdict.PASSED: Text("✔", style="green"),
    Verdict.FAILED: Text("✘", style="bold red"),
    Verdict.NOT_TRIED: Text("-", style="dim"),
}


def show(report: Report) -> None:
    """The table of checks, every finding in full, and the verdict in one line."""
    output.show(table(report))
    for number, finding in enumerate(report.findings, 1):
        output.show(Text(f"finding {number}", style="bold"), details(finding), Text(""))
    output.show(conclusion(report))


def table(report: Report) -> Table:
    """One row a check and command."""
    rows = [
        (
            _MARKS[result.verdict],
            output.plain(result.check),
            output.plain(result.subject),
            output.plain(", ".join(result.rules)),
            _said(result),
        )
        for result in report.results
    ]
    return output.table(("", "tried", "with", "rules", "result"), rows, f"conformance of {report.name}")


def details(finding: Finding) -> Table:
    """One finding: what was sent, what came, which rule, what to look at."""
    entries = {
        "rule": f"{finding.rule}: {RULES[finding.rule].says}",
        "sent": finding.sent,
        "expected": finding.expected,
        "came": finding.came,
        "look at": finding.look_at,
    }
    return output.pairs({name: output.plain(value) for name, value in entries.items()})


def conclusion(report: Report) -> Text:
    """The verdict in one line."""
    counted = ", ".join(_counted(report))
    if report.ok:
        return Text.assemble((f"✔ {report.name} conforms", "bold green"), f": {counted}")
    if not report.findings:
        return Text.assemble((f"✘ nothing could be tried with {report.name}", "bold red"), f": {counted}")
    count = len(report.findings)
    return Text.assemble(
        (f"✘ {count} finding{'s' if count > 1 else ''}", "bold red"), f" with {report.name}: {counted}"
    )


def _counted(report: Report) -> Iterator[str]:
    for verdict in Verdict:
        if count := sum(result.verdict is verdict for result in report.results):
            yield f"{count} {verdict}"


def _said(result: Result) -> Text:
    if result.verdict is Verdict.FAILED:
        rules = ", ".join(dict.fromkeys(each.rule for each in result.findings))
        return output.plain(f"failed: {rules}", "red")
    return output.plain(result.note or str(result.verdict), "dim" if result.note else "green")
