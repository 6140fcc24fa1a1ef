"""What comes back of orders, and what the warehouse says of it: plain data (S28)."""

from __future__ import annotations

import random
from dataclasses import dataclass

from contracts.returns import Disposition


@dataclass(frozen=True, slots=True)
class ReturnPlan:
    """What becomes of one order once it has arrived. Times are seconds after what comes before.

    Attributes:
        who: the name of the person who ordered.
        pieces: of each product, at most, that come back by one return.
        side_by_side: so many returns are asked for at once; together they may be more than was ordered.
        words: what the warehouse says of every product, one after the other, and when; nothing: it is silent.
    """

    who: str
    after_s: float
    pieces: int
    side_by_side: int
    words: tuple[tuple[float, Disposition], ...]
    says_it_twice: bool
    cancels_after_s: float | None


def returns_of(people: list[str], rng: random.Random) -> tuple[ReturnPlan, ...]:
    """What some of these people do."""
    return tuple(_return(who, rng) for who in people if rng.random() < 0.7)


def _return(who: str, rng: random.Random) -> ReturnPlan:
    words = [(rng.uniform(0, 40), rng.choice(list(Disposition))) for _ in range(rng.choice((0, 1, 1, 2)))]
    return ReturnPlan(
        who=who,
        after_s=rng.uniform(0, 5),
        pieces=rng.choice((1, 1, 2, 3)),
        side_by_side=rng.choice((1, 2, 3)),
        words=tuple(words),
        says_it_twice=rng.random() < 0.3,
        cancels_after_s=rng.uniform(0, 30) if rng.random() < 0.15 else None,
    )
