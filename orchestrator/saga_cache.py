"""Sagas as this process last wrote them, so that a lock need not read again what has not changed.

A saga's row counts its writes in ``revision``. A lock hands in the revisions that are remembered here, and
the database gives back the state only of those rows that somebody has written since. Nothing is ever
decided on a remembered saga whose row was not locked and found at the same revision, and of the same time:
where a fail-over has lost commits, other ones are counted by the same numbers.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final
from uuid import UUID

from orchestrator.core.state import Saga

LIMIT: Final = 4000
"""Sagas remembered at most; the least recently written are forgotten first."""

UNKNOWN: Final = -1
"""Handed in for a saga that is not remembered: no row has it."""


class SagaCache:
    """The least that several transactions of one process share."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._remembered: OrderedDict[UUID, tuple[int, Saga]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._remembered)

    def get(self, saga_id: UUID) -> tuple[int, Saga] | None:
        """The saga with its revision, if it is remembered."""
        return self._remembered.get(saga_id)

    def put(self, saga: Saga, revision: int) -> None:
        """Remember a saga as it was committed at this revision."""
        self._remembered[saga.saga_id] = (revision, saga)
        self._remembered.move_to_end(saga.saga_id)
        if len(self._remembered) > self._limit:
            self._remembered.popitem(last=False)

    def forget(self, saga_id: UUID) -> None:
        """Nobody will ask for it again."""
        self._remembered.pop(saga_id, None)
