"""How everything is going, on one page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from orchestrator.core.state import End
from orchestrator.http.console.desk import Desk
from orchestrator.http.console.session import Session
from orchestrator.http.console.situation import Situations
from orchestrator.queries.endings import MINUTES, Endings

WIDTH: Final = 1140
HEIGHT: Final = 110
SLOT: Final = WIDTH / MINUTES
_STACK: Final = (End.COMPLETED, End.REJECTED, End.CANCELLED)


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
    """Ended sagas by the minute; the latest minute, which is not over, on the right.

    Attributes:
        seen: for so many minutes all has been counted; before them there was too much.
    """

    blocks: tuple[Block, ...]
    top: int
    total: int
    seen: int
    width: float = WIDTH
    height: float = HEIGHT


class OverviewPages:
    """The first page."""

    def __init__(self, desk: Desk, situations: Situations) -> None:
        self._desk = desk
        self._situations = situations

    def routes(self) -> Iterator[APIRoute]:
        """Its routes."""
        yield self._desk.page("/console", self._show)

    async def _show(self, request: Request, session: Session) -> Response:
        situation = await self._situations.situation.for_page(request)
        ended = chart(situation.endings, self._desk.now())
        return self._desk.show("overview.html", session, situation=situation, chart=ended, minutes=MINUTES)


def chart(endings: Endings, now: datetime) -> Chart:
    """The chart of what ended in the last minutes."""
    this_minute = now.replace(second=0, microsecond=0)
    counts = {(each.minute, each.ended_as): each.count for each in endings.ended}
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
    return Chart(tuple(blocks), top, sum(each.count for each in endings.ended), _seen(endings, now))


def _seen(endings: Endings, now: datetime) -> int:
    if endings.complete_since is None:
        return MINUTES
    return min(MINUTES, max(1, int((now - endings.complete_since).total_seconds() // 60)))
