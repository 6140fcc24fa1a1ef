"""The feed over HTTP: every public event in commit order, as pages, by long poll, or as a stream (S29)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from typing import Annotated, Final
from uuid import UUID

import structlog
from fastapi import Query, Security
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from contracts.problems import FieldError, ProblemError, field_error, unprocessable
from messaging.unit_of_work import StorageUnavailable
from orchestrator.http import headers
from orchestrator.http.access import Permission
from orchestrator.http.admission import Admission
from orchestrator.http.answers import answer
from orchestrator.http.dependencies import Dependencies
from orchestrator.http.events import COMMENT, QUIET_S, RETRY, STREAM, Turns, streamed
from orchestrator.http.openapi import BEARER, event_stream, header, problems, success
from orchestrator.progress import EVERY_ORDER, Interest, ProgressListener, TooManyWatches, Watch
from orchestrator.queries.feed import (
    DEFAULT_EVENTS,
    MAX_EVENTS,
    CursorGone,
    CursorUnknown,
    EventList,
    FeedFilter,
    FeedQueries,
    FeedUnordered,
)
from orchestrator.queries.feed_events import PublicEvent
from orchestrator.queries.feed_position import BEGINNING, CURSOR_PATTERN, Position, position_of

log = structlog.get_logger(__name__)

LATEST: Final = "latest"
"""In place of a cursor: behind all that there is now."""

LOOK_S: Final = 1.0
"""Seconds between two looks: what has committed is read only when no older transaction is open any more."""

MOST_TYPES: Final = 50
"""Types of events that somebody may ask for."""

_AFTER_PATTERN: Final = f"{CURSOR_PATTERN[:1]}({LATEST}|{CURSOR_PATTERN[1:-1]})$"


class FeedQuery(BaseModel):
    """From where, and which events; a repeated type means "or"."""

    model_config = ConfigDict(extra="forbid")

    after: Annotated[
        str | None,
        Field(
            description=f"A `cursor` or `next_cursor`: what follows it. `{LATEST}`: what happens from now on."
            " Without it: from the oldest event that is kept",
            json_schema_extra={"pattern": _AFTER_PATTERN},
        ),
    ] = None
    type: Annotated[
        list[str], Field(max_length=MOST_TYPES, description="Types of events, such as OrderCompletedEvent")
    ] = []
    order_id: Annotated[UUID | None, Field(description="Events of this order alone")] = None
    limit: Annotated[int, Field(ge=1, le=MAX_EVENTS)] = DEFAULT_EVENTS


class FeedEndpoint:
    """What those read who want to know of everything that happens."""

    def __init__(self, dependencies: Dependencies, turns: Turns) -> None:
        self._access = dependencies.access
        self._feed = dependencies.queries.feed
        self._listener = dependencies.listener
        self._turns = turns

    async def events(self, request: Request, asked: Annotated[FeedQuery, Query()]) -> Response:
        """Events behind a cursor, oldest first; where there are none, once there are or the wait is over."""
        await self._access.admit(request, Permission.VIEW)
        admission = Admission(partial(self._access.admit, request, Permission.VIEW))
        wait_s = headers.preferred_wait_s(request.headers)
        last = headers.last_event_cursor(request.headers)
        reading = Reading(self._feed, self._turns, self._filter(asked), asked.limit)
        reading.after = await self._begin(asked.after if last is None else last)
        page = await reading.page()
        if _wants_stream(request.headers):
            return FeedStream(self._listener, admission, reading, page)
        if wait_s is None:
            return answer(page)
        if not page.items:
            page = await self._awaited(admission, reading, page, wait_s)
        return answer(page, headers={"Preference-Applied": f"wait={wait_s}"})

    def _filter(self, asked: FeedQuery) -> FeedFilter:
        if wrong := unknown_types(self._feed, asked.type, "query", "type"):
            raise unprocessable(wrong)
        return FeedFilter(frozenset(asked.type), asked.order_id)

    async def _begin(self, after: str | None) -> Position:
        if after is None:
            return BEGINNING
        return (await self._feed.end()).said_by_cursor if after == LATEST else position_of(after)

    async def _awaited(
        self, admission: Admission, reading: Reading, page: EventList, wait_s: float
    ) -> EventList:
        """The first events that come, or none after so many seconds. Raises what `Admission.renew` does."""
        clock = asyncio.get_running_loop()
        until = clock.time() + wait_s
        try:
            with self._listener.watch(EVERY_ORDER, Interest.EVERY_CHANGE) as watch:
                while not page.items and not self._listener.stopping and clock.time() < until:
                    await admission.changed(watch, 0 if page.more else min(LOOK_S, until - clock.time()))
                    page = await reading.page()
        except TooManyWatches:
            pass  # a preference is no demand
        return page


def unknown_types(feed: FeedQueries, types: Sequence[str], *field: str) -> list[FieldError]:
    """What is wrong with the types of events that a field names."""
    said = "No definition that is installed here has an event of this type"
    known = feed.types
    return [
        field_error((*field, at), "unknown_event_type", said)
        for at, name in enumerate(types)
        if name not in known
    ]


class Reading:
    """Reads on behind what it has read."""

    def __init__(self, feed: FeedQueries, turns: Turns, wanted: FeedFilter, limit: int) -> None:
        """
        Args:
            turns: one is taken for each read.
        """
        self._feed = feed
        self._turns = turns
        self._wanted = wanted
        self._limit = limit
        self.after = BEGINNING

    async def page(self) -> EventList:
        """What follows. Raises what `FeedQueries.page` does."""
        async with self._turns:
            page = await self._feed.page(self.after, self._wanted, self._limit)
        self.after = position_of(page.next_cursor)
        return page


class FeedStream(Response):
    """Sends events until the client or this process leaves, or the client would not be let in any more."""

    def __init__(
        self, listener: ProgressListener, admission: Admission, reading: Reading, first: EventList
    ) -> None:
        """
        Args:
            first: what ``reading`` has handed out already.
        """
        self._listener = listener
        self._admission = admission
        self._reading = reading
        self._first = first
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI. Raises TooManyWatches before anything is sent."""
        with self._listener.watch(EVERY_ORDER, Interest.EVERY_CHANGE) as watch:
            await streamed(self._encoded(watch))(scope, receive, send)

    async def _encoded(self, watch: Watch) -> AsyncIterator[bytes]:
        try:
            async for piece in self._told(watch):
                yield piece
        except (ProblemError, StorageUnavailable, CursorGone, CursorUnknown, FeedUnordered) as error:
            log.warning("the feed ends, the client will come back", error=type(error).__name__)

    async def _told(self, watch: Watch) -> AsyncIterator[bytes]:
        """Raises what speaks against going on."""
        clock = asyncio.get_running_loop()
        page, said_at = self._first, clock.time()
        yield RETRY
        while True:
            for event in page.items:
                yield f"id: {event.cursor}\nevent: {event.type}\ndata: {event.model_dump_json()}\n\n".encode()
                said_at = clock.time()
                await self._admission.renew()  # a client may take its time over one page
            if clock.time() - said_at >= QUIET_S:
                yield COMMENT
                said_at = clock.time()
            if self._listener.stopping:
                return
            await self._admission.changed(watch, 0 if page.more else LOOK_S)
            page = await self._reading.page()


def _wants_stream(fields: Headers) -> bool:
    accepted = ",".join(fields.getlist("accept")).split(",")
    return any(each.partition(";")[0].strip().lower() == STREAM for each in accepted)


# -- in the API's description -----------------------------------------------------------------------------

_HEADERS: Final = [
    header(
        "Prefer",
        f"wait=N: where there is nothing, answer once there is, or after N seconds ({headers.MAX_WAIT_S} at"
        " most)",
        {"type": "string"},
    ),
    header(
        "Last-Event-ID",
        "As a stream's reader sends it: the last event that was seen; it goes before `after`",
        {"type": "string", "pattern": CURSOR_PATTERN},
    ),
]


def feed_routes(dependencies: Dependencies, turns: Turns) -> Iterator[APIRoute]:
    """`/events`."""
    page = success(200, EventList, "Events, oldest first")
    page[200]["content"] = event_stream("^[A-Za-z]", CURSOR_PATTERN, PublicEvent)
    page[200]["headers"] = {"Preference-Applied": {"schema": {"type": "string"}}}
    yield APIRoute(
        "/events",
        FeedEndpoint(dependencies, turns).events,
        methods=["GET"],
        tags=["events"],
        response_class=Response,
        summary="Read or follow the events of all orders",
        description="Every event that was published and accepted, in commit order, as far back as is kept. "
        f"With `Accept: {STREAM}` they are sent as they happen, each with its cursor as id.",
        responses=page | problems(400, 401, 403, 410, 422, 500, 503),
        dependencies=[Security(BEARER)],
        openapi_extra={"parameters": _HEADERS},
    )
