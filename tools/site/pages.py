"""The project's pages as pages of the site: where each one stands, and its links on from there.

On the site a link leads to a page of the site. Where it leads to a file of the source there is none on the
site, and the file's path is told instead.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Final

OUTSIDE: Final[Mapping[str, str]] = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "examples/enrolment/README.md": "examples/enrolment.md",
    "examples/gift_order/README.md": "examples/gift_order.md",
    "examples/participants/node/README.md": "examples/node.md",
}
"""Pages beside `docs/`, as far as they are there, and where they stand on the site."""

FOLDERS: Final[Mapping[str, str]] = {
    "docs/adr": "docs/adr/README.md",
    "docs/generated": "docs/generated/order-fulfillment.md",
    "examples/enrolment": "examples/enrolment/README.md",
    "examples/gift_order": "examples/gift_order/README.md",
    "examples/participants/node": "examples/participants/node/README.md",
}
"""Where a link to a folder leads."""

COPIED: Final = (".svg", ".png", ".json")
"""Other files of `docs/` that the site has too."""

_LINK: Final = re.compile(r"(?<!!)\[(?P<words>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<to>[^()\s]+)\)")
_FENCE: Final = re.compile(r"^(```|~~~)")
_ELSEWHERE: Final = re.compile(r"[a-z][a-z+.-]*:|#")


def places(project: Path) -> dict[str, str]:
    """Where every page and picture of the project stands on the site, by its path in the project."""
    docs = project / "docs"
    inside = [path for path in docs.rglob("*") if path.suffix in (".md", *COPIED)]
    found = {str(path.relative_to(project)): str(path.relative_to(docs)) for path in sorted(inside)}
    return found | {path: place for path, place in OUTSIDE.items() if (project / path).exists()}


def write_pages(project: Path, folder: Path) -> None:
    """Write every page below a folder, which is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    where = places(project)
    for path, place in where.items():
        to = folder / place
        to.parent.mkdir(parents=True, exist_ok=True)
        if to.suffix == ".md":
            to.write_text(on_site((project / path).read_text(), path, where))
        else:
            shutil.copy(project / path, to)


def on_site(text: str, path: str, where: Mapping[str, str]) -> str:
    """A page's text with its links as they are on the site.

    Args:
        path: of the page in the project.
        where: see `places`.
    """
    return "\n".join(_lines(text, path, where)) + "\n"


def _lines(text: str, path: str, where: Mapping[str, str]) -> Iterator[str]:
    in_code = False
    for line in text.splitlines():
        in_code ^= _FENCE.match(line.lstrip()) is not None
        yield line if in_code else _LINK.sub(lambda found: _link(found, path, where), line)


def _link(found: re.Match[str], path: str, where: Mapping[str, str]) -> str:
    words, to = found["words"], found["to"]
    if _ELSEWHERE.match(to):
        return found[0]
    target, _, anchor = to.partition("#")
    named = os.path.normpath(PurePosixPath(path).parent / target)
    place = where.get(FOLDERS.get(named, named))
    if place is None:
        return words if named in words else f"{words} (`{named}`)"
    here = PurePosixPath(where[path]).parent
    return f"[{words}]({os.path.relpath(place, here)}{'#' + anchor if anchor else ''})"
