"""`oms bench`: the benchmark, which lives in the checkout and is no part of what is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import typer

from oms.cli.options import example
from oms.failures import Failure

CHECKOUT: Final = Path(__file__).parents[2]
_ANYTHING: Final = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
"""Options belong to the benchmark, which explains them itself."""


def add_to(app: typer.Typer) -> None:
    """Put this command on the command line."""
    app.command(
        "bench",
        epilog=example("oms bench --quick", "oms bench floor alone --repetitions 3"),
        rich_help_panel="Whole system",
        context_settings=_ANYTHING,
    )(bench)


def bench(context: typer.Context) -> None:
    """Measure throughput and latency beside peers; needs a checkout of the project."""
    if not (CHECKOUT / "tools/benchmarks/__main__.py").exists():
        raise Failure("oms bench measures from a checkout of the project; here is only what was installed")
    search = os.pathsep.join(filter(None, [str(CHECKOUT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-m", "tools.benchmarks", *context.args],
        env=os.environ | {"PYTHONPATH": search},
        check=False,
    )
    if done.returncode:
        raise typer.Exit(done.returncode)
