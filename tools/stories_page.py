"""Writes the table of ``docs/stories.md`` from the stories themselves: `python -m tools.stories_page`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Final

from simulation.stories.story import DELIVERS, PAYS, Ending, Returned, Story
from simulation.stories.table import CHAPTERS

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = Path("docs/stories.md")
BEGIN: Final = "<!-- the table, written by `make documents` -->"
"""Everything behind this line is written from the code."""

_HEAD: Final = (
    "| story | what happens | ends | stock | money | parcels |",
    "| --- | --- | --- | --- | --- | --- |",
)


def rewritten(page: str) -> str:
    """The page with its table as it is now. Raises ValueError where there is no place for it."""
    head, mark, _ = page.partition(BEGIN)
    if not mark:
        raise ValueError(f"the page has no line {BEGIN}")
    return f"{head}{mark}\n" + "\n".join(_chapters()) + "\n"


def _chapters() -> Iterator[str]:
    for title, stories in CHAPTERS.items():
        yield from ("", f"## {title}", "", *_HEAD)
        yield from map(_row, stories)
        yield from ("", "Public events of these orders:", "")
        yield from _courses(stories)


def _row(story: Story) -> str:
    ending = story.ending
    cells = (
        story.name,
        "; ".join(_happens(story)),
        _ends(ending),
        ", ".join(f"{name} {level.before} → {level.after}" for name, level in ending.stock.items()) or "-",
        _money(ending),
        "; ".join(_pieces(parcel) for parcel in ending.parcels) or "-",
    )
    return f"| {' | '.join(cells)} |"


def _happens(story: Story) -> Iterator[str]:
    yield f"{_pieces(story.ordered)} ordered, {story.flow}"
    if story.payment_method != PAYS:
        yield f"`{story.payment_method}`"
    if story.postal_code != DELIVERS:
        yield f"to `{story.postal_code}`"
    yield from (f"with a {name}" for name in story.more)
    yield from map(str, story.acts)


def _pieces(pieces: Mapping[str, int]) -> str:
    return " + ".join(f"{count} {product}" for product, count in pieces.items())


def _ends(ending: Ending) -> str:
    said = ending.status
    if ending.failure not in (None, ending.status):
        said += f" (`{ending.failure}`)"
    return "; ".join((said, *(f"return {each.label}" for each in ending.returns)))


def _money(ending: Ending) -> str:
    money = ending.money
    parts = [f"{money.taken} taken"] * bool(money.taken) + [f"{money.back} back"] * bool(money.back)
    return ", ".join(parts) or "-"


def _courses(stories: tuple[Story, ...]) -> Iterator[str]:
    """Each row of events once, with how many stories have it."""
    rows = sorted(" ".join(events) for story in stories for events in _events(story))
    counted = [(row, sum(1 for _ in same)) for row, same in groupby(rows)]
    for row, count in sorted(counted, key=lambda each: (-each[1], each[0])):
        yield f"- {count} of them: {row}"


def _events(story: Story) -> Iterator[tuple[str, ...]]:
    returns: tuple[Returned, ...] = story.ending.returns
    yield story.ending.events
    yield from (each.events for each in returns)


def write_page(root: Path) -> Path:
    """Write the page anew; returns its path."""
    path = root / PAGE
    path.write_text(rewritten(path.read_text(encoding="utf-8")), encoding="utf-8")
    return path


if __name__ == "__main__":
    print(write_page(ROOT).relative_to(ROOT))
