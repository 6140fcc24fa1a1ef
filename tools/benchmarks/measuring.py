"""One contender at work: a database of its own, its processes, runs and what they cost."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tools.benchmarks.children import Children, Program
from tools.benchmarks.closed_loop import DRAIN_S, Result, Run
from tools.benchmarks.cost import Written, cpu_seconds, resident_bytes, written
from tools.benchmarks.servers import Prepare, Servers, plain


@dataclass(frozen=True, slots=True)
class Contender:
    """Something to be measured.

    Attributes:
        template: names what ``prepare`` makes of an empty database; contenders may share it.
        programs: its processes, given the servers, its database's URL and the workload's name.
        messages_per_saga: where messages do not leave through an outbox that counts them.
        audited: whether its database is one that `oms audit` understands.
        has_past: whether it works on a database full of ended sagas, the same in every repetition.
    """

    name: str
    template: str
    prepare: Prepare = field(compare=False)
    programs: Callable[[Servers, str, str], Sequence[Program]] = field(compare=False)
    messages_per_saga: float | None = None
    audited: bool = False
    has_past: bool = False


@dataclass(frozen=True, slots=True)
class Measurement:
    """One run of one contender."""

    contender: str
    workload: str
    in_flight: int
    seconds: float
    ended: int
    per_second: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    outcomes: dict[str, int]
    left: int
    cpu_ms: dict[str, float]
    """CPU per saga by process, in milliseconds."""
    resident_mb: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Footprint:
    """What one saga leaves behind, on average over everything that a contender did.

    Attributes:
        rows: inserted, updated and deleted.
        wal_bytes: of write-ahead log.
    """

    sagas: int
    rows: float
    rows_by_table: dict[str, float]
    messages: float
    wal_bytes: float


class Bench:
    """A contender whose processes run, on a database of its own."""

    def __init__(self, contender: Contender, workload: str, servers: Servers, crew: Children) -> None:
        self.started = 0
        self.footprint: Footprint | None = None
        """Known once the processes have ended: PostgreSQL counts rows when sessions end."""
        self._contender = contender
        self._workload = workload
        self._servers = servers
        self._crew = crew

    @property
    def pids(self) -> dict[str, int]:
        """Its own processes."""
        return self._crew.pids

    async def measure(self, run: Run) -> Measurement:
        """One run, with what it cost."""
        everyone: dict[str, int | None] = {
            **self._crew.pids,
            "broker": self._servers.broker_pid,
            "postgres": self._servers.postgres_pid,
        }
        self._crew.begin(run)
        await self._crew.all("window", run.warm_up_s + 30)
        cpu_before = cpu_seconds(everyone)
        await self._crew.all("closed", run.measure_s + 30)
        cpu_after = cpu_seconds(everyone)
        result = await self._crew.result(DRAIN_S + 30)
        self.started += result.started
        cpu = {name: max(0.0, cpu_after[name] - cpu_before[name]) for name in cpu_after}
        return Measurement(
            contender=self._contender.name,
            workload=self._workload,
            in_flight=run.in_flight,
            cpu_ms={name: 1000 * seconds / max(1, result.ended) for name, seconds in cpu.items()},
            resident_mb={name: size / 1e6 for name, size in resident_bytes(self._crew.pids).items()},
            **_seen(result),
        )


def _seen(result: Result) -> dict[str, Any]:
    latencies = result.latencies_ms
    quantiles = statistics.quantiles(latencies, n=100) if len(latencies) > 1 else [float("nan")] * 99
    return {
        "seconds": result.seconds,
        "ended": result.ended,
        "per_second": result.ended / result.seconds,
        "p50_ms": quantiles[49],
        "p90_ms": quantiles[89],
        "p99_ms": quantiles[98],
        "outcomes": result.outcomes,
        "left": result.left,
    }


def _footprint(contender: Contender, wrote: Written, sagas: int) -> Footprint:
    by_table = {name: count / sagas for name, count in sorted(wrote.rows.items()) if count}
    messages = contender.messages_per_saga
    if messages is None:
        messages = wrote.messages() / sagas
    return Footprint(sagas, wrote.total() / sagas, by_table, messages, wrote.wal / sagas)


@asynccontextmanager
async def at_work(
    contender: Contender, workload: str, servers: Servers, folder: Path, database: str
) -> AsyncIterator[Bench]:
    """Start a contender on a database, its queues empty; end it, and only then count what it has written."""
    await servers.empty_queues()
    await asyncio.to_thread(servers.execute, "CHECKPOINT")
    before = await asyncio.to_thread(written, plain(database))
    programs = contender.programs(servers, database, workload)
    async with Children(programs, folder / contender.name) as crew:
        bench = Bench(contender, workload, servers, crew)
        yield bench
    wrote = (await asyncio.to_thread(written, plain(database))).since(before)
    bench.footprint = _footprint(contender, wrote, max(1, bench.started))
