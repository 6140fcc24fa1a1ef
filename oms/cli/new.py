"""`oms new`: writes the beginning of an extension."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from oms.cli import output
from oms.cli.options import AsJson, example

commands = typer.Typer(name="new", help="Write the beginning of a package of one's own.")


@commands.callback(invoke_without_command=True, epilog=example("oms new saga refunds"))
def _new(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@commands.command(
    "saga", epilog=example("oms new saga refunds", "oms new saga refunds --to packages/refunds")
)
def saga(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the saga, and of its package.")],
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FOLDER", help="Where to write; default: ./NAME.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a small installable package with a saga, a participant, their tests and a README."""
    from oms.scaffold import write_saga

    folder = to or Path(name)
    written = write_saga(name, folder)
    if as_json:
        output.show_json({"folder": str(folder), "files": [str(path) for path in written]})
        return
    for path in written:
        output.show(output.plain(str(path)))
    output.show(output.plain(f"Next: pip install {folder}, then its README."))
