"""Which headers of a message go on with it, in a form that AMQP, JSON and PostgreSQL all take (S16). Pure.

Whatever a stranger writes into a header table, its message has to be able to leave: by a hop, through the
outbox, for the dead letters. So what goes on is bounded in kind, number and bytes. What means something here
comes first, then the sender's own headers in their order: the last ones are left out first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from contracts.envelope import (
    ATTEMPT,
    CAUSATION_ID,
    EVENT_ID,
    INSTALLATION,
    REPLAY_OF,
    SCHEMA_VERSION_HEADER,
    TRACEPARENT,
)
from contracts.failures import MEANING

MAX_HEADERS: Final = 64
MAX_CARRIED_BYTES: Final = 16 * 1024
"""Of all that is carried, so that a header table fits into the smallest frame that brokers are run with."""

MAX_HEADER_CHARACTERS: Final = 4000
MAX_SHORT_BYTES: Final = 255
"""Of a header's name, and of a text that is a property, in AMQP."""

OURS: Final = frozenset(
    {
        ATTEMPT,
        CAUSATION_ID,
        EVENT_ID,
        INSTALLATION,
        REPLAY_OF,
        SCHEMA_VERSION_HEADER,
        TRACEPARENT,
        *MEANING,
    }
)
"""What means something to whoever takes a message."""

_WHOLE: Final = range(-(2**63), 2**63)
_OVERHEAD_BYTES: Final = 14
"""Of an entry, beside its texts: at most."""

Plain = str | int | float


def carried(headers: Mapping[str, Any], on_top: Mapping[str, Plain] | None = None) -> dict[str, Any]:
    """All of ``on_top``, and of ``headers`` what is plain and what there is room for beside it.

    Plain is text, cut where it is long, a truth value, a whole number of 64 bits, a finite number.
    ``x-death`` and all of its kind never go on: brokers read them differently.
    """
    taken: dict[str, Any] = dict(on_top or {})
    room = MAX_CARRIED_BYTES
    for name in sorted(headers, key=lambda each: each not in OURS):
        value = _plain(headers[name])
        if value is None or name in taken or not _is_name(name):
            continue
        room -= len(name.encode()) + _OVERHEAD_BYTES + (len(value.encode()) if isinstance(value, str) else 0)
        if room < 0 or len(taken) >= MAX_HEADERS:
            break
        taken[name] = value
    return taken


def storable(text: str, limit: int = MAX_HEADER_CHARACTERS) -> str:
    """Text that PostgreSQL and AMQP can hold: what they cannot is left out, and what is too long is cut."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()[:limit]


def short_text(text: str) -> str:
    """Text within AMQP's 255 bytes for a property."""
    return storable(text, MAX_SHORT_BYTES).encode()[:MAX_SHORT_BYTES].decode("utf-8", "ignore")


def _is_name(name: str) -> bool:
    return not name.startswith("x-") and short_text(name) == name


def _plain(value: Any) -> Plain | None:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, int):
        return value if value in _WHOLE else None
    return value if isinstance(value, float) and math.isfinite(value) else None
