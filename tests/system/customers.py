"""Customers who order all the while, at whichever API answers, and repeat until each order is accepted."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx

from tests.system.deployment import an_order

UNKNOWN_PRODUCT: Final = [{"sku": "SKU-FROM-MARS", "quantity": 1, "unit_price": 1}]

KINDS: Final[tuple[dict[str, Any], ...]] = (
    {},
    {},
    {"payment_method": "pm_card_declined"},
    {"lines": UNKNOWN_PRODUCT},
    {"shipping_address": {**an_order()["shipping_address"], "postal_code": "00000"}},
)
"""Two of five are completed; the others turn round at their first, second and third step."""


class Customers:
    """How many there are, what they were told, and what was wrong with that."""

    def __init__(self, urls: Sequence[str], number: int = 4, pause_s: float = 0.1) -> None:
        self.customer_id = f"c-{secrets.token_hex(4)}"
        self.accepted: list[str] = []
        self.wrongs: list[str] = []
        self._urls = list(urls)
        self._number = number
        self._pause_s = pause_s
        self._keys = itertools.count()
        self._enough = asyncio.Event()

    @asynccontextmanager
    async def ordering(self) -> AsyncIterator[None]:
        """They order while the block runs; in the end every order that was begun has been accepted."""
        async with asyncio.TaskGroup() as together:
            for _ in range(self._number):
                together.create_task(self._keep_ordering())
            try:
                yield
            finally:
                self._enough.set()

    async def until_accepted(self, further: int) -> None:
        """Wait until so many more orders have been accepted."""
        wanted = len(self.accepted) + further
        while len(self.accepted) < wanted:
            await asyncio.sleep(0.05)

    async def _keep_ordering(self) -> None:
        async with httpx.AsyncClient(timeout=30) as client:
            while not self._enough.is_set():
                key = next(self._keys)
                await self._place(
                    client, an_order(customer_id=self.customer_id, **KINDS[key % len(KINDS)]), key
                )
                await asyncio.sleep(self._pause_s)

    async def _place(self, client: httpx.AsyncClient, order: dict[str, Any], key: int) -> None:
        for url in itertools.cycle(self._urls[key % 2 :] + self._urls[: key % 2]):
            try:
                answer = await client.post(
                    f"{url}/orders", json=order, headers={"Idempotency-Key": f"k-{key}"}
                )
            except httpx.TransportError:
                await asyncio.sleep(0.1)
                continue
            if answer.status_code in (200, 202):
                self.accepted.append(answer.json()["order_id"])
                return
            if answer.status_code != 503:
                self.wrongs.append(f"{answer.status_code}: {answer.text}")
            await asyncio.sleep(0.1)
