"""How far the low-water mark may rise (P7). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from messaging.identifiers import first_id_at

LEAST_AGE: Final = timedelta(days=7)
"""Nothing younger is ever let go of: whatever the broker may still deliver again is younger than this."""


class Reason(StrEnum):
    """Why a saga, and every one that began after it, must be kept."""

    NOT_ENDED = "it has not ended"
    ENDED_LATELY = "it changed too lately"
    INCIDENT = "it has an open incident"
    DEAD_LETTER = "it has an open dead letter"


@dataclass(frozen=True, slots=True)
class Keep:
    """What an operator wants to keep, in seconds; what must be kept in any case comes on top.

    Attributes:
        key_lifetime_s: how long an idempotency key is kept (S14).
    """

    older_than_s: float
    key_lifetime_s: float

    @property
    def age(self) -> timedelta:
        """For how long a saga must have been at rest to be let go of."""
        asked, keys = timedelta(seconds=self.older_than_s), timedelta(seconds=self.key_lifetime_s)
        return max(asked, keys, LEAST_AGE)

    def quiet_since(self, now: datetime) -> datetime:
        """Sagas whose last change is before this are at rest."""
        return now - self.age

    def keys_expired_before(self, now: datetime) -> datetime:
        """Idempotency keys from before this stand in nobody's way any more (S14)."""
        return now - timedelta(seconds=self.key_lifetime_s)


@dataclass(frozen=True, slots=True)
class Held:
    """The lowest saga that must be kept, and why: everything below it may be let go of."""

    saga_id: UUID
    reason: Reason


@dataclass(frozen=True, slots=True)
class Rise:
    """Where the mark is to stand, and what keeps it from standing higher, if anything."""

    mark: UUID
    held_back_by: Held | None = None


def rise(quiet_since: datetime, needed: Mapping[Reason, UUID | None], standing: UUID | None) -> Rise:
    """The highest mark that lets go of nothing that is needed; it never falls.

    Args:
        needed: the lowest saga that must be kept, by reason.
        standing: the mark as it is, if there is one.
    """
    highest = first_id_at(quiet_since)
    held = [Held(saga_id, reason) for reason, saga_id in needed.items() if saga_id is not None]
    lowest = min(held, key=lambda each: each.saga_id, default=None)
    if lowest is not None and lowest.saga_id < highest:
        return Rise(max(lowest.saga_id, standing or lowest.saga_id), lowest)
    return Rise(max(highest, standing or highest))
