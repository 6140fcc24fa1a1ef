"""Which parts of the console have changed: one look a second for everybody who watches, none for nobody.

However many pages are open, a process reads the marks of what they show once; a page hears of a change and
fetches what it shows.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

import structlog

from messaging.unit_of_work import StorageUnavailable

log = structlog.get_logger(__name__)

LOOK_S: Final = 1.0
"""Seconds between two looks."""

WATCH_LIMIT: Final = 500
"""Pages that one process keeps fresh at most."""

Look = Callable[[Collection[str]], Awaitable[Mapping[str, object]]]
"""The marks of topics; equal ones mean that nothing has changed. Raises StorageUnavailable."""


class TooManyPages(Exception):
    """This process keeps as many pages fresh as it may."""


@dataclass(eq=False, slots=True)
class PageWatch:
    """Somebody who looks at a page about some topics."""

    topics: frozenset[str]
    _changed: set[str] = field(default_factory=set)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def changed(self, timeout_s: float) -> list[str]:
        """The topics that have changed since the last call, waited for at most so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        self._news.clear()
        changed, self._changed = sorted(self._changed), set()
        return changed

    def tell(self, changed: frozenset[str]) -> None:
        """These topics have changed; those of others do not matter here."""
        self._changed |= changed & self.topics
        if self._changed:
            self._news.set()

    def wake(self) -> None:
        """Go on, whether anything has changed or not."""
        self._news.set()


class News:
    """Tells pages what has changed, as long as anybody watches."""

    def __init__(
        self, look: Look, stopping: Callable[[], bool] = lambda: False, watch_limit: int = WATCH_LIMIT
    ) -> None:
        """
        Args:
            stopping: whether the process is about to stop; whoever watches is woken then.
        """
        self._look = look
        self.stopping = stopping
        self._watch_limit = watch_limit
        self._watches: set[PageWatch] = set()
        self._topics: Counter[str] = Counter()
        self._marks: dict[str, object] = {}
        self._looking: asyncio.Task[None] | None = None

    @property
    def watching(self) -> int:
        """How many pages are kept fresh."""
        return len(self._watches)

    @property
    def full(self) -> bool:
        """Whether nobody else can watch."""
        return self.watching >= self._watch_limit

    @contextmanager
    def watch(self, topics: Collection[str]) -> Iterator[PageWatch]:
        """Hear of these topics from now on.

        Raises:
            TooManyPages: as many as may be are kept fresh already.
        """
        if self.full:
            raise TooManyPages(f"{self.watching} pages are kept fresh already")
        watch = PageWatch(frozenset(topics))
        self._watches.add(watch)
        self._topics.update(watch.topics)
        if self._looking is None:
            self._looking = asyncio.create_task(self._keep_looking(), name="console news")
        try:
            yield watch
        finally:
            self._forget(watch)

    async def look_once(self) -> None:
        """Read the marks of all that is watched, and tell whom it concerns. Raises StorageUnavailable."""
        asked = sorted(self._topics)
        found = await self._look(asked)
        marks = {topic: found.get(topic) for topic in asked}
        changed = {topic for topic, mark in marks.items() if self._marks.get(topic, mark) != mark}
        self._marks = marks
        for watch in self._watches if changed else ():
            watch.tell(frozenset(changed))

    async def _keep_looking(self) -> None:
        said = False
        while True:
            try:
                await self.look_once()
                said = False
            except StorageUnavailable as error:
                if not said:
                    log.warning("the console is not kept fresh until the database is back", error=str(error))
                said = True
            except Exception as error:
                log.error("a look for news failed", exc_info=error)
            for watch in self._watches if self.stopping() else ():
                watch.wake()
            await asyncio.sleep(LOOK_S)

    def _forget(self, watch: PageWatch) -> None:
        self._watches.remove(watch)
        self._topics -= Counter(watch.topics)
        if not self._watches and self._looking is not None:
            self._looking.cancel()
            self._looking = None
            self._marks.clear()
