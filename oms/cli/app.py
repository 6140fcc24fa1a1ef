"""The command `oms`: all groups of commands, and the one way out of all of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import Annotated

import typer

from oms.cli import (
    bench,
    conformance,
    dead_letters,
    doctor,
    events,
    extensions,
    installation,
    jobs,
    new,
    orders,
    orphans,
    output,
    people,
    prune,
    sagas,
    services,
    simulate,
    stock,
    streams,
    tokens,
    webhooks,
    whole,
)
from oms.cli.errors import report
from oms.cli.options import example
from oms.variables import CONFIG, doubts

app = typer.Typer(
    name="oms",
    help="Order management with sagas: every order is reserved, charged, shipped and committed, or undone.",
    epilog=example("oms run", "oms orders submit order.json --wait", "oms sagas list --incident any"),
    invoke_without_command=True,
    pretty_exceptions_enable=False,
)


def _say_version(asked: bool) -> None:
    if not asked:
        return
    from importlib.metadata import version  # what it imports takes longer than most commands

    typer.echo(f"oms {version('oms-saga-orchestrator')}")
    raise typer.Exit


@app.callback()
def oms(
    context: typer.Context,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Say the version, and exit."),
    ] = False,
) -> None:
    """Without a command: the help."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


services.add_to(app)
app.add_typer(orders.commands)
app.add_typer(sagas.commands)
events.add_to(app)
app.add_typer(webhooks.commands)
app.add_typer(dead_letters.commands)
app.add_typer(jobs.commands)
app.add_typer(stock.commands)
app.add_typer(tokens.commands)
app.add_typer(people.commands)
app.add_typer(installation.commands)
app.add_typer(orphans.commands)
whole.add_to(app)
doctor.add_to(app)
extensions.add_to(app)
app.add_typer(new.commands, rich_help_panel="Whole system")
prune.add_to(app)
simulate.add_to(app)
bench.add_to(app)
conformance.add_to(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Every error ends here, as one line on stderr.

    A reader who leaves early (``| head``) is no error: the code is the one that the command would have had,
    or 0 where it ended because of that.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    streams.prepare()
    for doubt in _doubts():
        output.note(f"oms: {doubt}")
    try:
        code = _run(given)
    except BrokenPipeError:
        streams.drop_output()
        code = 0
    except (Exception, KeyboardInterrupt) as error:
        code = report(error)
    _flush()
    return code


def _doubts() -> Iterator[str]:
    """What is said of the environment before anything else."""
    yield from doubts(os.environ)
    if os.environ.get(CONFIG):
        from oms.configuration_file import readable_by_all  # what it imports takes longer than most commands

        yield from readable_by_all()


def _run(given: Sequence[str]) -> int:
    try:
        ended = typer.main.get_command(app).main(list(given), prog_name="oms", standalone_mode=False)
    except SystemExit as leaving:  # what the library makes of a pipe that breaks
        if isinstance(leaving.__context__, BrokenPipeError):
            raise leaving.__context__ from None
        raise
    return ended if isinstance(ended, int) else 0


def _flush() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        streams.drop_output()
