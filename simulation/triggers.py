"""Providers that fail on purpose, as the sandbox does: by an order's payment method or postal code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from participants.provider_http import Call

FOR_EVER: Final = 10**9
"""So many calls that it never works."""


class Trouble(Enum):
    """What becomes of a call."""

    FAILS = "nothing is done, and 503 is the answer"
    SILENT = "it is done, and there is no answer"
    REFUSED = "nothing is done, and 402 is the answer for good"


@dataclass(frozen=True, slots=True)
class Mood:
    """How many calls with one key go wrong at first, and which kind of calls that are."""

    paths: frozenset[str]
    fails: int = 0
    silent: int = 0
    refused: bool = False
    """They are refused for good instead."""


_PAYING: Final = frozenset({"/charges", "/authorizations"})
_REFUNDS: Final = frozenset({"/refunds"})
_CAPTURES: Final = frozenset({"/captures"})
_SHIPMENTS: Final = frozenset({"/shipments"})

MOODS: Final[Mapping[str, Mood]] = {
    "pm_gateway_flaky": Mood(_PAYING, fails=2),
    "pm_gateway_stubborn": Mood(_PAYING, fails=9),
    "pm_gateway_down": Mood(_PAYING, fails=FOR_EVER),
    "pm_gateway_timeout": Mood(_PAYING, silent=1),
    "pm_refund_flaky": Mood(_REFUNDS, fails=2),
    "pm_refund_down": Mood(_REFUNDS, fails=FOR_EVER),
    "pm_refund_refused": Mood(_REFUNDS, refused=True),
    "pm_capture_flaky": Mood(_CAPTURES, fails=2),
    "pm_capture_down": Mood(_CAPTURES, fails=FOR_EVER),
    "00001": Mood(_SHIPMENTS, fails=2),
    "00002": Mood(_SHIPMENTS, fails=FOR_EVER),
    "00003": Mood(_SHIPMENTS, silent=1),
}
"""By payment method or postal code, as in `oms/sandbox/triggers.py`. Any other is in no mood."""


class Moods:
    """Remembers which orders are paid how, and counts the calls of each key."""

    def __init__(self) -> None:
        self._methods: dict[str, str] = {}
        """By saga."""
        self._calls: Counter[str] = Counter()

    def trouble(self, call: Call, key: str) -> Trouble | None:
        """What becomes of a call that was not answered before; None: what it asks for is done."""
        body: Mapping[str, Any] = call.body or {}
        if call.path in _PAYING:
            self._methods[_saga_of(key)] = body["payment_method"]
        mood = MOODS.get(self._word(call, key, body))
        if mood is None or call.path not in mood.paths:
            return None
        if mood.refused:
            return Trouble.REFUSED
        self._calls[key] += 1
        if self._calls[key] <= mood.fails:
            return Trouble.FAILS
        return Trouble.SILENT if self._calls[key] <= mood.silent else None

    def _word(self, call: Call, key: str, body: Mapping[str, Any]) -> str:
        if call.path in _SHIPMENTS:
            return str(body["address"]["postal_code"])
        paid_as = body.get("charge") or body.get("authorization") or key
        return self._methods.get(_saga_of(paid_as), "")


def _saga_of(key: str) -> str:
    """Keys, and the references that are made of them, begin with the saga's id."""
    return key.partition(":")[0]
