"""What a person may say of stuck work."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """What a person found out about a stuck piece of work."""

    TOOK_EFFECT = "took_effect"
    NO_EFFECT = "no_effect"
    SETTLED_OUTSIDE = "settled_outside"
