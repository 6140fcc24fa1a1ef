"""What came of the demo, beside what had to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from oms.api_client import Document
from oms.audit import Report
from oms.demo.sample_orders import COMPLETED, End, Story


@dataclass(slots=True)
class Course:
    """One story while it runs.

    Attributes:
        order_ids: of its orders, in the order of their submission.
        too_late: how many of its cancellations were refused.
        ends: how its orders have ended so far.
        seen_to: about so many of them everything was done that the story tells.
        returns: those that came back in part, by order.
    """

    story: Story
    order_ids: list[str] = field(default_factory=list)
    too_late: int = 0
    ends: Counter[End] = field(default_factory=Counter)
    seen_to: int = 0
    returns: dict[str, Document] = field(default_factory=dict)

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
        """Every order has ended, and nobody has anything to do about one any more."""
        left = 0 if self.story.deed is None else len(self.story.orders) - self.seen_to
        return self.ends.total() == len(self.story.orders) and not left

    @property
    def as_expected(self) -> bool:
        """Every order has ended as it must."""
        return self.ends == self.expected


@dataclass(frozen=True, slots=True)
class Money:
    """What the gateway's books say, in minor units.

    Attributes:
        due: the price of what was shipped, less what came back of it.
    """

    charges: int
    charged: int
    refunded: int
    due: int

    @property
    def adds_up(self) -> bool:
        """Exactly what was shipped is paid for."""
        return self.charged - self.refunded == self.due


@dataclass(frozen=True, slots=True)
class Level:
    """A product before and after; so many pieces were shipped, ``sold``, of which some came ``back``."""

    sku: str
    before: int
    after: int
    reserved: int
    sold: int
    back: int = 0

    @property
    def adds_up(self) -> bool:
        """What was sold has left the house but for what came back, and nothing is held."""
        return self.before - self.sold + self.back == self.after and self.reserved == 0


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
