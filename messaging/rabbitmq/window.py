"""How many messages a consumer has the broker hand out, so that what is in hand is counted in parts (M5).

AMQP counts messages, and a batch is one. So the number of messages follows how large they are: it is set
with a new consumer on the same channel, which takes three short questions and disturbs nothing in hand.
"""

from __future__ import annotations

from typing import Final

from messaging.batches import MAX_PARTS
from messaging.parts import InHand

_SINGLE: Final = 1.2
"""Up to this mean, messages count as single ones."""

_GROWS: Final = 4
_FOLLOWS: Final = 0.1
"""How much of the mean size the newest message makes up."""


class Window:
    """The prefetch of one channel: ``prefetch`` parts, whatever messages they come in."""

    def __init__(self, prefetch: int, mean: float = 1.0) -> None:
        """
        Args:
            prefetch: parts that are to be in hand at most, about.
            mean: how many parts a message is taken to have until some have come.
        """
        self.in_hand: InHand[int] = InHand()
        self._prefetch = prefetch
        self._mean = mean
        self._is_guess = True
        self._own: dict[int, int] = {}
        """Messages that the present consumer holds, with their parts."""
        self._held = 0
        self.size = self._wanted()
        """Messages that the present consumer may hold."""

    def arrived(self, tag: int, parts: int) -> None:
        """A message was delivered."""
        self.in_hand.arrived(tag, parts)
        self._own[tag] = parts
        self._held += parts
        self._mean = parts if self._is_guess else self._mean + (parts - self._mean) * _FOLLOWS
        self._is_guess = False

    def done(self, tag: int, place: int) -> bool:
        """One part is done; whether the whole is to be acknowledged."""
        if not self.in_hand.done(tag, place):
            return False
        self._held -= self._own.pop(tag, 0)
        return True

    @property
    def is_overfull(self) -> bool:
        """Whether nothing more may come for now. Where nothing is part of a batch, AMQP sees to that."""
        return self._mean > _SINGLE and self.in_hand.parts >= 2 * self._prefetch

    @property
    def has_room(self) -> bool:
        """Whether a new consumer may begin."""
        return self._mean <= _SINGLE or 2 * self.in_hand.parts <= self._prefetch

    @property
    def is_outgrown(self) -> bool:
        """Whether another size would serve better.

        The present one is used up although little is in hand: messages have become smaller, or most parts
        of those held are done and a few, for which somebody far away is asked, hold back the rest.
        """
        if len(self._own) < self.size or 2 * self.in_hand.parts > self._prefetch:
            return False
        return self._wanted() >= 2 * self.size or 4 * self.in_hand.parts <= self._held

    def renew(self) -> int:
        """The size for a new consumer, which holds nothing yet. It grows step by step: what comes next may be
        larger than what came."""
        self._own, self._held = {}, 0
        self.size = self._wanted() if self._is_guess else min(self._wanted(), _GROWS * self.size)
        return self.size

    def _wanted(self) -> int:
        free = self._prefetch - self.in_hand.parts
        return max(1, int(free / max(1.0, self._mean)))


CAUTIOUS: Final = float(MAX_PARTS)
"""The mean size to begin with where a queue may hold full batches."""
