"""What changed on the console: told once, to whom it concerns, by one look for everybody."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from orchestrator.http.console.news import News, TooManyPages


class Marks:
    """Marks that a test changes; counts how often they were read."""

    def __init__(self) -> None:
        self.of: dict[str, object] = {}
        self.asked: list[list[str]] = []

    async def __call__(self, topics: Collection[str]) -> dict[str, object]:
        self.asked.append(list(topics))
        return {topic: self.of[topic] for topic in topics if topic in self.of}


async def test_a_page_hears_of_what_it_shows_and_of_nothing_else() -> None:
    marks = Marks()
    marks.of = {"sagas": 1, "health": 1}
    news = News(marks)
    with news.watch(["sagas"]) as sagas, news.watch(["health"]) as health:
        await news.look_once()
        assert (await sagas.changed(0), await health.changed(0)) == ([], [])

        marks.of["sagas"] = 2
        await news.look_once()
        assert (await sagas.changed(1), await health.changed(0)) == (["sagas"], [])

        await news.look_once()
        assert await sagas.changed(0) == []


async def test_however_many_watch_there_is_one_look() -> None:
    marks = Marks()
    news = News(marks)
    with news.watch(["sagas"]), news.watch(["sagas"]), news.watch(["saga:1", "sagas"]):
        await news.look_once()
    assert marks.asked[-1] == ["saga:1", "sagas"]


async def test_what_vanishes_or_appears_has_changed() -> None:
    marks = Marks()
    news = News(marks)
    with news.watch(["dead-letter:1"]) as watch:
        await news.look_once()
        marks.of["dead-letter:1"] = "open"
        await news.look_once()
        assert await watch.changed(1) == ["dead-letter:1"]
        del marks.of["dead-letter:1"]
        await news.look_once()
        assert await watch.changed(1) == ["dead-letter:1"]


async def test_nobody_watches_for_ever_and_only_so_many_do() -> None:
    news = News(Marks(), watch_limit=1)
    with news.watch(["sagas"]), pytest.raises(TooManyPages), news.watch(["sagas"]):
        pass
    assert news.watching == 0
    with news.watch(["health"]):
        assert news.watching == 1
