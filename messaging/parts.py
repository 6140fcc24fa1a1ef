"""Which messages of a subscription are in hand, and which of their parts are not done yet (M5)."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class InHand(Generic[K]):
    """What was delivered: the broker hears of a message when every part of it is acknowledged.

    A message that is no batch has one part, in place 0.
    """

    def __init__(self) -> None:
        self._open: dict[K, set[int]] = {}
        self.parts = 0
        """How many parts are not done."""

    def __len__(self) -> int:
        """How many messages are not done as a whole."""
        return len(self._open)

    def arrived(self, key: K, parts: int) -> None:
        """A message with so many parts was delivered."""
        self._open[key] = set(range(parts))
        self.parts += parts

    def done(self, key: K, place: int) -> bool:
        """One part is done; whether this was the last of its message. What was done before, or is not in
        hand, is no news."""
        left = self._open.get(key)
        if left is None or place not in left:
            return False
        left.discard(place)
        self.parts -= 1
        if left:
            return False
        del self._open[key]
        return True
