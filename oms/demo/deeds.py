"""What people do about sample orders: an operator decides what is held, goods come back to the warehouse."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from oms.api_client import ApiClient, Document

LOOK_S: Final = 0.1

RETURNED: Final = ("completed", "partly returned")
"""How an order has ended of which goods came back: its status, and what became of it besides."""


class Deed(Protocol):
    """Done about each order of a story once it is in."""

    async def do(self, api: ApiClient, order_id: str) -> Document | None:
        """Wait for the moment and do it, to its end; returns the return that came of it, if one did."""


@dataclass(frozen=True, slots=True)
class Decide:
    """An operator approves or denies an order that is on hold."""

    approved: bool
    reason: str

    async def do(self, api: ApiClient, order_id: str) -> None:
        """See `Deed.do`."""
        order = await _until(api, f"/orders/{order_id}", lambda order: order["status"] == "on_hold")
        said = {"approved": self.approved, "reason": self.reason}
        await api.post(f"/sagas/{order['saga_id']}/signals/hold", said)


@dataclass(frozen=True, slots=True)
class SendBack:
    """The customer sends pieces of an order back once it has arrived, and they can be sold again."""

    pieces: Mapping[str, int]
    reason: str

    async def do(self, api: ApiClient, order_id: str) -> Document:
        """See `Deed.do`."""
        await _until(api, f"/orders/{order_id}", lambda order: order["status"] == "completed")
        lines = [{"sku": sku, "quantity": quantity} for sku, quantity in self.pieces.items()]
        made = await api.post(f"/orders/{order_id}/returns", {"lines": lines, "reason": self.reason})
        saga = f"/sagas/{made['return_id']}"
        await _until(api, saga, lambda saga: saga["label"] == "awaiting_goods")
        come = [{"sku": sku, "disposition": "restock"} for sku in self.pieces]
        await api.post(f"{saga}/signals/goods_received", {"lines": come})
        await _until(api, saga, lambda saga: saga["ended_at"] is not None)
        [returned] = (await api.items(f"/orders/{order_id}/returns", {}, limit=100))["items"]
        return dict(returned)


async def _until(api: ApiClient, path: str, wanted: Callable[[Document], bool]) -> Document:
    """What is there once it is as wanted; whoever waits for the demo's end gives up in time."""
    while True:
        found = await api.get(path)
        if wanted(found):
            return found
        await asyncio.sleep(LOOK_S)
