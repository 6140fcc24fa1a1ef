"""Whoever stays for a while is let in again and again: a token may be revoked or expire meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from contracts.problems import ProblemError
from messaging.unit_of_work import StorageUnavailable
from orchestrator.progress import Watch

AGAIN_S: Final = 1.0
"""Seconds between two looks at the token of one who stays."""


class Admission:
    """That a request was let in: looked at again as long as it is open."""

    def __init__(self, admit: Callable[[], Awaitable[object]]) -> None:
        """
        Args:
            admit: lets the same request in once more. Raises ProblemError and StorageUnavailable.
        """
        self._admit = admit
        self._looked_at_s = asyncio.get_running_loop().time()

    async def renew(self) -> None:
        """Look again, where that was not done within `AGAIN_S`.

        While nobody can be asked, neither the database nor whoever signs tokens, nothing speaks against it.

        Raises:
            ProblemError: the request would not be let in any more.
        """
        now_s = asyncio.get_running_loop().time()
        if now_s < self._looked_at_s + AGAIN_S:
            return
        self._looked_at_s = now_s
        try:
            await self._admit()
        except StorageUnavailable:
            return
        except ProblemError as refused:
            if refused.status < 500:
                raise

    async def changed(self, watch: Watch, timeout_s: float) -> None:
        """Wait as `Watch.changed` does. Raises what `renew` does, as soon as it does."""
        clock = asyncio.get_running_loop()
        until = clock.time() + timeout_s
        news = False
        while not news:
            news = await watch.changed(min(AGAIN_S, until - clock.time()))
            await self.renew()
            news = news or clock.time() >= until
