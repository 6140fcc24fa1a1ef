"""A process that ends lets nothing more in, whether or not the broker answers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from messaging.transport import Delivery, let_nothing_in


class Played:
    """A subscription whose broker answers a pause as the test says."""

    def __init__(self, error: Exception | None = None, *, silent: bool = False) -> None:
        self.paused = False
        self._error = error
        self._silent = silent

    async def receive(self, limit: int) -> list[Delivery]:
        return []

    @property
    def arrived(self) -> int:
        return 0

    def acknowledge(self, deliveries: Sequence[Delivery]) -> None: ...

    async def pause(self) -> None:
        if self._silent:
            await asyncio.Event().wait()
        if self._error is not None:
            raise self._error
        self.paused = True

    async def resume(self) -> None: ...

    async def close(self) -> None: ...


async def test_a_broker_that_refuses_or_keeps_silent_is_not_waited_for() -> None:
    subscriptions = [Played(RuntimeError("the connection was lost")), Played(silent=True), Played()]

    await let_nothing_in(subscriptions, within_s=0.01)

    assert [each.paused for each in subscriptions] == [False, False, True]


async def test_nothing_was_let_in_yet() -> None:
    await let_nothing_in([])
