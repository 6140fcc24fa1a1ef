"""Time-ordered identities (UUIDv7, RFC 9562): later ones sort behind earlier ones."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Final
from uuid import UUID

NewId = Callable[[], UUID]

CLOCKS_AGREE_WITHIN: Final = timedelta(minutes=10)
"""How far an id's time may be from the database's: ids bound lists in place of times, and retention (P7)."""

AS_NUMBER: Final = attrgetter("int")
"""Sorts identities as they would sort themselves, without a call of Python's for each comparison."""

_COUNTER_BITS: Final = 12
_RANDOM_BITS: Final = 62
_TIME_SHIFT: Final = 80
_TOO_FAR: Final = int(CLOCKS_AGREE_WITHIN.total_seconds() * 1000) << _COUNTER_BITS
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def time_ordered_ids(
    rng: random.Random, milliseconds: Callable[[], int] = lambda: time.time_ns() // 1_000_000
) -> NewId:
    """A source of UUIDv7 that does not go backwards, even when the clock does.

    Where the clock goes back by more than `CLOCKS_AGREE_WITHIN`, it was wrong, and is followed.

    Args:
        rng: where the random bits come from.
        milliseconds: Unix time in milliseconds.
    """
    last = 0

    def new_id() -> UUID:
        nonlocal last
        now = milliseconds() << _COUNTER_BITS
        last = max(last + 1, now) if last - now < _TOO_FAR else now
        high = (last >> _COUNTER_BITS) << 16 | 0x7000 | (last & 0xFFF)
        low = 0b10 << _RANDOM_BITS | rng.getrandbits(_RANDOM_BITS)
        return UUID(int=high << 64 | low)

    return new_id


def first_id_at(moment: datetime) -> UUID:
    """The lowest time-ordered id of a moment: whatever was made before it, by a right clock, is below."""
    milliseconds = max(0, (moment - _EPOCH) // timedelta(milliseconds=1))
    return UUID(int=milliseconds << _TIME_SHIFT | 0x7 << 76 | 0b10 << _RANDOM_BITS)


def time_of(identity: UUID) -> datetime:
    """When a time-ordered id was made, to the millisecond.

    Raises:
        ValueError: it is not time-ordered.
    """
    if identity.version != 7:
        raise ValueError(f"{identity} is not a time-ordered id")
    return _EPOCH + timedelta(milliseconds=identity.int >> _TIME_SHIFT)
