"""What came out, as tables for a terminal and as JSON."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any, Final

import psutil
from rich.console import Console
from rich.table import Table

from tools.benchmarks.memory import FLAT, Memory
from tools.benchmarks.running import Runner
from tools.benchmarks.scenarios import Comparison, Samples, Side, Verdict

_PARTS: Final = {"broker": "broker", "postgres": "database", "load": "load"}
"""Whose CPU it is, by the process's name; all others are the contender's own."""


def parts_of_cpu(samples: Samples) -> dict[str, float]:
    """Median CPU per saga, in milliseconds: own processes, broker, database, load."""
    count = len(samples.measurements)
    parts: dict[str, float] = dict.fromkeys(("own", "broker", "database", "load"), 0.0)
    for measurement in samples.measurements:
        for name, spent in measurement.cpu_ms.items():
            parts[_PARTS.get(name, "own")] += spent / count
    return parts


def show(console: Console, verdicts: list[Verdict], runner: Runner, memory: Memory | None) -> None:
    """Print the goals and, below, every side."""
    console.print(_goals(verdicts, memory))
    console.print(_sides(runner.samples))
    quickest, slowest = min(runner.drift), max(runner.drift)
    console.print(
        f"the machine's drift: the same work took 1 to {slowest / quickest:.2f} times its shortest time"
    )


def _goals(verdicts: list[Verdict], memory: Memory | None) -> Table:
    table = Table(title="Goals", title_justify="left")
    table.add_column("what")
    for name in ("ours", "peer", "ratio", "lowest to highest", "goal"):
        table.add_column(name, justify="right")
    table.add_column("best peer")
    for verdict in verdicts:
        comparison = verdict.comparison
        table.add_row(
            comparison.title,
            f"{verdict.ours:,.1f} {comparison.unit}",
            f"{verdict.theirs:,.1f}",
            f"{verdict.ratio:.2f}",
            f"{min(verdict.ratios):.2f} to {max(verdict.ratios):.2f}",
            _goal(comparison),
            verdict.peer.name,
            style={True: "green", False: "red", None: None}[verdict.reached],
        )
    if memory is not None:
        worst = max(memory.growth.values())
        table.add_row(
            f"memory over {memory.sagas[-1]:,} sagas, to that after a tenth",
            *("", "", f"{worst:.2f}", "", f"≤ {FLAT:g}", ""),
            style="green" if memory.flat else "red",
        )
    return table


def _goal(comparison: Comparison) -> str:
    if comparison.goal is None:
        return ""
    return f"{'≤' if comparison.smaller_is_better else '≥'} {comparison.goal:g}"


def _sides(samples: Mapping[Side, Samples]) -> Table:
    table = Table(title="Every side: medians", title_justify="left")
    table.add_column("contender · workload · in flight")
    columns = ("per s", "spread", "p50 ms", "p99 ms", "CPU ms", "own", "broker", "database")
    for name in (*columns, "messages", "rows", "WAL kB"):
        table.add_column(name, justify="right")
    for side, sample in samples.items():
        cpu = parts_of_cpu(sample)
        print_ = sample.footprints[-1]
        table.add_row(
            side.name,
            f"{sample.per_second:,.0f}",
            f"{sample.spread:.0%}",
            f"{sample.p50_ms:,.1f}",
            f"{sample.p99_ms:,.1f}",
            f"{sample.cpu_ms:.2f}",
            *(f"{cpu[part]:.2f}" for part in ("own", "broker", "database")),
            f"{print_.messages:.1f}",
            f"{print_.rows:.1f}",
            f"{print_.wal_bytes / 1000:.1f}",
        )
    return table


def as_json(runner: Runner, verdicts: list[Verdict], memory: Memory | None) -> dict[str, Any]:
    """Everything, for the picture and for comparing runs."""
    return {
        "machine": {
            "system": platform.platform(),
            "python": platform.python_version(),
            "cores": psutil.cpu_count(),
            "memory_bytes": psutil.virtual_memory().total,
            "postgresql": runner.servers.version(),
        },
        "pace": {name: getattr(runner.pace, name) for name in runner.pace.__slots__},
        "drift_s": runner.drift,
        "goals": [_verdict(verdict) for verdict in verdicts],
        "sides": [_side(side, sample) for side, sample in runner.samples.items()],
        "memory": None
        if memory is None
        else {"sagas": memory.sagas, "resident_mb": memory.resident_mb, "growth": memory.growth},
        "audit": {"sagas": runner.audited_sagas, "objections": runner.objections},
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    comparison = verdict.comparison
    return {
        "name": comparison.name,
        "title": comparison.title,
        "ours": verdict.ours,
        "peer": verdict.theirs,
        "unit": comparison.unit,
        "ratio": verdict.ratio,
        "ratios": verdict.ratios,
        "goal": comparison.goal,
        "smaller_is_better": comparison.smaller_is_better,
        "reached": verdict.reached,
        "best_peer": verdict.peer.name,
    }


def _side(side: Side, sample: Samples) -> dict[str, Any]:
    footprint = sample.footprints[-1]
    return {
        "contender": side.contender.name,
        "workload": side.workload,
        "in_flight": side.in_flight,
        "per_second": sample.per_second,
        "spread": sample.spread,
        "p50_ms": sample.p50_ms,
        "p99_ms": sample.p99_ms,
        "cpu_ms": parts_of_cpu(sample),
        "messages": footprint.messages,
        "rows": footprint.rows,
        "rows_by_table": footprint.rows_by_table,
        "wal_bytes": footprint.wal_bytes,
        "runs": [measurement.as_json() for measurement in sample.measurements],
    }
