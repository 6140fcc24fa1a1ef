"""What people do about an order once it is accepted, until it is done: also while servers are away."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Container, Mapping
from itertools import count
from typing import Any, Final

from tests.system.deployment import ADMIN_TOKEN

STAFF: Final = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
NOBODY: Final[Mapping[str, str]] = {}
LOOK_S: Final = 0.5
TAKEN: Final = (200, 201, 202)
TOO_LATE: Final = 409
"""The saga has ended another way meanwhile."""

LONGEST_PAUSE_S: Final = 5.0
"""Between two tries of one person: tries share this process with the proxies that all else goes through."""

Document = dict[str, Any]
Ask = Callable[[str, Document | None, str | None, Mapping[str, str]], Awaitable[tuple[int | None, Document]]]
"""A path, a document where it is a POST, a key, headers; status and body, None where no answer came."""


class Refused(Exception):
    """An answer that can never be right."""


async def cancel(ask: Ask, order_id: str) -> None:
    """The customer cancels, until it is done, or refused for good because the parcel is under way."""
    await _insist(ask, f"/orders/{order_id}/cancel", {}, (*TAKEN, TOO_LATE), who=NOBODY)


async def decide(ask: Ask, order_id: str, approved: bool) -> None:
    """An operator decides what is on hold."""
    path = f"/orders/{order_id}"
    order = await _once(ask, path, lambda order: order["ended_at"] or order["status"] == "on_hold")
    if not order["ended_at"]:
        said = {"approved": approved, "reason": "asked by phone"}
        await _signal(ask, f"/sagas/{order['saga_id']}/signals/hold", said)


async def send_back(ask: Ask, order_id: str, pieces: Mapping[str, int]) -> bool:
    """The customer sends pieces of a completed order back; whether they stand on the shelves again."""
    lines = [{"sku": sku, "quantity": quantity} for sku, quantity in pieces.items()]
    asked = {"lines": lines, "reason": "not as pictured"}
    made = await _insist(ask, f"/orders/{order_id}/returns", asked, TAKEN, key=f"back-{order_id}")
    path = f"/sagas/{made['return_id']}"
    saga = await _once(ask, path, lambda saga: saga["ended_at"] or saga["label"] == "awaiting_goods")
    if not saga["ended_at"]:
        come = [{"sku": sku, "disposition": "restock"} for sku in pieces]
        await _signal(ask, f"{path}/signals/goods_received", {"lines": come})
        saga = await _once(ask, path, lambda saga: saga["ended_at"])
    return bool(saga["label"] == "returned")


async def pause(tries: int) -> None:
    """Longer after each try, and never the same for all."""
    await asyncio.sleep(random.uniform(0.5, 1) * min(LONGEST_PAUSE_S, 0.2 * 2 ** min(tries, 10)))


async def _once(ask: Ask, path: str, wanted: Callable[[Document], Any]) -> Document:
    """What is there once it is as wanted."""
    while not wanted(found := await _insist(ask, path, None, TAKEN)):
        await asyncio.sleep(LOOK_S)
    return found


async def _signal(ask: Ask, path: str, document: Document) -> None:
    await _insist(ask, path, document, (*TAKEN, TOO_LATE))


async def _insist(
    ask: Ask,
    path: str,
    document: Document | None,
    right: Container[int],
    *,
    key: str | None = None,
    who: Mapping[str, str] = STAFF,
) -> Document:
    """Until there is an answer that is right. Raises Refused for one that can never be."""
    for tries in count(1):
        status, body = await ask(path, document, key, who)
        if status in right:
            return body
        if status not in (None, 429, 503):
            raise Refused(f"{path} was answered {status}: {body}")
        await pause(tries)
    raise AssertionError("unreachable")
