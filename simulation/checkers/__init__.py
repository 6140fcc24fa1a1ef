"""What must always be true, checked from outside while a world lives (`semantics`), and what at its end.

Written against the rules and not against the code: a checker looks at what was committed, what the providers
did and what went over the wire, and never at how it was decided.
"""

from __future__ import annotations

from typing import Final

from simulation.checkers import audit, effects, messages, patience, retention, sagas, strangers
from simulation.checkers.inspection import Checker

EVERY_CHECKER: Final[tuple[type[Checker], ...]] = (
    *effects.ALL,
    *sagas.ALL,
    *patience.ALL,
    *messages.ALL,
    *strangers.ALL,
    *retention.ALL,
    *audit.ALL,
)
