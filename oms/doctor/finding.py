"""What was found out about one thing: that it is well, or a sentence that says what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How it stands with one thing."""

    WELL = "well"
    NOTE = "note"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        sentence: how it is, or what to do about it; never a secret.
    """

    of: str
    verdict: Verdict
    sentence: str


def well(of: str, sentence: str) -> Finding:
    """It is as it should be."""
    return Finding(of, Verdict.WELL, sentence)


def note(of: str, sentence: str) -> Finding:
    """Nothing is wrong, and yet it is good to know."""
    return Finding(of, Verdict.NOTE, sentence)


def wrong(of: str, sentence: str) -> Finding:
    """Somebody has to do something."""
    return Finding(of, Verdict.WRONG, sentence)
