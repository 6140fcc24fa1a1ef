"""`oms simulate`: the production code in a world made from a seed, with everything going wrong that can."""

from __future__ import annotations

import random
import sys
from typing import Annotated, Any

import typer

from oms.cli import output
from oms.cli.options import AsJson, example

LARGEST_SEED = 2**31


def add_to(app: typer.Typer) -> None:
    """Put the command on the command line."""
    examples = example("oms simulate --seeds 500", "oms simulate --seed 4711 --trace")
    app.command("simulate", epilog=examples, rich_help_panel="Whole system")(simulate)


def simulate(
    seeds: Annotated[int, typer.Option("--seeds", min=1, metavar="N", help="How many seeds to run.")] = 1,
    seed: Annotated[
        int | None,
        typer.Option("--seed", min=0, metavar="S", help="The first seed; a random one by default."),
    ] = None,
    trace: Annotated[bool, typer.Option("--trace", help="Tell the story of every order of a seed.")] = False,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes to run on; all cores by default.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run the whole system on a simulated network, storage, clock and providers, and check every rule.

    A seed fixes everything that happens, so a failing one is seen again exactly as it was. Exits with 1 when
    a rule was broken.
    """
    first = random.randrange(LARGEST_SEED) if seed is None else seed  # noqa: S311 (any seed will do)
    if trace:
        _tell(first, seeds)
        return
    total = _run(first, seeds, workers, quiet=as_json)
    if as_json:
        output.show_json(total)
    if total["violations"]:
        raise typer.Exit(1)


def _run(first: int, seeds: int, workers: int | None, *, quiet: bool) -> dict[str, Any]:
    from simulation.campaign import Outcome, Rate, campaign, stopwatch

    if not quiet:
        last = f" to {first + seeds - 1}" if seeds > 1 else ""
        typer.echo(f"seed{'s' if seeds > 1 else ''} {first}{last}")
    total, began_s = Outcome(), stopwatch()
    for outcome in campaign(first, seeds, workers):
        total.merge(outcome)
        if not quiet:
            _explain(outcome.violations)
            _progress(total.seeds, seeds)
    rate = Rate(total.seeds, stopwatch() - began_s)
    if not quiet:
        _summary(total, rate)
    return {
        "first_seed": first,
        "seeds": total.seeds,
        "orders": total.orders,
        "virtual_hours": round(total.virtual_s / 3600, 2),
        "seeds_per_second": round(rate.seeds / rate.seconds, 1),
        "violations": {str(number): said for number, said in total.violations.items()},
        "coverage": [
            {"rule": rule, "direction": direction, "fault": fault, "times": times}
            for (rule, direction, fault), times in sorted(total.coverage.cells.items())
        ],
    }


def _summary(total: Any, rate: object) -> None:
    if total.seeds > 1:
        for line in total.coverage.table():
            typer.echo(line)
    wrong = len(total.violations)
    verdict = f"{wrong} of them broke a rule" if wrong else "no rule was broken"
    hours = f"{total.virtual_s / 3600:,.1f} simulated hours"
    typer.echo(f"{total.seeds:,} seeds, {total.orders:,} orders, {hours}, {rate}: {verdict}")


def _explain(violations: dict[int, str]) -> None:
    """Run a failing seed again for its story."""
    from simulation.plan import plan_of
    from simulation.report import failure
    from simulation.run import Run

    for number in violations:
        run = Run(plan_of(number))
        run.execute()
        for line in failure(run):
            typer.echo(line)


def _progress(done: int, of: int) -> None:
    if sys.stderr.isatty() and of > 1:
        sys.stderr.write(f"\r{done:,} of {of:,} seeds" + ("\n" if done == of else ""))


def _tell(first: int, seeds: int) -> None:
    """Print the stories of some seeds; ends with 1 when one of them broke a rule."""
    from simulation.plan import plan_of
    from simulation.report import failure, stories
    from simulation.run import Run

    broken = False
    for number in range(first, first + seeds):
        run = Run(plan_of(number))
        run.execute()
        typer.echo(f"seed {number}")
        for line in stories(run):
            typer.echo(line)
        if run.violations:
            broken = True
            for line in failure(run):
                typer.echo(line)
        else:
            typer.echo(f"seed {number}: no rule was broken")
    if broken:
        raise typer.Exit(1)
