"""The command `oms`: all groups of commands, and the one way out of all of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import typer

from oms.cli import (
    bench,
    dead_letters,
    installation,
    jobs,
    orders,
    orphans,
    prune,
    sagas,
    services,
    simulate,
    stock,
    tokens,
    whole,
)
from oms.cli.errors import report
from oms.cli.options import example

app = typer.Typer(
    name="oms",
    help="Order management with sagas: every order is reserved, charged, shipped and committed, or undone.",
    epilog=example("oms run", "oms orders submit order.json --wait", "oms sagas list --incident any"),
    invoke_without_command=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def oms(context: typer.Context) -> None:
    """Without a command: the help."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


services.add_to(app)
app.add_typer(orders.commands)
app.add_typer(sagas.commands)
app.add_typer(dead_letters.commands)
app.add_typer(jobs.commands)
app.add_typer(stock.commands)
app.add_typer(tokens.commands)
app.add_typer(installation.commands)
app.add_typer(orphans.commands)
whole.add_to(app)
prune.add_to(app)
simulate.add_to(app)
bench.add_to(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Every error ends here, as one line on stderr."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        ended = typer.main.get_command(app).main(given, prog_name="oms", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_stdout()
        return 0
    except (Exception, KeyboardInterrupt) as error:
        return report(error)
    return ended if isinstance(ended, int) else 0


def _drop_stdout() -> None:
    """Whoever read our output has left: nothing more can be written, not even at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
