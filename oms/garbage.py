"""Python's cycle collector, set for processes that serve batches."""

from __future__ import annotations

import gc
from typing import Final

YOUNG_OBJECTS: Final = 50_000
"""Objects that come into being between two collections of the youngest: about a batch's worth.

With the default of some hundreds each batch is walked again and again while it is being worked on, and so is
everything that was imported: a fifth of the orchestrator's CPU.
"""

OLDER_EVERY: Final = 20
"""Collections of one generation before the next older one has its turn."""


def collect_seldom() -> None:
    """Call once when a process is ready: what it is made of is looked at no more, batches only when done."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, OLDER_EVERY, OLDER_EVERY)
