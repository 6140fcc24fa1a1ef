"""What a run has tried: which rule was kept, in which direction, after which fault had struck."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from string import ascii_letters
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

    def __init__(self, never: frozenset[Fault] = frozenset()) -> None:
        """
        Args:
            never: faults that cannot strike.
        """
        self.never = never
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
        """The cross product: a line for each rule and direction, a column for each fault.

        A cell says how often the rule was kept after the fault had struck: nothing for never, else the number
        of digits of the count.
        """
        kinds = [fault for fault in Fault if fault not in self.never]
        letters = dict(zip(kinds, ascii_letters, strict=False))
        yield "after which fault a rule was kept; a cell is the number of digits of how often"
        for fault in kinds:
            yield f"  {letters[fault]}  {self.strikes[fault.name]:>9,} times  {fault}"
        yield f"{'rule':32} {'direction':12} {'times':>9}  {''.join(letters.values())}"
        for rule, direction in sorted({(rule, direction) for rule, direction, _ in self.cells}):
            counts = [self.cells[rule, direction, kind.name] for kind in kinds]
            times = max(*counts, self.cells[rule, direction, NO_FAULT])
            cells = "".join(str(len(str(count))) if count else "." for count in counts)
            yield f"{rule:32} {direction:12} {times:9,}  {cells}"
        yield f"{self.covered():.0%} of the cells"

    def covered(self) -> float:
        """The share of the cross product of seen rules and all possible faults that was seen."""
        rules = {(rule, direction) for rule, direction, _ in self.cells}
        seen = sum(1 for _, _, fault in self.cells if fault != NO_FAULT)
        return seen / (len(rules) * (len(Fault) - len(self.never))) if rules else 0.0
