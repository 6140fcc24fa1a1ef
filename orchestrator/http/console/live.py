"""Server-sent events that tell a page of the console which of its parts to fetch anew."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from typing import Final
from uuid import UUID

import structlog
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from contracts.problems import ProblemError
from messaging.unit_of_work import StorageUnavailable
from orchestrator.http.console.desk import Desk
from orchestrator.http.console.news import News, PageWatch
from orchestrator.http.console.rendering import SECURITY_HEADERS
from orchestrator.http.console.session import Session
from orchestrator.http.dependencies import Dependencies
from orchestrator.http.events import streamed
from orchestrator.queries.changes import ChangeQueries

log = structlog.get_logger(__name__)

MAX_TOPICS: Final = 8
GAP_S: Final = 2.0
"""Seconds between two events to one page, so that a busy system does not make it restless."""

QUIET_S: Final = 15.0
"""Seconds without an event after which the stream shows that it is alive."""

TABLES: Final[Mapping[str, str]] = {
    "sagas": "sagas",
    "dead-letters": "dead_letters",
    "jobs": "jobs",
    "webhooks": "webhooks",
    "audit-log": "audit_log",
}
"""Lists: topic → the table whose writes change it."""

ROWS: Final = ("saga", "dead-letter")
"""Single things: the topic is the kind, a colon, and the id."""

_ONE: Final = re.compile(rf"({'|'.join(ROWS)}):([0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}})")

Snapshot = Callable[[], Awaitable[object]]
"""All that a page shows, to be compared with what it was."""


class LivePages:
    """`/console/events`: which parts of a page have changed."""

    def __init__(self, desk: Desk, dependencies: Dependencies, snapshots: Mapping[str, Snapshot]) -> None:
        """
        Args:
            snapshots: topics about more than the database: how each is looked at.
        """
        self._desk = desk
        self._snapshots = snapshots
        self._news = News(
            Marks(dependencies.queries.changes, snapshots), lambda: dependencies.listener.stopping
        )

    def routes(self) -> Iterator[APIRoute]:
        """Its routes."""
        yield self._desk.page("/console/events", self._follow)

    async def _follow(self, request: Request, _: Session) -> Response:
        topics = frozenset(request.query_params.getlist("topic"))
        if not topics or len(topics) > MAX_TOPICS or not all(map(self._known, topics)):
            raise ProblemError(400, "unknown_topic", "There is no such part of the console to follow.")
        if self._news.full:
            raise ProblemError(503, "too_many_pages", "Too many pages are kept fresh here already.")
        return Following(self._news, topics, lambda: self._desk.sessions.is_good(request))

    def _known(self, topic: str) -> bool:
        return topic in TABLES or topic in self._snapshots or _ONE.fullmatch(topic) is not None


class Following(Response):
    """Events until the session ends, the process stops, or the browser leaves."""

    def __init__(self, news: News, topics: frozenset[str], may_look: Callable[[], Awaitable[bool]]) -> None:
        self._news = news
        self._topics = topics
        self._may_look = may_look
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI. Raises TooManyPages before anything is sent."""
        with self._news.watch(self._topics) as watch:
            await streamed(self._told(watch), SECURITY_HEADERS)(scope, receive, send)

    async def _told(self, watch: PageWatch) -> AsyncIterator[bytes]:
        yield b"retry: 3000\n\n"
        while not self._news.stopping():
            changed = await watch.changed(QUIET_S)
            try:
                may_look = await self._may_look()
            except StorageUnavailable:
                log.warning("a page is not kept fresh just now, it will come back")
                return
            if not may_look:
                yield b"event: signed-out\ndata: []\n\n"
                return
            yield f"event: changed\ndata: {json.dumps(changed)}\n\n".encode() if changed else _ALIVE
            await asyncio.sleep(GAP_S if changed else 0)


_ALIVE: Final = b": still here\n\n"


class Marks:
    """Looks at all topics that are watched: one read a kind."""

    def __init__(self, changes: ChangeQueries, snapshots: Mapping[str, Snapshot]) -> None:
        self._changes = changes
        self._snapshots = snapshots

    async def __call__(self, topics: Collection[str]) -> dict[str, object]:
        """The marks of these topics. Raises StorageUnavailable."""
        marks: dict[str, object] = {}
        for topic in topics:
            if topic in self._snapshots:
                marks[topic] = await self._snapshots[topic]()
        lists = {TABLES[topic]: topic for topic in topics if topic in TABLES}
        if lists:
            counted = await self._changes.tables(list(lists))
            marks |= {lists[table]: count for table, count in counted.items()}
        for kind, read in (("saga", self._changes.sagas), ("dead-letter", self._changes.dead_letters)):
            wanted = [UUID(one[2]) for topic in topics if (one := _ONE.fullmatch(topic)) and one[1] == kind]
            if wanted:
                marks |= {f"{kind}:{identity}": mark for identity, mark in (await read(wanted)).items()}
        return marks
