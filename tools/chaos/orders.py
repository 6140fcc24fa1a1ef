"""Customers who keep ordering: each submits with a key until the order is accepted, and remembers it."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import aiohttp
import psycopg

from oms.demo.sample_orders import PRICES
from tools.chaos.deeds import NOBODY, TAKEN, Ask, Refused, cancel, decide, pause, send_back
from tools.chaos.lives import DEFAULT, LATE, PLAIN, Kind, Life
from tools.chaos.scene import Scene

ANSWER_WITHIN_S: Final = 5.0
IN_FLIGHT: Final = 1000
"""Orders that are submitted or accepted and have not ended: beyond it customers wait."""

LOOK_EVERY_S: Final = 0.25


@dataclass(slots=True, eq=False)
class Placed:
    """One order of one customer. Times are the loop's, in seconds."""

    number: int
    kind: Kind
    tries: int = 0
    order_id: str | None = None
    accepted_at: float = 0.0
    status: str | None = None
    ended_at: float | None = None
    returned: bool = False

    def taken(self) -> Counter[str]:
        """The pieces that have left the shelves and not come back, by SKU."""
        taken = self.kind.taken(self.status)
        if self.returned:
            taken.subtract(self.kind.sends_back)
        return taken


@dataclass(slots=True)
class Shop:
    """All orders of a run, and what was wrong with the answers to them."""

    stage: Scene
    rate: float
    rng: random.Random
    prefix: str
    life: Life = DEFAULT
    placed: list[Placed] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    wrongs: list[str] = field(default_factory=list)
    open: dict[str, Placed] = field(default_factory=dict)
    accepted: int = 0
    ended: int = 0
    _submitting: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def in_flight(self) -> int:
        """Orders that a customer waits for."""
        return len(self._submitting) + len(self.open)

    async def keep_ordering(self) -> None:
        """One order after the other at the chosen rate, until cancelled; nobody gives up then."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        async with aiohttp.ClientSession(
            self.stage.services.url, timeout=aiohttp.ClientTimeout(total=ANSWER_WITHIN_S)
        ) as session:
            try:
                while True:
                    due = max(due + 1 / self.rate, loop.time() - 1.0)
                    await asyncio.sleep(due - loop.time())
                    while self.in_flight >= IN_FLIGHT:
                        await asyncio.sleep(0.05)
                    task = asyncio.create_task(self._place(session, self._new_order()))
                    self._submitting.add(task)
                    task.add_done_callback(self._submitting.discard)
            finally:
                await self._let_finish()

    async def _let_finish(self) -> None:
        while self._submitting:
            done, _ = await asyncio.wait(self._submitting, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()

    def _new_order(self) -> Placed:
        kinds = self.life.kinds
        [kind] = self.rng.choices(kinds, [kind.share for kind in kinds])
        order = Placed(len(self.placed) + 1, kind)
        self.placed.append(order)
        return order

    async def _place(self, session: aiohttp.ClientSession, order: Placed) -> None:
        order_id = await self._submit(session, order)
        order.order_id, order.accepted_at = order_id, asyncio.get_running_loop().time()
        self.accepted += 1
        self.open[order_id] = order
        ask = partial(self._ask, session)
        try:
            if order.kind.cancels:
                await cancel(ask, order_id)
            if order.number % 10 == 0:
                again = await self._submit(session, order)
                if again != order_id:
                    self.wrongs.append(f"key {self._key(order)} gave order {order_id}, then {again}")
            await self._deeds(ask, order, order_id)
        except Refused as refused:
            self.wrongs.append(f"order {order_id} ({order.kind.name}): {refused}")

    async def _deeds(self, ask: Ask, order: Placed, order_id: str) -> None:
        """What people do about it later, as its kind tells."""
        if order.kind.approved is not None:
            await decide(ask, order_id, order.kind.approved)
        if order.kind.sends_back:
            while order.status is None:
                await asyncio.sleep(LOOK_EVERY_S)
            if order.status == "completed":
                order.returned = await send_back(ask, order_id, order.kind.sends_back)

    def _key(self, order: Placed) -> str:
        return f"{self.prefix}-{order.number}"

    async def _submit(self, session: aiohttp.ClientSession, order: Placed) -> str:
        """Until it is accepted; only an answer that can never be right ends it otherwise."""
        while True:
            order.tries += 1
            status, body = await self._ask(session, "/orders", self._document(order), self._key(order))
            if status in TAKEN:
                return str(body["order_id"])
            if status is not None and status not in (429, 503):
                self.wrongs.append(f"order {order.number} was answered {status}: {body}")
            await pause(order.tries)

    async def _ask(
        self,
        session: aiohttp.ClientSession,
        path: str,
        document: dict[str, Any] | None,
        key: str | None = None,
        headers: Mapping[str, str] = NOBODY,
    ) -> tuple[int | None, dict[str, Any]]:
        """POST a document, or GET where there is none: status and body; None where no answer came."""
        sent = {**headers, **({} if key is None else {"Idempotency-Key": key})}
        method = "GET" if document is None else "POST"
        try:
            async with session.request(method, path, json=document, headers=sent) as answer:
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self.answers[type(error).__name__] += 1
            return None, {}
        self.answers[str(answer.status)] += 1
        return answer.status, _object(text)

    def _document(self, order: Placed) -> dict[str, Any]:
        kind = order.kind
        return {
            "customer_id": f"{self.prefix}-{order.number}",
            "currency": "EUR",
            "lines": [
                {"sku": sku, "quantity": quantity, "unit_price": PRICES[sku]}
                for sku, quantity in kind.quantities.items()
            ],
            "payment_method": kind.payment_method,
            "shipping_address": {
                "name": "Ada Byron",
                "line1": f"{order.number} Harbour Street",
                "city": "Berlin",
                "postal_code": kind.postal_code,
                "country": "DE",
            },
        }

    async def watch(self) -> None:
        """Take note of orders that have ended, until cancelled."""
        while True:
            with suppress(psycopg.Error, OSError):
                await self._look()
            await asyncio.sleep(LOOK_EVERY_S)

    async def _look(self) -> None:
        waiting = list(self.open)
        if not waiting:
            return
        ended = await self.stage.rows(
            "SELECT order_id::text, order_status FROM orchestrator.sagas "
            "WHERE ended_at IS NOT NULL AND order_id = ANY(%s::uuid[])",
            waiting,
        )
        now = asyncio.get_running_loop().time()
        for order_id, status in ended:
            order = self.open.pop(order_id)
            order.status, order.ended_at = status, now
            self.ended += 1
            if status not in order.kind.ends | LATE:
                self.wrongs.append(f"order {order_id} ({order.kind.name}) ended as {status}")

    def completed_after(self, moment: float) -> int:
        """How many plain orders that were accepted after `moment` have been completed."""
        recent = self.placed[-5000:]
        return sum(
            1
            for order in recent
            if order.kind is PLAIN and order.accepted_at > moment and order.status == "completed"
        )


def _object(text: str) -> dict[str, Any]:
    """The JSON object of an answer; of another text what it says."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"said": text[:200]}
