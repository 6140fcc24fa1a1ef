"""Time-ordered identities (UUIDv7, RFC 9562): later ones sort behind earlier ones."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final
from uuid import UUID

NewId = Callable[[], UUID]

_COUNTER_BITS: Final = 12
_RANDOM_BITS: Final = 62


def time_ordered_ids(
    rng: random.Random, milliseconds: Callable[[], int] = lambda: time.time_ns() // 1_000_000
) -> NewId:
    """A source of UUIDv7 that never goes backwards, even when the clock does.

    Args:
        rng: where the random bits come from.
        milliseconds: Unix time in milliseconds.
    """
    last = 0

    def new_id() -> UUID:
        nonlocal last
        last = max(last + 1, milliseconds() << _COUNTER_BITS)
        high = (last >> _COUNTER_BITS) << 16 | 0x7000 | (last & 0xFFF)
        low = 0b10 << _RANDOM_BITS | rng.getrandbits(_RANDOM_BITS)
        return UUID(int=high << 64 | low)

    return new_id
