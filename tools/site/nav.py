"""The site's settings, with the pages that are there."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

SETTINGS: Final = Path(__file__).with_name("mkdocs.yml")


def settings_text(pages: Path, site: Path, version: str) -> str:
    """What `mkdocs` reads.

    Args:
        pages: the folder of the pages.
        site: where the site is written to.
    """
    text, _, nav = SETTINGS.read_text().partition("\nnav:\n")
    sections = yaml.safe_load(nav)
    found = [{title: _there(pages, names)} for section in sections for title, names in section.items()]
    more = {
        "nav": found,
        "docs_dir": str(pages),
        "site_dir": str(site),
        "extra": {"version": {"provider": "mike"}, "generator": False},
        "copyright": f"Version {version}",
    }
    return f"{text}\n{yaml.safe_dump(more, sort_keys=False)}"


def _there(pages: Path, names: list[str]) -> list[Any]:
    found: list[Any] = []
    for name in names:
        if (pages / name).is_dir():
            inside = sorted(path.name for path in (pages / name).glob("*.md"))
            found.append({"Decisions": [f"{name}/{page}" for page in inside]})
        elif (pages / name).is_file():
            found.append(name)
    return found
