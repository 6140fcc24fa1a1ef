"""A saga's progress as server-sent events: every change that shows from outside, once and in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

import structlog
from pydantic import BaseModel
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from contracts.problems import ProblemError
from messaging.unit_of_work import StorageUnavailable
from orchestrator.codec import Unreadable
from orchestrator.core.state import ENDED, Saga, Status
from orchestrator.http.admission import Admission
from orchestrator.http.faces import Face
from orchestrator.progress import Interest, ProgressListener, Watch
from orchestrator.queries.sagas import HistoryRow, SagaQueries, every_entry, seen_from_outside

log = structlog.get_logger(__name__)

READERS: Final = 4
"""Streams that read at once.

A change may wake hundreds: in a line of their own they wait as long as it takes; in the pool's they would run
out of patience, and take the connections from all others meanwhile.
"""

QUIET_S: Final = 15.0
"""Seconds without an event after which a comment shows that the stream is alive."""

RETRY: Final = b"retry: 1000\n\n"
COMMENT: Final = b": still here\n\n"


STREAM: Final = "text/event-stream"


def streamed(events: AsyncIterator[bytes], headers: Mapping[str, str] = MappingProxyType({})) -> Response:
    """Events as they come, which nobody on the way keeps or holds back."""
    unbuffered = {**headers, "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(events, headers=unbuffered, media_type=STREAM)


Turns = asyncio.Semaphore
"""One is taken for each read."""


@dataclass(frozen=True, slots=True)
class ProgressEvent:
    """What was there after one change.

    Attributes:
        sequence: the saga's version then.
        is_final: nothing follows.
    """

    sequence: int
    kind: str
    view: BaseModel
    is_final: bool

    def encoded(self) -> bytes:
        """The event on the wire."""
        return f"id: {self.sequence}\nevent: {self.kind}\ndata: {self.view.model_dump_json()}\n\n".encode()


class Progress:
    """Reads events from a saga's history, as far as they have not been read."""

    def __init__(
        self,
        sagas: SagaQueries,
        turns: Turns,
        face: Face[Any],
        identity: UUID,
        saga_id: UUID,
        after: int,
    ) -> None:
        """
        Args:
            turns: one is taken for each read.
            identity: by which the face finds it.
            after: the last event that the client has seen.
        """
        self._sagas = sagas
        self._turns = turns
        self._face = face
        self._identity = identity
        self._saga_id = saga_id
        self._after = after
        self._read_up_to = 0
        self._shown: tuple[str, bool] | None = None
        self.ended = False

    async def events(self) -> list[ProgressEvent]:
        """What has happened since the last call. Raises StorageUnavailable and Unreadable."""
        async with self._turns:
            entries = await every_entry(self._sagas, self._saga_id, self._read_up_to)
            # Read after its entries, so that the saga knows all that they need of it.
            saga = await self._face.saga(self._identity) if entries else None
        try:
            return self._new_ones(entries, saga)
        except (ValueError, TypeError, KeyError) as error:
            raise Unreadable(f"its history cannot be read ({type(error).__name__})") from None

    def _new_ones(self, entries: Sequence[HistoryRow], saga: Saga | None) -> list[ProgressEvent]:
        events = []
        for entry in entries:
            before, self._shown = self._shown, seen_from_outside(entry)
            self._read_up_to = entry.version
            if saga is None or before == self._shown:
                continue
            kind, ended = f"{self._face.what}.{self._shown[0]}", Status(entry.led_to["status"]) in ENDED
            event = ProgressEvent(entry.version, kind, self._face.then(saga, entry), ended)
            self.ended = self.ended or ended
            if event.sequence > self._after:
                events.append(event)
        return events


class EventStream(Response):
    """Sends events until the final one, or until the client or this process leaves.

    It ends as well where the client would not be let in any more.
    """

    def __init__(
        self,
        listener: ProgressListener,
        admission: Admission,
        subject_id: UUID,
        progress: Progress,
        first: Sequence[ProgressEvent],
    ) -> None:
        """
        Args:
            subject_id: by which its progress is told.
            first: events that ``progress`` has handed out already.
        """
        self._listener = listener
        self._admission = admission
        self._first = first
        self._subject_id = subject_id
        self._progress = progress
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI. Raises TooManyWatches before anything is sent."""
        with self._listener.watch(self._subject_id, Interest.EVERY_CHANGE) as watch:
            await streamed(self._encoded(watch))(scope, receive, send)

    async def _encoded(self, watch: Watch) -> AsyncIterator[bytes]:
        try:
            async for piece in self._told(watch):
                yield piece
        except (ProblemError, StorageUnavailable, Unreadable):
            log.warning("event stream ends, the client will come back", subject_id=str(self._subject_id))

    async def _told(self, watch: Watch) -> AsyncIterator[bytes]:
        """Raises what speaks against going on."""
        yield RETRY
        for event in self._first:
            yield event.encoded()
        while not self._progress.ended and not self._listener.stopping:
            # Read once before the first wait: something may have come before the watch was held.
            for event in await self._progress.events():
                yield event.encoded()
            if not self._progress.ended:
                await self._admission.changed(watch, QUIET_S)
                yield COMMENT
