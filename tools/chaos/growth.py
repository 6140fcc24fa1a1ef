"""Whether anything grows over a run: its first, second and last third beside each other.

Figures are medians, because a fault lifts some for a few seconds. A process is judged only when it is the
same from the beginning of the second third on: one that was ended holds nothing of what came before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from statistics import median
from typing import Final, TypeVar

from rich.table import Table

from tools.chaos.gauges import Held, Sample, Stored

JUDGED_FROM_S: Final = 1500.0
"""A shorter run is shown and not judged: its processes are still warming up in the second third."""

MEMORY_SLACK: Final = 1.05
"""Of the last third over the second: allocators breathe."""

SIZE_SLACK: Final = 1.25
"""Of the bytes that an order takes: tables grow by pages, and vacuum comes when it comes."""

COUNT_SLACK: Final = 20
"""Handles, threads and connections come and go with the load, within the bounds of pools.

One that is lost at every fault would be far more in a third of an hour.
"""

_HELD: Final[dict[str, Callable[[Held], float]]] = {
    "file handles": attrgetter("handles"),
    "threads": attrgetter("threads"),
    "connections": attrgetter("connections"),
}
_SHOWN: Final[dict[str, Callable[[Stored], float]]] = {
    "rows in outboxes": lambda stored: sum(stored.outbox_rows.values()),
    "outboxes, MB": lambda stored: stored.outbox_bytes / 2**20,
    "dead rows": attrgetter("dead_rows"),
}

Seen = TypeVar("Seen")
Third = Sequence[Sample]


@dataclass(frozen=True, slots=True)
class Line:
    """One figure by thirds of the run, and the most that the last may be; None where that is not judged."""

    name: str
    thirds: tuple[float | None, ...]
    limit: float | None = None

    @property
    def objection(self) -> str | None:
        """What is wrong with it, if anything is."""
        last = self.thirds[-1]
        if last is None or self.limit is None or last <= self.limit:
            return None
        shown = ", ".join(map(_number, self.thirds))
        return f"{self.name} has grown: {shown} by thirds of the run, at most {_number(self.limit)} is right"

    def judged(self, factor: float = 1.0, more: float = 0.0) -> Line:
        """With a limit: so much above the second third."""
        second = self.thirds[1]
        return Line(self.name, self.thirds, None if second is None else second * factor + more)


def growth(samples: Sequence[Sample]) -> list[Line]:
    """Every figure of a run; those of a short one without limits, none where it has no thirds."""
    thirds = _thirds(samples)
    if not all(thirds):
        return []
    lines = [*_of_processes(thirds), *_of_servers(thirds), *_of_tables(thirds)]
    if samples[-1].at_s < JUDGED_FROM_S:
        return [Line(line.name, line.thirds) for line in lines]
    return lines


def growth_table(lines: Sequence[Line]) -> Table:
    """The figures for a person."""
    shown = Table("held", "first third", "second", "last", "may be", box=None)
    for column in shown.columns[1:]:
        column.justify = "right"
    for line in lines:
        limit = "(not judged)" if line.limit is None else _number(line.limit)
        shown.add_row(line.name, *map(_number, line.thirds), limit)
    return shown


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _thirds(samples: Sequence[Sample]) -> list[Third]:
    """By time, not by number: samples are rarer where a fault holds them up."""
    third_s = samples[-1].at_s / 3 if samples else 0.0
    first = [each for each in samples if each.at_s < third_s]
    last = [each for each in samples if each.at_s >= 2 * third_s]
    return [first, list(samples[len(first) : len(samples) - len(last)]), last]


def _medians(
    name: str, thirds: Sequence[Third], seen: Callable[[Sample], Seen | None], read: Callable[[Seen], float]
) -> Line:
    """Of all samples in which that was seen."""
    found = [[read(what) for each in third if (what := seen(each)) is not None] for third in thirds]
    return Line(name, tuple(median(figures) if figures else None for figures in found))


def _of_processes(thirds: Sequence[Third]) -> Iterator[Line]:
    for service in thirds[0][0].processes:

        def held(sample: Sample, service: str = service) -> Held | None:
            return sample.processes.get(service)

        pids = {process.pid for each in (*thirds[1], *thirds[2]) if (process := held(each))}
        memory = _medians(f"{service}: memory, MB", thirds, held, attrgetter("resident_mb"))
        counts = [_medians(f"{service}: {what}", thirds, held, read) for what, read in _HELD.items()]
        if len(pids) == 1:
            memory, counts = memory.judged(MEMORY_SLACK), [each.judged(more=COUNT_SLACK) for each in counts]
        yield from (memory, *counts)


def _of_servers(thirds: Sequence[Third]) -> Iterator[Line]:
    stored: Callable[[Sample], Stored | None] = attrgetter("stored")
    queued: Callable[[Sample], int | None] = attrgetter("queued")
    connections: Callable[[Sample], int] = attrgetter("broker_connections")
    yield _medians("RabbitMQ: connections", thirds, connections, float).judged(more=COUNT_SLACK)
    yield _medians("RabbitMQ: messages ready", thirds, queued, float)
    sessions = _medians("PostgreSQL: sessions", thirds, stored, attrgetter("sessions"))
    yield sessions.judged(more=COUNT_SLACK)
    for what, read in _SHOWN.items():
        yield _medians(f"PostgreSQL: {what}", thirds, stored, read)


def _of_tables(thirds: Sequence[Third]) -> Iterator[Line]:
    """What an order that ended in a third has added to each schema."""
    seen = [[(each.ended, each.stored.schema_bytes) for each in third if each.stored] for third in thirds]
    if not all(seen):
        return
    for schema in seen[0][0][1]:
        added = [third[-1][1][schema] - third[0][1][schema] for third in seen]
        orders = [third[-1][0] - third[0][0] or 1 for third in seen]
        an_order = tuple(size / count for size, count in zip(added, orders, strict=True))
        yield Line(f"PostgreSQL: {schema}, bytes an order", an_order).judged(SIZE_SLACK)
