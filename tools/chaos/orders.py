"""Customers who keep ordering: each submits with a key until the order is accepted, and remembers it."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

import aiohttp
import psycopg

from oms.demo.sample_orders import PRICES
from tools.chaos.scene import Scene

ANSWER_WITHIN_S: Final = 5.0
IN_FLIGHT: Final = 1000
"""Orders that are submitted or accepted and have not ended: beyond it customers wait."""

LONGEST_PAUSE_S: Final = 5.0
"""Between two tries of one customer: tries share this process with the proxies that all else goes through."""

LOOK_EVERY_S: Final = 0.25

STOCK: Final = {"TEA-ASSAM": 1_000_000, "TEAPOT-CLAY": 1_000_000, "MUG-BLUE": 1_000_000, "KETTLE-COPPER": 40}
SCARCE: Final = "KETTLE-COPPER"
UNKNOWN: Final = "TEA-FROM-MARS"

DONE: Final = frozenset({"completed"})
UNDONE: Final = frozenset({"rejected"})


@dataclass(frozen=True, slots=True)
class Kind:
    """What a customer orders, how often of a hundred, and which ends are right when nothing is too late."""

    name: str
    share: int
    quantities: dict[str, int]
    ends: frozenset[str]
    payment_method: str = "pm_card_visa"
    postal_code: str = "10117"
    cancels: bool = False


PLAIN: Final = Kind("plain", 52, {"TEA-ASSAM": 2}, DONE)

KINDS: Final = (
    PLAIN,
    Kind("several products", 12, {"TEAPOT-CLAY": 1, "MUG-BLUE": 4, "TEA-ASSAM": 3}, DONE),
    Kind("scarce", 3, {SCARCE: 1}, DONE | UNDONE),
    Kind("unknown product", 2, {UNKNOWN: 1}, UNDONE),
    Kind("declined", 6, {"MUG-BLUE": 2}, UNDONE, "pm_card_declined"),
    Kind("address refused", 5, {"MUG-BLUE": 1}, UNDONE, postal_code="00000"),
    Kind("gateway flaky", 4, {"TEA-ASSAM": 1}, DONE, "pm_gateway_flaky"),
    Kind("gateway silent", 3, {"TEAPOT-CLAY": 1}, DONE, "pm_gateway_timeout"),
    Kind("carrier flaky", 3, {"TEA-ASSAM": 1}, DONE, postal_code="00001"),
    Kind("carrier silent", 2, {"TEA-ASSAM": 1}, DONE, postal_code="00003"),
    Kind("refund flaky", 3, {"TEAPOT-CLAY": 2}, UNDONE, "pm_refund_flaky", "00000"),
    Kind("cancelled", 5, {"MUG-BLUE": 6}, DONE | {"cancelled"}, "pm_gateway_flaky", cancels=True),
)

LATE: Final = frozenset({"rejected"})
"""How any order may end when a fault has outlasted the deadline of a step."""


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


@dataclass(slots=True)
class Shop:
    """All orders of a run, and what was wrong with the answers to them."""

    stage: Scene
    rate: float
    rng: random.Random
    prefix: str
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
        [kind] = self.rng.choices(KINDS, [kind.share for kind in KINDS])
        order = Placed(len(self.placed) + 1, kind)
        self.placed.append(order)
        return order

    async def _place(self, session: aiohttp.ClientSession, order: Placed) -> None:
        order_id = await self._submit(session, order)
        order.order_id, order.accepted_at = order_id, asyncio.get_running_loop().time()
        self.accepted += 1
        self.open[order_id] = order
        if order.kind.cancels:
            await self._cancel(session, order_id)
        if order.number % 10 == 0:
            again = await self._submit(session, order)
            if again != order_id:
                self.wrongs.append(f"key {self._key(order)} gave order {order_id}, then {again}")

    def _key(self, order: Placed) -> str:
        return f"{self.prefix}-{order.number}"

    async def _submit(self, session: aiohttp.ClientSession, order: Placed) -> str:
        """Until it is accepted; only an answer that can never be right ends it otherwise."""
        while True:
            order.tries += 1
            status, body = await self._ask(session, "/orders", self._document(order), self._key(order))
            if status in (200, 201, 202):
                return str(body["order_id"])
            if status is not None and status not in (429, 503):
                self.wrongs.append(f"order {order.number} was answered {status}: {body}")
            await _pause(order.tries)

    async def _cancel(self, session: aiohttp.ClientSession, order_id: str) -> None:
        """Until it is done, or refused for good because the parcel is under way."""
        for tries in count(1):
            status, body = await self._ask(session, f"/orders/{order_id}/cancel", {})
            if status in (200, 202, 409):
                return
            if status is not None and status not in (429, 503):
                self.wrongs.append(f"cancelling {order_id} was answered {status}: {body}")
            await _pause(tries)

    async def _ask(
        self, session: aiohttp.ClientSession, path: str, document: dict[str, Any], key: str | None = None
    ) -> tuple[int | None, dict[str, Any]]:
        """Status and body; None where no answer came."""
        headers = {} if key is None else {"Idempotency-Key": key}
        try:
            async with session.post(path, json=document, headers=headers) as answer:
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


async def _pause(tries: int) -> None:
    """Longer after each try, and never the same for all."""
    await asyncio.sleep(random.uniform(0.5, 1) * min(LONGEST_PAUSE_S, 0.2 * 2 ** min(tries, 10)))


def _object(text: str) -> dict[str, Any]:
    """The JSON object of an answer; of another text what it says."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"said": text[:200]}
