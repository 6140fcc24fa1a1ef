"""What a run has tried: which rule was kept, in which direction, after which fault had struck."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

from simulation.facts import Decided, Fact, Struck
from simulation.weather import Fault

NEAR_S: Final = 30.0
"""A fault that struck a process, and no saga in particular, counts for so many seconds for everybody."""

NO_FAULT: Final = "no fault"

Cell = tuple[str, str, str]
"""Rule, direction, fault."""


class Coverage:
    """Counts of rule × direction × fault."""

    def __init__(self) -> None:
        self.cells: Counter[Cell] = Counter()
        self.strikes: Counter[str] = Counter()

    def add(self, facts: Iterable[tuple[float, Fact]]) -> None:
        """Count one run."""
        of_saga: dict[str, set[str]] = defaultdict(set)
        latest: dict[str, float] = {}
        for at_s, fact in facts:
            if isinstance(fact, Struck):
                self.strikes[fact.fault.name] += 1
                if fact.saga_id is not None:
                    of_saga[str(fact.saga_id)].add(fact.fault.name)
                else:
                    latest[fact.fault.name] = at_s
            elif isinstance(fact, Decided):
                near = {name for name, struck_at_s in latest.items() if at_s - struck_at_s < NEAR_S}
                for name in of_saga[str(fact.saga_id)] | near or {NO_FAULT}:
                    self.cells[fact.rule, fact.direction, name] += 1

    def merge(self, other: Coverage) -> None:
        """Add another's counts."""
        self.cells += other.cells
        self.strikes += other.strikes

    def table(self) -> Iterator[str]:
        """One line a rule and direction: how often, after how many kinds of faults, after which never."""
        kinds = [fault.name for fault in Fault]
        yield f"{'rule':32} {'direction':12} {'times':>9}  {'faults':>7}  never after"
        for rule, direction in sorted({(rule, direction) for rule, direction, _ in self.cells}):
            counts = {kind: self.cells[rule, direction, kind] for kind in kinds}
            missed = [kind.lower() for kind, count in counts.items() if not count]
            times = max(*counts.values(), self.cells[rule, direction, NO_FAULT])
            seen = f"{len(kinds) - len(missed)}/{len(kinds)}"
            never = ", ".join(missed[:4]) + (", ..." if len(missed) > 4 else "")
            yield f"{rule:32} {direction:12} {times:9,}  {seen:>7}  {never}"
