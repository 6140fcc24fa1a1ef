"""What must always be true, checked from outside while a world lives (`semantics`), and what at its end.

Written against the rules and not against the code: a checker looks at what was committed, what the providers
did and what went over the wire, and never at how it was decided.
"""

from __future__ import annotations

from typing import Final

from simulation.checkers import (
    audit,
    batches,
    effects,
    messages,
    patience,
    retention,
    returns,
    sagas,
    stages,
    starts,
    strangers,
    submissions,
    waits,
)
from simulation.checkers.inspection import Checker

OF_ANY_SAGA: Final[tuple[type[Checker], ...]] = (
    *sagas.ALL,
    *stages.ALL,
    *waits.ALL,
    *patience.ALL,
    *messages.ALL,
    *batches.ALL,
    *strangers.ALL,
    *retention.ALL,
)
"""Rules that hold whatever the sagas are about."""

ORDER_CHECKERS: Final[tuple[type[Checker], ...]] = (
    *effects.ALL,
    *OF_ANY_SAGA,
    *sagas.OF_ORDERS,
    *submissions.OF_ORDERS,
    *returns.OF_ORDERS,
    *audit.ALL,
)
"""In the world of orders, where it is known what money, parcels and stock are."""

COURSE_CHECKERS: Final[tuple[type[Checker], ...]] = (*OF_ANY_SAGA, *starts.ALL)
"""In worlds of other courses, where it is known what their definitions say."""

EVERY_CHECKER: Final = tuple(dict.fromkeys((*ORDER_CHECKERS, *COURSE_CHECKERS)))
