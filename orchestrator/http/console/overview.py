"""How everything is going, on one page."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from contracts.routing import OUTCOMES_QUEUE, command_queue, dead_letter_queue
from messaging.transport import BrokerUnavailable
from orchestrator.core.state import OrderStatus
from orchestrator.explanation import ASK_BROKER_S, QueueView
from orchestrator.http.console.desk import Desk
from orchestrator.http.console.session import Session
from orchestrator.http.dependencies import Dependencies
from orchestrator.queries.endings import MINUTES, Ended

WIDTH: Final = 1140
HEIGHT: Final = 110
SLOT: Final = WIDTH / MINUTES
_STACK: Final = (OrderStatus.COMPLETED, OrderStatus.REJECTED, OrderStatus.CANCELLED)


@dataclass(frozen=True, slots=True)
class Block:
    """Sagas that ended in one minute in one way."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Ended sagas by the minute; the latest minute, which is not over, on the right."""

    blocks: tuple[Block, ...]
    top: int
    total: int
    width: float = WIDTH
    height: float = HEIGHT


class OverviewPages:
    """The first page."""

    def __init__(self, desk: Desk, dependencies: Dependencies) -> None:
        self._desk = desk
        self._dependencies = dependencies

    def routes(self) -> Iterator[APIRoute]:
        """Its routes."""
        yield self._desk.page("/console", self._show)

    async def _show(self, _: Request, session: Session) -> Response:
        queries = self._dependencies.queries
        now = self._desk.now()
        gauges, ended, queues = await asyncio.gather(
            queries.gauges.read(), queries.endings.by_minute(now), self._queues()
        )
        return self._desk.show(
            "overview.html", session, gauges=gauges, chart=chart(ended, now), queues=queues, minutes=MINUTES
        )

    async def _queues(self) -> list[QueueView]:
        worked = [OUTCOMES_QUEUE, *map(command_queue, self._dependencies.registry.participants)]
        names = [*worked, *map(dead_letter_queue, worked)]
        return list(await asyncio.gather(*map(self._queue, names)))

    async def _queue(self, name: str) -> QueueView:
        try:
            async with asyncio.timeout(ASK_BROKER_S):
                depth = await self._dependencies.depth(name)
        except (BrokerUnavailable, TimeoutError) as error:
            return QueueView(name=name, trouble=str(error) or "the broker does not answer in time")
        return QueueView(name=name, ready=depth.ready, consumers=depth.consumers)


def chart(ended: Sequence[Ended], now: datetime) -> Chart:
    """The chart of what ended in the last minutes."""
    this_minute = now.replace(second=0, microsecond=0)
    counts = {(each.minute, each.ended_as): each.count for each in ended}
    minutes = [this_minute - timedelta(minutes=back) for back in reversed(range(MINUTES))]
    top = max(1, *(sum(counts.get((minute, kind), 0) for kind in _STACK) for minute in minutes))
    blocks: list[Block] = []
    for at, minute in enumerate(minutes):
        y = float(HEIGHT)
        for kind in _STACK:
            count = counts.get((minute, kind), 0)
            if count:
                high = round(count / top * HEIGHT, 1)
                y -= high
                title = f"{minute:%H:%M} UTC: {count} {kind}"
                blocks.append(Block(at * SLOT, y, SLOT - 3, high, kind.value, title))
    return Chart(tuple(blocks), top, sum(each.count for each in ended))
