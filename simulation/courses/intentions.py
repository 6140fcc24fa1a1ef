"""What somebody who starts a saga of any kind will do: plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel


@dataclass(frozen=True, slots=True)
class SignalPlan:
    """A signal, at a time of its own: before its wait begins, while it lasts, or after it (S23)."""

    wait: str
    after_s: float
    body: Mapping[str, Any]
    twice: bool
    """It is sent a second time a little later."""


@dataclass(frozen=True, slots=True)
class StartPlan:
    """What one caller will do. Times are seconds after what comes before.

    Attributes:
        other: what the caller tries under the same key, if anything: it must be refused.
        fails_for_good: a storm may make the saga's work fail until somebody repairs it.
    """

    definition: str
    given: BaseModel
    owner: str
    idempotency_key: str
    at_s: float
    submits_twice: bool
    repeats_after_s: float | None
    other: BaseModel | None
    cancels_after_s: float | None
    signals: tuple[SignalPlan, ...]
    fails_for_good: bool
