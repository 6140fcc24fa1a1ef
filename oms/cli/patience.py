"""How whoever follows something goes on over restarts of the API, and of what it needs itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeVar

from oms.cli import output

if TYPE_CHECKING:
    from oms.api_client import ApiFailure

T = TypeVar("T")

LONGEST: Final = 120
"""Failures in a row after which it is given up."""

PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 30.0


class Patience:
    """Bears failures that pass, once there has been an answer: an API that is away, or says 5xx itself."""

    def __init__(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._sleep = sleep
        self._began = False
        self._failures = 0

    def rewarded(self) -> None:
        """There was an answer."""
        self._began, self._failures = True, 0

    async def bear(self, failure: ApiFailure, pause_s: float = 0.0) -> None:
        """Wait before the next try: for as long as the API asks for, and ``pause_s`` at least.

        It is said on stderr, once until there is an answer again.

        Raises:
            ApiFailure: this one, where it does not pass, has lasted for too long, or was the first answer.
        """
        self._failures += 1
        if not (self._began and _passes(failure)) or self._failures > LONGEST:
            raise failure
        if self._failures == 1:
            output.note(f"{failure}; trying again until it is back")
        asked_s = getattr(failure, "retry_after_s", None) or 0.0
        await self._sleep(max(PAUSE_S, min(LONGEST_PAUSE_S, max(pause_s, asked_s))))

    async def answer(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What is answered in the end. Raises ApiFailure."""
        from oms.api_client import ApiFailure

        while True:
            try:
                found = await ask()
            except ApiFailure as failure:
                await self.bear(failure)
            else:
                self.rewarded()
                return found


def _passes(failure: ApiFailure) -> bool:
    from oms.api_client import Refused, Unreachable, Untrusted

    if isinstance(failure, Refused):
        return failure.status >= 500
    return isinstance(failure, Unreachable) and not isinstance(failure, Untrusted)
