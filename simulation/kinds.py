"""The kinds of worlds: what a seed stands for in each, and which faults it does not know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from simulation import plan
from simulation.cast import ORDERS_NAME
from simulation.courses import plan as courses
from simulation.weather import Fault


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of world.

    Attributes:
        plans: the plan of a seed; a function that other processes find by its name.
        never: faults that do not strike here.
    """

    name: str
    plans: Callable[[int], plan.Plan]
    never: frozenset[Fault] = frozenset()


ORDERS: Final = Kind(ORDERS_NAME, plan.plan_of, frozenset({Fault.DEFINITION_EDITED}))
COURSES: Final = Kind(courses.COURSES, courses.plan_of, courses.OF_PROVIDERS)
BOTH: Final = (ORDERS, COURSES)
"""What a seed is, unless one of them is chosen: two worlds, one after the other."""

NOT_OF_GIVEN: Final = courses.NEVER | {Fault.DEFINITION_EDITED}
"""Faults that worlds of a given definition do not know."""
