"""An order's progress as server-sent events: every change that its customer can see, once and in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from messaging.unit_of_work import StorageUnavailable
from orchestrator.codec import Unreadable
from orchestrator.core.state import Saga
from orchestrator.progress import Interest, ProgressListener, Watch
from orchestrator.queries import Queries
from orchestrator.queries.orders import order_then, seen_by_customer
from orchestrator.queries.sagas import HistoryRow, every_entry
from orchestrator.queries.views import OrderView
from orchestrator.sagas.order_fulfillment import END_STATUSES

log = structlog.get_logger(__name__)

READERS: Final = 4
"""Streams that read at once.

A change may wake hundreds: in a line of their own they wait as long as it takes; in the pool's they would run
out of patience, and take the connections from all others meanwhile.
"""

QUIET_S: Final = 15.0
"""Seconds without an event after which a comment shows that the stream is alive."""

_RETRY: Final = b"retry: 1000\n\n"
_COMMENT: Final = b": still here\n\n"


@dataclass(frozen=True, slots=True)
class OrderEvent:
    """The order as it was after one change; ``sequence`` is the saga's version then."""

    sequence: int
    order: OrderView

    @property
    def is_final(self) -> bool:
        """Whether nothing follows."""
        return self.order.status in END_STATUSES

    def encoded(self) -> bytes:
        """The event on the wire."""
        data = self.order.model_dump_json()
        return f"id: {self.sequence}\nevent: order.{self.order.status}\ndata: {data}\n\n".encode()


class Progress:
    """Reads an order's events from its saga's history, as far as they have not been read."""

    def __init__(
        self, queries: Queries, turns: asyncio.Semaphore, order_id: UUID, saga_id: UUID, after: int
    ) -> None:
        """
        Args:
            turns: one is taken for each read.
            after: the last event that the client has seen.
        """
        self._queries = queries
        self._turns = turns
        self._order_id = order_id
        self._saga_id = saga_id
        self._after = after
        self._read_up_to = 0
        self._shown: tuple[str, bool] | None = None
        self.ended = False

    async def events(self) -> list[OrderEvent]:
        """What has happened since the last call. Raises StorageUnavailable and Unreadable."""
        async with self._turns:
            entries = await every_entry(self._queries.sagas, self._saga_id, self._read_up_to)
            # Read after its entries, so that the saga knows all that they need of it.
            saga = await self._queries.orders.saga_of(self._order_id) if entries else None
        try:
            return self._new_ones(entries, saga)
        except (ValueError, TypeError, KeyError) as error:
            raise Unreadable(f"its history cannot be read ({type(error).__name__})") from None

    def _new_ones(self, entries: Sequence[HistoryRow], saga: Saga | None) -> list[OrderEvent]:
        events = []
        for entry in entries:
            before, self._shown = self._shown, seen_by_customer(entry)
            self._read_up_to = entry.version
            if saga is None or before == self._shown:
                continue
            event = OrderEvent(entry.version, order_then(saga, entry))
            self.ended = self.ended or event.is_final
            if event.sequence > self._after:
                events.append(event)
        return events


class EventStream(Response):
    """Sends an order's events until the final one, or until the client or this process leaves."""

    def __init__(
        self, listener: ProgressListener, order_id: UUID, progress: Progress, first: Sequence[OrderEvent]
    ) -> None:
        """
        Args:
            first: events that ``progress`` has handed out already.
        """
        self._listener = listener
        self._first = first
        self._order_id = order_id
        self._progress = progress
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI. Raises TooManyWatches before anything is sent."""
        with self._listener.watch(self._order_id, Interest.EVERY_CHANGE) as watch:
            headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
            stream = StreamingResponse(self._encoded(watch), headers=headers, media_type="text/event-stream")
            await stream(scope, receive, send)

    async def _encoded(self, watch: Watch) -> AsyncIterator[bytes]:
        yield _RETRY
        for event in self._first:
            yield event.encoded()
        while not self._progress.ended and not self._listener.stopping:
            # Read once before the first wait: something may have come before the watch was held.
            try:
                events = await self._progress.events()
            except (StorageUnavailable, Unreadable):
                log.warning("event stream ends, the client will come back", order_id=str(self._order_id))
                return
            for event in events:
                yield event.encoded()
            if not self._progress.ended:
                await watch.changed(QUIET_S)
                yield _COMMENT
