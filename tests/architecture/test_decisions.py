"""The list of decisions has every page, and a page for every row."""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs/adr"


def test_every_decision_stands_in_the_list_once_in_order() -> None:
    listed = re.findall(r"^\| \[\d+\]\(([^)]+)\)", (FOLDER / "README.md").read_text(), re.MULTILINE)
    assert listed == sorted(path.name for path in FOLDER.glob("[0-9]*.md"))
