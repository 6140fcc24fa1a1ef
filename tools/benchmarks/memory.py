"""Does memory grow with the sagas that a process has served?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tools.benchmarks.closed_loop import Run
from tools.benchmarks.contenders import OURS
from tools.benchmarks.running import Runner
from tools.benchmarks.scenarios import BUSY, ONE_LINE

SETTLED_SHARE: Final = 0.1
"""The share of all sagas after which memory should be flat: 10,000 of 100,000."""

PORTION_S: Final = 10.0
FLAT: Final = 1.05
"""Largest growth that still counts as flat: allocators breathe."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident megabytes by process, over the sagas served."""

    sagas: list[int]
    resident_mb: dict[str, list[float]]

    @property
    def growth(self) -> dict[str, float]:
        """By process: the last figure to the first one after it had settled."""
        settled = next(
            (at for at, count in enumerate(self.sagas) if count >= self.sagas[-1] * SETTLED_SHARE), 0
        )
        return {name: sizes[-1] / sizes[settled] for name, sizes in self.resident_mb.items()}

    @property
    def flat(self) -> bool:
        """Whether no process has grown."""
        return all(growth <= FLAT for growth in self.growth.values())


async def watch_memory(runner: Runner) -> Memory:
    """Serve sagas by portions and look after each."""
    sagas: list[int] = []
    resident: dict[str, list[float]] = {}
    portion_s = min(PORTION_S, runner.pace.measure_s)
    async with runner.bench(OURS, ONE_LINE) as bench:
        while not sagas or sagas[-1] < runner.pace.memory_sagas:
            measurement = await bench.measure(Run(BUSY, 0, portion_s))
            sagas.append(bench.started)
            for name, size in measurement.resident_mb.items():
                resident.setdefault(name, []).append(size)
            runner.tell(f"memory after {bench.started:,} sagas: {measurement.resident_mb}")
    return Memory(sagas, resident)
