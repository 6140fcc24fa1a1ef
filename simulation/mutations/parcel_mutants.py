"""What is done instead where a rule about parcels is taken away (S31)."""

from __future__ import annotations

from typing import Any

from contracts.commands import CommitInventory
from participants.inventory.stock import NOWHERE, Shelf
from participants.kit.work import Work


def nothing_is_worth_anything(original: Any) -> Any:
    """What could not be shipped is paid for all the same."""
    return lambda order, results: 0


def all_has_left(original: Any) -> Any:
    """Whatever is said to have left, everything that was reserved is taken off."""

    async def do(self: Any, shelf: Shelf, work: Work, command: CommitInventory) -> Any:
        return await original(self, shelf, work, command.model_copy(update={"shipped": ()}))

    return do


def released_anywhere(original: Any) -> Any:
    """What goes back is free again, but not where it was."""

    def release(self: Shelf, lines: Any, places: Any = NOWHERE) -> None:
        original(self, lines)

    return release
