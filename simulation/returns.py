"""People who send back what they ordered, and the warehouse that says what has come (S28)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final
from uuid import UUID

from contracts.returns import Disposition, Return, ReturnLine
from orchestrator.core.state import Saga, Status
from orchestrator.intake import Accepted, Answer, Submission
from orchestrator.sagas.order_fulfillment import NAME as ORDERS
from orchestrator.sagas.order_return import GOODS_RECEIVED, NAME
from simulation.checkers.knowledge import shipped_of
from simulation.courses.intentions import SignalPlan
from simulation.courses.people import Signaller
from simulation.people import CUSTOMER, NO_ANSWER, Desk, Office, cancelling
from simulation.return_plans import ReturnPlan

LOOKS: Final = 25
LOOKS_EVERY_S: Final = 3.0


class Returner(Signaller):
    """Does what one plan says."""

    def __init__(self, office: Office, rng: random.Random, plan: ReturnPlan) -> None:
        super().__init__(office, rng)
        self.plan = plan

    async def live(self) -> None:
        """From the arrival of the order to the last word about its returns."""
        order = await self._arrived()
        if order is None:
            return
        await asyncio.sleep(self.plan.after_s)
        asked = [self._ask_for(order, number) for number in range(self.plan.side_by_side)]
        answers = await asyncio.gather(*asked)
        accepted = [each.subject_id for each in answers if isinstance(each, Accepted)]
        await asyncio.gather(*(self._see_to(order, return_id) for return_id in accepted))

    async def _arrived(self) -> Saga | None:
        for _ in range(LOOKS):
            await asyncio.sleep(LOOKS_EVERY_S)
            for saga in await self.office.sagas():
                if saga.definition == ORDERS and saga.input.shipping_address.name == self.plan.who:
                    if saga.status is Status.COMPLETED:
                        return saga
                    break
        return None

    async def _ask_for(self, order: Saga, number: int) -> Answer:
        """Ask until there is an answer."""
        lines = tuple(
            ReturnLine(sku=sku, quantity=min(count, self.plan.pieces))
            for sku, count in shipped_of(order).items()
        )
        asked = Return(order_id=order.subject_id, lines=lines, reason="too small")
        while True:
            try:
                return await self.ask(_returning(asked, f"return-{number}"))
            except NO_ANSWER:
                await asyncio.sleep(self.rng.uniform(0.1, 5.0))

    async def _see_to(self, order: Saga, return_id: UUID) -> None:
        skus = list(shipped_of(order))
        said = [
            SignalPlan(GOODS_RECEIVED, after_s, _body(skus, word), self.plan.says_it_twice)
            for after_s, word in self.plan.words
        ]
        await asyncio.gather(self._cancel(return_id), *(self.signal(return_id, each) for each in said))

    async def _cancel(self, return_id: UUID) -> None:
        if self.plan.cancels_after_s is not None:
            await asyncio.sleep(self.plan.cancels_after_s)
            await self.act("customer", "cancel", return_id, cancelling(return_id, CUSTOMER, None))


def _body(skus: list[str], word: Disposition) -> dict[str, object]:
    return {"lines": [{"sku": sku, "disposition": word.value} for sku in skus]}


def _returning(asked: Return, key: str) -> Callable[[Desk], Awaitable[Answer]]:
    async def submit(desk: Desk) -> Answer:
        saga_id = desk.new_id()
        scope = f"{NAME}/{asked.order_id}"
        submission = Submission(NAME, asked, "customer", saga_id, saga_id, key, scope=scope)
        return await desk.front.intake.submit(submission)

    return submit
