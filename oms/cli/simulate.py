"""`oms simulate`: the production code in a world made from a seed, with everything going wrong that can."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from itertools import product
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oms.cli import output
from oms.cli.options import AsJson, example

if TYPE_CHECKING:
    from simulation.campaign import Outcome, Rate
    from simulation.kinds import Kind

LARGEST_SEED = 2**31

SEEDS_A_LINE = 250
"""Where no terminal shows how far it is: so often it is told."""


class StorageKind(StrEnum):
    """Where the simulated services keep their rows."""

    MEMORY = "memory"
    POSTGRESQL = "postgresql"


class KindName(StrEnum):
    """Which worlds a seed stands for."""

    ORDERS = "orders"
    COURSES = "courses"


def add_to(app: typer.Typer) -> None:
    """Put the command on the command line."""
    examples = example(
        "oms simulate --seeds 500",
        "oms simulate --seed 4711 --kind courses --trace",
        "oms simulate --saga order_fulfillment --seeds 100",
        "oms simulate --storage postgresql --seeds 20",
    )
    app.command("simulate", epilog=examples, rich_help_panel="Whole system")(simulate)


def simulate(
    seeds: Annotated[int, typer.Option("--seeds", min=1, metavar="N", help="How many seeds to run.")] = 1,
    seed: Annotated[
        int | None,
        typer.Option("--seed", min=0, metavar="S", help="The first seed; a random one by default."),
    ] = None,
    kind: Annotated[
        KindName | None,
        typer.Option(
            help="Orders, or courses: random sagas with groups, for-eachs and waits. Both by default."
        ),
    ] = None,
    saga: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Worlds of this saga definition, with stand-ins for participants that are none of ours.",
        ),
    ] = None,
    trace: Annotated[bool, typer.Option("--trace", help="Tell the story of every order of a seed.")] = False,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", "-j", min=1, metavar="N", help="Processes to run on; all cores by default."),
    ] = None,
    storage: Annotated[
        StorageKind,
        typer.Option(help="Memory: fast, and a seed is one story. PostgreSQL: the real SQL, locks and all."),
    ] = StorageKind.MEMORY,
    database_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="A PostgreSQL on which databases may be made and dropped; a private one by default.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run the whole system on a simulated network, storage, clock and providers, and check every rule.

    A seed fixes everything that happens, so a failing one is seen again exactly as it was; on PostgreSQL the
    server has its say as well. Exits with 1 when a rule was broken.
    """
    if kind is not None and saga is not None:
        raise typer.BadParameter("--kind and --saga exclude each other")
    kinds = _kinds(kind, saga)
    first = random.randrange(LARGEST_SEED) if seed is None else seed  # noqa: S311 (any seed will do)
    jobs = 1 if trace else min(jobs or os.cpu_count() or 1, seeds)
    with _databases(storage, jobs, database_url) as databases:
        if trace:
            _tell(first, seeds, databases, kinds)
            return
        total = _run(first, seeds, jobs, databases, kinds, quiet=as_json)
    if as_json:
        output.show_json(total)
    if total["violations"]:
        raise typer.Exit(1)


@contextmanager
def _databases(storage: StorageKind, jobs: int, database_url: str | None) -> Iterator[Sequence[str]]:
    if storage is StorageKind.MEMORY:
        yield ()
        return
    from oms.simulated_databases import databases

    with databases(jobs, database_url) as made:
        yield made


def _kinds(kind: KindName | None, saga: str | None) -> Sequence[Kind]:
    from simulation.kinds import BOTH

    if saga is not None:
        from oms.simulated_sagas import kind_of

        return (kind_of(saga),)
    return [each for each in BOTH if kind in (None, each.name)]


def _run(
    first: int,
    seeds: int,
    jobs: int,
    databases: Sequence[str],
    kinds: Sequence[Kind],
    *,
    quiet: bool,
) -> dict[str, Any]:
    from simulation.campaign import Outcome, Rate, campaign, stopwatch

    if not quiet:
        last = f" to {first + seeds - 1}" if seeds > 1 else ""
        typer.echo(f"seed{'s' if seeds > 1 else ''} {first}{last}")
    total, began_s = Outcome(), stopwatch()
    for outcome in campaign(first, seeds, jobs, databases, kinds):
        total.merge(outcome)
        if not quiet:
            for report in outcome.reports.values():
                _clear()
                typer.echo("\n".join(report))
            if _redraws() or total.seeds // SEEDS_A_LINE > (total.seeds - outcome.seeds) // SEEDS_A_LINE:
                _progress(f"{total.seeds:,} of {seeds:,} seeds, {Rate(total.seeds, stopwatch() - began_s)}")
    rate = Rate(total.seeds, stopwatch() - began_s)
    if not quiet:
        _clear()
        _summary(total, rate)
    return {
        "first_seed": first,
        "seeds": total.seeds,
        "orders": total.orders,
        "sagas": total.sagas,
        "virtual_hours": round(total.virtual_s / 3600, 2),
        "seeds_per_second": round(rate.seeds / rate.seconds, 1),
        "violations": total.violations,
        "coverage": [
            {"kind": name, "rule": rule, "direction": direction, "fault": fault, "times": times}
            for name, coverage in total.coverage.items()
            for (rule, direction, fault), times in sorted(coverage.cells.items())
        ],
    }


def _summary(total: Outcome, rate: Rate) -> None:
    if total.seeds > 1:
        for name, coverage in total.coverage.items():
            typer.echo(f"{name}:")
            for line in coverage.table():
                typer.echo(line)
    wrong = len(total.violations)
    verdict = f"{wrong} of their worlds broke a rule" if wrong else "no rule was broken"
    told = [f"{total.orders:,} orders"] if total.orders else []
    told += [f"{total.sagas:,} other sagas"] if total.sagas else []
    hours = f"{total.virtual_s / 3600:,.1f} simulated hours"
    typer.echo(f"{total.seeds:,} seeds, {' and '.join(told)}, {hours}, {rate}: {verdict}")


def _redraws() -> bool:
    return sys.stderr.isatty() and not output.console(sys.stderr).is_dumb_terminal


def _progress(text: str) -> None:
    """The line at the bottom of a terminal, written over again and again; elsewhere a line of its own."""
    sys.stderr.write(f"\r\x1b[2K{text}" if _redraws() else f"{text}\n")
    sys.stderr.flush()


def _clear() -> None:
    if _redraws():
        _progress("")


def _tell(first: int, seeds: int, databases: Sequence[str], kinds: Sequence[Kind]) -> None:
    """Print the stories of some seeds; ends with 1 when one of them broke a rule."""
    from simulation.campaign import storage_in
    from simulation.report import failure, stories
    from simulation.run import Run

    broken, storage = False, storage_in(*databases)
    for number, kind in product(range(first, first + seeds), kinds):
        run = Run(kind.plans(number), storage)
        run.execute()
        typer.echo(f"seed {number} ({kind.name})")
        for line in stories(run):
            typer.echo(line)
        if run.violations:
            broken = True
            for line in failure(run):
                typer.echo(line)
        else:
            typer.echo(f"seed {number} ({kind.name}): no rule was broken")
    if broken:
        raise typer.Exit(1)
