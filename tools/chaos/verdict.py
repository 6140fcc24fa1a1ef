"""What must be true when all is quiet again; each objection is one line for a person."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Final

from contracts.routing import PARTICIPANTS
from orchestrator.sagas.order_return import NAME as RETURNS
from tools.chaos.orders import Placed, Shop
from tools.chaos.scene import OUTBOXES, Scene

SHOWN: Final = 5
DRAINS_WITHIN_S: Final = 600.0
"""For outboxes and queues, once every order has ended: above the longest lease of a row sent twice."""


async def verdict(stage: Scene, shop: Shop) -> list[str]:
    """Everything that is wrong; empty when nothing is."""
    found = list(shop.wrongs)
    found += _never_ended(shop)
    found += [line async for line in _lost_or_doubled(stage, shop)]
    found += [line async for line in _stock(stage, shop)]
    found += [line async for line in _left_behind(stage)]
    found += [line async for line in _unsettled(stage)]
    code, printed = await stage.services.command("audit")
    if code != 0:
        found.append(f"oms audit ended with {code}:\n{printed.strip()}")
    return found


def _never_ended(shop: Shop) -> list[str]:
    lines = [_listed("orders were never accepted", [order for order in shop.placed if not order.order_id])]
    lines.append(_listed("accepted orders have not ended", list(shop.open.values())))
    return [line for line in lines if line]


def _listed(what: str, orders: list[Placed]) -> str:
    shown = ", ".join(f"{order.order_id or order.number} ({order.kind.name})" for order in orders[:SHOWN])
    return f"{len(orders)} {what}: {shown}" if orders else ""


async def _lost_or_doubled(stage: Scene, shop: Shop) -> AsyncIterator[str]:
    """One order for each customer, each with one saga, and just those that were accepted."""
    rows = await stage.rows(
        "SELECT o.order_id::text, o.customer_id, count(s.saga_id) FROM orchestrator.orders o "
        "LEFT JOIN orchestrator.sagas s USING (order_id) "
        "WHERE s.definition IS DISTINCT FROM %s GROUP BY 1, 2",
        RETURNS,
    )
    stored = {row[0] for row in rows}
    accepted = {order.order_id for order in shop.placed if order.order_id}
    if missing := accepted - stored:
        yield f"{len(missing)} accepted orders are not there: {sorted(missing)[:SHOWN]}"
    if unasked := stored - accepted:
        yield f"{len(unasked)} orders are there that were never accepted: {sorted(unasked)[:SHOWN]}"
    if twice := [name for name, count in Counter(row[1] for row in rows).items() if count > 1]:
        yield f"{len(twice)} keys have started two orders: {sorted(twice)[:SHOWN]}"
    if strange := [row[0] for row in rows if row[2] != 1]:
        yield f"{len(strange)} orders have not one saga: {sorted(strange)[:SHOWN]}"


async def _stock(stage: Scene, shop: Shop) -> AsyncIterator[str]:
    """What is left is what there was, less what was sold and not sent back: by the customers' own count."""
    sold: Counter[str] = Counter()
    for order in shop.placed:
        sold.update(order.taken())
    for sku, on_hand, reserved in await stage.services.stock():
        expected = shop.life.stock[sku] - sold[sku]
        if on_hand != expected or reserved != 0:
            yield f"{sku}: {on_hand} on hand and {reserved} reserved, instead of {expected} and 0"


async def _left_behind(stage: Scene) -> AsyncIterator[str]:
    """Rows in outboxes and messages in queues, ready or held by somebody, that nobody works on any more."""
    give_up_at = asyncio.get_running_loop().time() + DRAINS_WITHIN_S
    while True:
        left = {**await _outboxes(stage), **await _queues(stage)}
        if not left:
            return
        if asyncio.get_running_loop().time() > give_up_at:
            break
        await asyncio.sleep(2)
    for name, what in left.items():
        yield f"{name}: {what} left behind"


async def _outboxes(stage: Scene) -> dict[str, str]:
    counts = " UNION ALL ".join(f"SELECT '{name}', count(*) FROM {name}.outbox" for name in OUTBOXES)
    return {f"{name}.outbox": f"{count} rows" for name, count in await stage.rows(counts) if count}


async def _queues(stage: Scene) -> dict[str, str]:
    listed = await stage.control(
        "-q", "list_queues", "--no-table-headers", "name", "messages_ready", "messages_unacknowledged"
    )
    found: dict[str, str] = {}
    for line in listed.splitlines():
        name, ready, held = line.split("\t")
        if ready != "0" or held != "0":
            found[name] = f"{ready} messages ready, {held} unacknowledged"
    return found


async def _unsettled(stage: Scene) -> AsyncIterator[str]:
    dead = await stage.rows(
        "SELECT queue, type, error_type, error_message, count(*), min(saga_id::text) "
        "FROM orchestrator.dead_letters WHERE status IN ('open', 'replaying') GROUP BY 1, 2, 3, 4"
    )
    for queue, kind, error, message, count, saga in dead:
        yield f"{count} open dead letters of {queue}: {kind}: {error}: {message} (as of saga {saga})"
    incidents = await stage.rows(
        "SELECT saga_id::text, incident_kinds FROM orchestrator.sagas WHERE incident_kinds <> '{}'"
    )
    for saga, kinds in incidents[:SHOWN]:
        yield f"saga {saga} has open incidents: {kinds} ({len(incidents)} in all)"
    for name in PARTICIPANTS:
        open_rows = await stage.rows(
            f"SELECT state, count(*) FROM {name}.ledger "
            "WHERE state IN ('intent', 'undoing', 'reversing') GROUP BY 1"
        )
        for state, count in open_rows:
            yield f"{name}: {count} rows of the ledger are still at {state}"
