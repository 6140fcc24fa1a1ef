"""Where messages cannot go just now, a full queue for instance, and when to try again there (M2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from messaging.transport import Receipt

log = structlog.get_logger(__name__)

Destination = tuple[str, str]
"""Exchange and routing key."""

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 5.0
"""Bounds of the growing pause between two tries at one destination, in seconds."""


@dataclass(slots=True)
class _Obstruction:
    """One destination's trouble."""

    pause_s: float
    try_at: float


class Obstructions:
    """The destinations that have lately taken nothing, as one relay has found them.

    There is no more to know than what the last message came back with: a destination is obstructed from a
    refusal or a return until something is confirmed there.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """``clock`` tells seconds that never go back."""
        self._clock = clock
        self._at: dict[Destination, _Obstruction] = {}

    @property
    def all(self) -> Sequence[Destination]:
        """Every obstructed destination."""
        return list(self._at)

    def take_due(self) -> Sequence[Destination]:
        """The destinations where one message is to be tried now; each is due again after another pause."""
        now = self._clock()
        due = [destination for destination, found in self._at.items() if found.try_at <= now]
        for destination in due:
            found = self._at[destination]
            found.pause_s = min(LONGEST_PAUSE_S, 2 * found.pause_s)
            found.try_at = now + found.pause_s
        return due

    def did_not_take(self, destination: Destination, receipt: Receipt) -> None:
        """A message was refused or came back."""
        if destination not in self._at:
            self._at[destination] = _Obstruction(FIRST_PAUSE_S, self._clock() + FIRST_PAUSE_S)
            _say("the broker takes no messages", destination, receipt=receipt.value)

    def took(self, destination: Destination) -> None:
        """A message was confirmed."""
        if self._at.pop(destination, None) is not None:
            _say("the broker takes messages again", destination)


def _say(event: str, destination: Destination, **fields: str) -> None:
    exchange, routing_key = destination
    log.warning(event, exchange=exchange, routing_key=routing_key, **fields)
