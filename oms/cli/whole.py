"""Commands about the system as a whole: the audit, the demo, the contracts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Final

import typer

from oms.cli import output
from oms.cli.options import AsJson, example

EMBEDDED: Final = Path(".oms/postgres")
"""Where `oms run` keeps its own database."""

_PANEL: Final = "Whole system"


def add_to(app: typer.Typer) -> None:
    """Put these commands on the command line."""
    app.command("audit", epilog=example("oms audit", "oms audit --json"), rich_help_panel=_PANEL)(audit)
    app.command("demo", epilog=example("oms demo"), rich_help_panel=_PANEL)(demo)
    app.command("contracts", epilog=example("oms contracts --to generated"), rich_help_panel=_PANEL)(
        contracts
    )


def audit(as_json: AsJson = False) -> None:
    """Check every ended order and every product from the participants' and the providers' own tables.

    Reads OMS_AUDIT_DATABASE_URL, whose role needs SELECT alone, or the services' databases, or what
    `oms run` keeps in this folder. Exits with 1 and the identities concerned when something is wrong.
    """
    from oms.cli import audit_view
    from oms.settings import load_settings

    report = asyncio.run(audit_view.audited(load_settings(), EMBEDDED))
    if as_json:
        output.show_json(report.as_json())
    else:
        audit_view.show(report)
    if not report.ok:
        raise typer.Exit(1)


def demo() -> None:
    """Run everything in one process, in a temporary folder: sample orders, then the audit."""
    import uvloop

    from oms.demo import run_demo

    if not uvloop.run(run_demo()):
        raise typer.Exit(1)


def contracts(
    to: Annotated[
        Path, typer.Option("--to", metavar="FOLDER", help="Where to write.", file_okay=False)
    ] = Path("contracts/generated"),
    as_json: AsJson = False,
) -> None:
    """Write JSON Schemas of all commands and events, those of installed sagas among them, and AsyncAPI."""
    from contracts import documents
    from oms.definitions import registry, traffic_of
    from oms.settings import load_settings

    traffic = traffic_of(registry(load_settings()))
    written = [str(path) for path in documents.write_documents(to, traffic)]
    if as_json:
        output.show_json({"written": written})
    else:
        output.show(*(output.plain(path) for path in written))
