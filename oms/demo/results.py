"""What came of the demo, beside what had to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from oms.audit import Report
from oms.demo.sample_orders import COMPLETED, End, Story


@dataclass(slots=True)
class Course:
    """One story while it runs.

    Attributes:
        order_ids: of its orders, in the order of their submission.
        too_late: how many of its cancellations were refused.
        ends: how its orders have ended so far.
    """

    story: Story
    order_ids: list[str] = field(default_factory=list)
    too_late: int = 0
    ends: Counter[End] = field(default_factory=Counter)

    @property
    def expected(self) -> Counter[End]:
        """How its orders must end: one that was cancelled too late completes."""
        expected = Counter(dict(self.story.expected))
        if self.too_late:
            expected[next(iter(self.story.expected))] -= self.too_late
            expected[COMPLETED] += self.too_late
        return +expected

    @property
    def done(self) -> bool:
        """Every order has ended."""
        return self.ends.total() == len(self.story.orders)

    @property
    def as_expected(self) -> bool:
        """Every order has ended as it must."""
        return self.ends == self.expected


@dataclass(frozen=True, slots=True)
class Money:
    """What the gateway's books say, in minor units; ``due`` is the total of the completed orders."""

    charges: int
    charged: int
    refunded: int
    due: int

    @property
    def adds_up(self) -> bool:
        """Exactly the completed orders are paid for."""
        return self.charged - self.refunded == self.due


@dataclass(frozen=True, slots=True)
class Level:
    """A product before and after; ``sold`` by completed orders."""

    sku: str
    before: int
    after: int
    reserved: int
    sold: int

    @property
    def adds_up(self) -> bool:
        """What was sold has left the house, and nothing is held."""
        return self.before - self.sold == self.after and self.reserved == 0


@dataclass(frozen=True, slots=True)
class Result:
    """Everything that the demo shows at its end."""

    courses: Sequence[Course]
    levels: Sequence[Level]
    money: Money
    report: Report
    took_s: float

    @property
    def as_expected(self) -> bool:
        """Whether all of it is as it must be."""
        return (
            all(course.as_expected for course in self.courses)
            and all(level.adds_up for level in self.levels)
            and self.money.adds_up
            and self.report.ok
        )
