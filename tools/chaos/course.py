"""A run from its first order to the verdict: faults one round after the other, under load, then quiet."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, cycle, takewhile
from typing import Any, Final, Generic, TypeVar

from tools.chaos.faults import Fault
from tools.chaos.gauges import Gauges
from tools.chaos.lives import DEFAULT, Life
from tools.chaos.orders import LOOK_EVERY_S, Shop
from tools.chaos.scene import Scene
from tools.chaos.verdict import verdict

RECOVERED_ORDERS: Final = 3
"""So many plain orders, accepted after a fault's end, must have been completed: then all is as before."""

RECOVERS_WITHIN_S: Final = 900.0
ENDS_WITHIN_S: Final = 900.0
"""From the last fault on, for every order that was accepted: longer than re-sends wait at most.

Both only tell what hangs from what is slow: on a machine with far too much to do a service takes minutes to
start, and what has piled up meanwhile comes first."""

FINISHING_RATE: Final = 100.0
"""Orders a second where some are left when the faults are over."""


S = TypeVar("S", bound=Scene)


@dataclass(frozen=True, slots=True)
class Plan(Generic[S]):
    """What a run is: everything but the timing of processes follows from the seed."""

    rounds: Sequence[Sequence[Fault[S]]]
    seed: int
    orders: int
    rate: float
    minutes: float = 0.0
    """At least so long, the rounds over and over."""
    at_most_minutes: float = math.inf
    """Then no further fault and order, whatever is left of them: what was accepted ends and is judged."""
    life: Life = DEFAULT

    @property
    def size(self) -> int:
        """How many faults there are."""
        return sum(map(len, self.rounds))


@dataclass(frozen=True, slots=True)
class Suffered:
    """One fault as it went, with the orders accepted and ended while it lasted. Times in seconds.

    ``recovered_s`` counts from its end; None when orders did not complete again in time.
    """

    fault: Fault[Any]
    lasted_s: float
    accepted: int
    ended: int
    recovered_s: float | None = None


class Course(Generic[S]):
    """One run of a plan on a stage; `tell` is called with every round that is over."""

    def __init__(
        self,
        plan: Plan[S],
        stage: S,
        tell: Callable[[list[Suffered]], None],
        gauges: Gauges | None = None,
    ) -> None:
        self.plan = plan
        self.now = "the first orders"
        self.suffered: list[Suffered] = []
        self.objections: list[str] = []
        self.ended_within_s: float | None = None
        self.shop = Shop(stage, plan.rate, random.Random(plan.seed + 1), f"chaos-{plan.seed}", plan.life)
        self._rng = random.Random(plan.seed)
        self._stage = stage
        self._gauges = gauges
        self._tell = tell
        self._clock = asyncio.get_running_loop().time
        self._give_up_at = self._clock() + 60 * plan.at_most_minutes

    async def play(self) -> None:
        """Everything; what is wrong in the end stands in `objections`."""
        await self._fill_shelves()
        watching = asyncio.create_task(self.shop.watch())
        ordering = asyncio.create_task(self.shop.keep_ordering())
        faults = asyncio.create_task(self._faults())
        tasks = {watching, ordering, faults}
        reading = self._gauges and asyncio.create_task(
            self._gauges.keep_reading(lambda: (self.now, self.shop.ended))
        )
        if reading:
            tasks.add(reading)
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            self.objections += [self._broken_off(error) for task in done if (error := task.exception())]
            if reading:
                reading.cancel()
            await self._stage.calm()
            await self._quiet(faults, ordering)
            self.now = "judging"
            self.objections += await verdict(self._stage, self.shop)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _broken_off(self, error: BaseException) -> str:
        return f"the run broke off at {self.now}: {type(error).__name__}: {error}"

    async def _fill_shelves(self) -> None:
        for sku, on_hand in self.plan.life.stock.items():
            await self._stage.services.count_stock(sku, on_hand, self.plan.life.locations.get(sku))

    # -- faults -------------------------------------------------------------------------------------------

    async def _faults(self) -> None:
        await self._recovers(self._clock())
        for together in self._rounds():
            self.now = " + ".join(fault.name for fault in together)
            await self._suffer(together)
        self.now = "the last orders"
        while len(self.shop.placed) < self.plan.orders and self._clock() < self._give_up_at:
            self.shop.rate = max(self.plan.rate, FINISHING_RATE)
            await asyncio.sleep(0.1)

    def _rounds(self) -> Iterator[Sequence[Fault[S]]]:
        """All rounds once, and over and over until the time is over; none when it is up."""
        until = self._clock() + 60 * self.plan.minutes
        again = takewhile(lambda _: self._clock() < until, cycle(self.plan.rounds))
        yield from takewhile(lambda _: self._clock() < self._give_up_at, chain(self.plan.rounds, again))

    async def _suffer(self, together: Sequence[Fault[S]]) -> None:
        """One round: the faults side by side, then until orders complete again."""
        over = await asyncio.gather(*(self._one(fault) for fault in together))
        self.now += ": recovering"
        recovered_s = await self._recovers(self._clock())
        for lasted in over:
            suffered = Suffered(*lasted, recovered_s)
            self.suffered.append(suffered)
            if recovered_s is None:
                self.objections.append(
                    f"after {lasted[0].name} no order was completed within {RECOVERS_WITHIN_S:g} s"
                )
        self._tell(self.suffered[-len(over) :])

    async def _one(self, fault: Fault[S]) -> tuple[Fault[S], float, int, int]:
        began, accepted, ended = self._clock(), self.shop.accepted, self.shop.ended
        await fault.play(self._stage, self._rng)
        shop = self.shop
        return fault, self._clock() - began, shop.accepted - accepted, shop.ended - ended

    async def _recovers(self, since: float) -> float | None:
        """Seconds from then until orders accepted after it have been completed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(RECOVERS_WITHIN_S):
                while self.shop.completed_after(since) < RECOVERED_ORDERS:
                    await asyncio.sleep(LOOK_EVERY_S)
                return self._clock() - since
        return None

    # -- quiet --------------------------------------------------------------------------------------------

    async def _quiet(self, faults: asyncio.Task[None], ordering: asyncio.Task[None]) -> None:
        """No more faults, no more orders: what was accepted ends."""
        faults.cancel()
        await asyncio.wait({faults})
        self.now = "quiet"
        since = self._clock()
        ordering.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(ENDS_WITHIN_S):
                await asyncio.wait({ordering})
                while self.shop.open:
                    await asyncio.sleep(0.1)
                self.ended_within_s = self._clock() - since
