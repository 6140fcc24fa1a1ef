"""`oms bench`: measures the project beside its peers."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Final

import typer
from rich.console import Console

from oms.embedded.child import ServerError
from tools.benchmarks.children import ContenderFailed
from tools.benchmarks.contenders import noting
from tools.benchmarks.environment import PEERS, NoEnvironment
from tools.benchmarks.memory import Memory, watch_memory
from tools.benchmarks.report import as_json, show
from tools.benchmarks.running import FULL, QUICK, Pace, Runner
from tools.benchmarks.scenarios import NAMES, ONE_LINE, Side, comparisons, curves
from tools.benchmarks.servers import servers
from tools.benchmarks.timeline import orders, read_notes, table

TellMore = Callable[[Runner, Path, Console], Coroutine[None, None, None]]

SCENARIOS: Final = (*NAMES, "memory", "curves")
QUICKLY: Final = ("dbos", "floor", "alone", "hot", "intake", "failing")
"""What `--quick` measures unless told otherwise: no past is made, no memory watched."""


def bench(
    scenarios: Annotated[
        list[str] | None, typer.Argument(metavar="[SCENARIO]...", help=f"Of {', '.join(SCENARIOS)}.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Seconds instead of minutes: a first look.")] = False,
    repetitions: Annotated[int | None, typer.Option(min=1, help="Runs of each side.")] = None,
    measure_s: Annotated[float | None, typer.Option(min=1, help="Seconds of each window.")] = None,
    past_sagas: Annotated[int | None, typer.Option(min=1000, help="Ended sagas of a past.")] = None,
    memory_sagas: Annotated[int | None, typer.Option(min=1000, help="Sagas while memory is watched.")] = None,
    timeline: Annotated[
        bool, typer.Option("--timeline", help="Beside that: what one order alone waits for, leg by leg.")
    ] = False,
    broker_url: Annotated[str | None, typer.Option(help="A RabbitMQ; else a private one is started.")] = None,
    database_url: Annotated[
        str | None, typer.Option(help="A PostgreSQL whose role may create databases; else a private one.")
    ] = None,
    to: Annotated[
        Path,
        typer.Option("--to", metavar="FOLDER", file_okay=False, help="For results.json and picture.svg."),
    ] = Path(".oms/bench"),
) -> None:
    """Measure throughput and latency beside DBOS, FastStream and the floor; ends with the audit's verdict."""
    usual = QUICK if quick else FULL
    pace = Pace(
        repetitions or usual.repetitions,
        usual.warm_up_s,
        measure_s or usual.measure_s,
        past_sagas or usual.past_sagas,
        memory_sagas or usual.memory_sagas,
    )
    wanted = tuple(scenarios or (QUICKLY if quick else SCENARIOS))
    unknown = [name for name in wanted if name not in SCENARIOS]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is none of {', '.join(SCENARIOS)}")
    try:
        tell_more = show_timeline if timeline else nothing_more
        sound = _measure(wanted, pace, broker_url, database_url, to, tell_more)
    except (NoEnvironment, ServerError, ContenderFailed) as error:
        typer.echo(f"oms bench: {error}", err=True)
        raise typer.Exit(1) from None
    if not sound:
        raise typer.Exit(1)


def _measure(
    wanted: Sequence[str],
    pace: Pace,
    broker_url: str | None,
    database_url: str | None,
    to: Path,
    tell_more: TellMore,
) -> bool:
    """Measure, tell, and say whether the audit had no objection."""
    PEERS.make()
    to.mkdir(parents=True, exist_ok=True)
    with (
        TemporaryDirectory(prefix="oms-bench-", ignore_cleanup_errors=True) as folder,
        servers(Path(folder), broker_url, database_url) as running,
    ):
        console = Console(width=180 if not sys.stdout.isatty() else None)
        runner = Runner(running, to / "logs", pace, lambda text: console.print(text, style="dim"))
        memory = asyncio.run(_run(runner, wanted))
        _tell(runner, wanted, memory, to, console)
        asyncio.run(tell_more(runner, to, console))
    return not runner.objections


async def nothing_more(_: Runner, __: Path, ___: Console) -> None:
    """Without `--timeline`."""


async def show_timeline(runner: Runner, folder: Path, console: Console) -> None:
    """`--timeline`: run once more with one order in flight, its processes taking notes."""
    notes = folder / "timeline"
    for former in notes.glob("*.jsonl"):
        former.unlink()
    await runner.run([Side(noting(notes.resolve()), ONE_LINE, 1)])
    for line in table(list(orders(read_notes(notes)))):
        console.print(line, highlight=False)


async def _run(runner: Runner, wanted: Sequence[str]) -> Memory | None:
    """Measure what the scenarios need, each side once a repetition."""
    rows = [comparison for comparison in comparisons() if comparison.name in wanted]
    sides = [side for row in rows for side in (row.ours, *row.peers)]
    await runner.run([*sides, *(curves() if "curves" in wanted else ())])
    return await watch_memory(runner) if "memory" in wanted else None


def _tell(
    runner: Runner, wanted: Sequence[str], memory: Memory | None, folder: Path, console: Console
) -> None:
    """Print, write, draw, and end with the audit."""
    rows = [comparison for comparison in comparisons() if comparison.name in wanted]
    verdicts = [row.verdict(runner.samples) for row in rows]
    show(console, verdicts, runner, memory)
    results = folder / "results.json"
    results.write_text(json.dumps(as_json(runner, verdicts, memory), indent=1) + "\n")
    picture = folder / "picture.svg"
    subprocess.run([PEERS.python, "-m", "tools.benchmarks.picture", results, picture], check=False)
    console.print(f"written: {results} {picture}")
    for objection in runner.objections:
        console.print(objection, style="red")
    if not runner.objections:
        console.print(f"audit: {runner.audited_sagas:,} sagas, no objection", style="green")


if __name__ == "__main__":
    command = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    command.command(epilog="Example:  oms bench --quick floor alone")(bench)
    command(prog_name="oms bench")
