"""`oms doctor`: looks at everything that an installation needs, and says what to do."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.text import Text

from oms.cli import output
from oms.cli.options import AsJson, example, policies_in
from oms.cli.whole import EMBEDDED

if TYPE_CHECKING:
    from oms.doctor import Finding

_MARKS: Final = {"well": ("✓", "green"), "note": ("·", "yellow"), "wrong": ("✗", "red")}
_PLAIN_MARKS: Final = {"well": "ok", "note": "note", "wrong": "WRONG"}
"""For a stdout that has no ticks."""


def add_to(app: typer.Typer) -> None:
    """Put the command on the command line."""
    lines = example("oms doctor", "rabbitmqctl -q list_policies --formatter json | oms doctor --policies -")
    app.command("doctor", epilog=lines, rich_help_panel="Whole system")(doctor)


def doctor(
    policies: Annotated[
        typer.FileText | None,
        typer.Option(
            "--policies",
            metavar="FILE",
            encoding="utf-8-sig",
            errors="replace",
            help="What rabbitmqctl lists as JSON; - is stdin.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Look at settings, databases, broker, rights, clocks, versions and providers, from this machine.

    Reads the variables that the services read, and changes nothing. Exits with 1 when something is wrong.
    """
    found = asyncio.run(_found(policies_in(policies) if policies is not None else None, as_json))
    if as_json:
        items = [{"of": each.of, "verdict": each.verdict.value, "sentence": each.sentence} for each in found]
        output.show_json({"healthy": not _is_wrong(found), "findings": items})
    if _is_wrong(found):
        raise typer.Exit(1)


async def _found(policies: str | None, quiet: bool) -> list[Finding]:
    """All findings; people see each as soon as it is there."""
    from oms.doctor import examined

    found = []
    async for finding in examined(EMBEDDED, policies):
        found.append(finding)
        if not quiet:
            output.show(_line(finding))
    return found


def _line(finding: Finding) -> Text:
    mark, style = _MARKS[finding.verdict]
    if not (sys.stdout.encoding or "").lower().startswith("utf"):
        mark = _PLAIN_MARKS[finding.verdict]
    return Text.assemble(
        (mark, style), "  ", output.plain(finding.of, "bold"), ": ", output.plain(finding.sentence)
    )


def _is_wrong(found: list[Finding]) -> bool:
    return any(finding.verdict == "wrong" for finding in found)
