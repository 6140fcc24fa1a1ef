"""The table of stories: every order's life that is held on real servers and in the simulation alike."""

from __future__ import annotations

from typing import Final

from simulation.stories.captured import CAPTURED
from simulation.stories.charged import CHARGED
from simulation.stories.held import HELD
from simulation.stories.returned import RETURNED
from simulation.stories.split import SPLIT
from simulation.stories.story import Story

STORIES: Final[tuple[Story, ...]] = (*CHARGED, *CAPTURED, *HELD, *SPLIT, *RETURNED)
"""All of them, in the order of the documentation."""

CHAPTERS: Final = {
    "Paid before the parcel leaves": CHARGED,
    "Authorized, and captured after it": CAPTURED,
    "On hold": HELD,
    "In several parcels": SPLIT,
    "Sent back": RETURNED,
}
"""The same by what they are about."""
