"""`python -m tools.chaos`: faults from a seed, on real servers under load; ends with 1 when it went wrong."""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import shutil
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

from rich.console import Console

from oms.embedded.child import ServerError
from tools.arguments import positive
from tools.chaos.course import Course, Plan, S
from tools.chaos.faults import CATALOGUE, drawn
from tools.chaos.gauges import Gauges
from tools.chaos.growth import growth, growth_table
from tools.chaos.lives import LIVES
from tools.chaos.node_inventory import node_inventory
from tools.chaos.report import Screen, summary, table
from tools.chaos.stage import Cast, Stage, our_own, staged

ORDERS_A_FAULT: Final = 40
CASTS: Final[Mapping[str, Cast]] = {"python": our_own, "node": node_inventory}
"""By who does inventory's work."""

PLAIN_WIDTH: Final = 120
"""Columns of the table where it does not go to a terminal."""


def main() -> int:
    """Play one run."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    plan, cast, keep = _asked()
    console = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    console.print(f"seed {plan.seed}: {plan.size} faults, at least {plan.orders:,} orders", highlight=False)
    folder = Path(mkdtemp(prefix=f"oms-chaos-{plan.seed}-"))
    folder.chmod(0o755)  # PostgreSQL runs as another user when we are root
    try:
        stage = partial(staged, cast=cast, told=plan.life.environment)
        sound = asyncio.run(run(plan, stage, folder, console, gauged=Gauges, keep=keep))
    except KeyboardInterrupt:
        console.print("stopped; everything that was started has been ended")
        shutil.rmtree(folder, ignore_errors=True)
        return 130
    except (ServerError, AssertionError) as error:
        console.print(f"chaos: {error}", highlight=False, markup=False)
        sound = False
    if sound and not keep:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        console.print(f"logs and all that was found are kept in {folder}", highlight=False)
    return 0 if sound else 1


async def run(
    plan: Plan[S],
    staged: Callable[[Path], AbstractAsyncContextManager[S]],
    folder: Path,
    console: Console,
    *,
    gauged: Callable[[S, Path], Gauges] | None = None,
    keep: bool = False,
) -> bool:
    """One run with everything that it shows; says whether all was as it must be.

    With `gauged` the samples that it makes of the stage are judged too: nothing may grow without end.
    """
    screen = Screen(console, plan.size)
    with screen.live:
        async with staged(folder) as stage:
            gauges = gauged and gauged(stage, folder / "samples.jsonl")
            course = Course(plan, stage, screen.tell, gauges)
            screen.look_at(course)
            await course.play()
            held = growth(gauges.samples) if gauges else []
            course.objections += [line.objection for line in held if line.objection]
            if course.objections or keep:
                await _keep(course, stage, folder)
    console.print(table(course.suffered))
    if held:
        console.print(growth_table(held))
    for line in summary(course):
        console.print(line, highlight=False)
    for objection in course.objections:
        console.print(f"WRONG: {objection}", highlight=False, markup=False)
    if not course.objections:
        console.print("every accepted order has ended, the audit is clean, nothing is left behind")
    return not course.objections


async def _keep(course: Course[S], stage: S, folder: Path) -> None:
    """What a person needs to find the cause; the servers' and services' logs lie there anyway."""
    await asyncio.to_thread(stage.dump, folder)
    told = {"seed": course.plan.seed, "objections": course.objections, "faults": course.suffered}
    (folder / "run.json").write_text(json.dumps(told, indent=1, default=str))


def _asked() -> tuple[Plan[Stage], Cast, bool]:
    parser = argparse.ArgumentParser(prog="python -m tools.chaos", description=__doc__)
    parser.add_argument("--faults", type=positive, default=50, metavar="N", help="how many (%(default)s)")
    parser.add_argument("--seed", type=int, metavar="S", help="what is drawn; a random one by default")
    parser.add_argument(
        "--orders", type=positive, metavar="N", help=f"how many at least (faults x {ORDERS_A_FAULT})"
    )
    parser.add_argument("--rate", type=float, default=25.0, metavar="R", help="orders a second (%(default)s)")
    parser.add_argument("--minutes", type=float, default=0.0, metavar="M", help="how long at least")
    parser.add_argument(
        "--at-most",
        type=float,
        default=math.inf,
        metavar="M",
        help="minutes; then it is judged as far as it got",
    )
    parser.add_argument("--only", default="", metavar="WORDS", help="faults whose name has these words in it")
    parser.add_argument(
        "--lasting", action="store_true", help="no service's process is ended: what it holds on to shows"
    )
    parser.add_argument(
        "--inventory", choices=sorted(CASTS), default="python", help="who does its work (%(default)s)"
    )
    parser.add_argument(
        "--life",
        choices=sorted(LIVES),
        default="default",
        help="of orders: the default flow, or split, held, captured and sent back as well (%(default)s)",
    )
    parser.add_argument("--keep", action="store_true", help="keep the folder also when all was well")
    given = parser.parse_args()
    seed = random.randrange(2**31) if given.seed is None else given.seed
    if given.rate <= 0:
        parser.error("--rate: more than 0")
    faults = tuple(
        fault for fault in CATALOGUE if given.only in fault.name and not (given.lasting and fault.ends)
    )
    if not faults:
        parser.error("--only: no fault has these words in its name")
    if given.life == "whole" and given.inventory == "node":
        parser.error("--life whole: the example in Node.js knows one location alone, use --inventory python")
    orders = given.orders or given.faults * ORDERS_A_FAULT
    rounds = drawn(given.faults, random.Random(seed), faults)
    plan = Plan(rounds, seed, orders, given.rate, given.minutes, given.at_most, LIVES[given.life])
    return plan, CASTS[given.inventory], given.keep


if __name__ == "__main__":
    sys.exit(main())
