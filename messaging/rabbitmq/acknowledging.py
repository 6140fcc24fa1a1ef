"""Which deliveries of one channel are still owed an acknowledgement, and how few frames say it."""

from __future__ import annotations

from collections.abc import Iterable


class Owed:
    """Delivery tags of one channel, which count up from 1.

    A run that starts at the oldest owed tag goes in one frame (``multiple``); whatever lies behind a gap goes
    singly, because ``multiple`` would acknowledge the gap as well.
    """

    def __init__(self) -> None:
        self._oldest = 1
        self._ahead: set[int] = set()
        """Acknowledged singly, and not yet caught up by the oldest owed."""

    def acknowledge(self, tags: Iterable[int]) -> list[tuple[int, bool]]:
        """The frames to send for ``tags``: each a tag and whether it means all up to it.

        Tags acknowledged before are left out: the broker would close the channel over them.
        """
        owed = sorted({tag for tag in tags if tag >= self._oldest} - self._ahead)
        run_end = 0
        singles: list[tuple[int, bool]] = []
        for tag in owed:
            if tag == self._oldest:
                run_end = tag
                self._advance()
            else:
                self._ahead.add(tag)
                singles.append((tag, False))
        return [(run_end, True), *singles] if run_end else singles

    def _advance(self) -> None:
        self._oldest += 1
        while self._oldest in self._ahead:
            self._ahead.discard(self._oldest)
            self._oldest += 1
