"""The pages of the project as they are written: their headings, links, blocks and words."""

from __future__ import annotations

import re
import subprocess
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]

_FENCED: Final = re.compile(r"^( *)```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_HEADING: Final = re.compile(r"^(#+) +(.+)$", re.MULTILINE)
_LINK: Final = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")
_FILE: Final = re.compile(r"# (\S+\.py)")
_CODE: Final = re.compile(r"`+([^`]+)`+")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page; `line` is where it begins."""

    page: str
    line: int
    language: str
    text: str

    @property
    def begins(self) -> str:
        """Its first line, without the remark: what it is known by where lines move."""
        return self.text.splitlines()[0].partition(" #")[0].rstrip()


class Page:
    """One page, by its path from the root of the project."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.text = (ROOT / name).read_text()
        self.blocks = [
            Block(name, self.text[: found.start()].count("\n") + 1, found[2], textwrap.dedent(found[3]))
            for found in _FENCED.finditer(self.text)
        ]
        self.prose = _FENCED.sub("", self.text)

    @property
    def files(self) -> dict[str, str]:
        """The Python files that it shows whole, by the names in their first lines, without those."""
        shown = (block.text.partition("\n") for block in self.blocks if block.language == "python")
        return {name[1]: text for first, _, text in shown if (name := _FILE.fullmatch(first))}

    @property
    def headings(self) -> list[tuple[int, str]]:
        """Level and words of each."""
        return [(len(marks), words.strip()) for marks, words in _HEADING.findall(self.prose)]

    @property
    def anchors(self) -> set[str]:
        """What a link can end in, as GitHub makes it of the headings."""
        made: dict[str, int] = {}
        for _, words in self.headings:
            shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", words).lower()
            slug = re.sub(r"[^\w\- ]", "", shown).replace(" ", "-")
            made[slug] = made.get(slug, -1) + 1
        return {
            f"{slug}-{number}" if number else slug
            for slug, last in made.items()
            for number in range(last + 1)
        }

    @property
    def links(self) -> list[str]:
        """Where its links and pictures lead; what is code leads nowhere."""
        text = re.sub(r"(?<!\[)`[^`\n]+`(?!\])", "", self.prose)
        return [markdown or html for markdown, html in _LINK.findall(text)]

    @property
    def code(self) -> list[str]:
        """Everything that is code within its sentences, a line each."""
        return [" ".join(found.split()) for found in _CODE.findall(self.prose)]


def pages() -> list[Page]:
    """Every page of the project."""
    return [Page(name) for name in own_files("*.md")]


def own_files(*patterns: str) -> list[str]:
    """The files of the project, by their paths, that are like one of the patterns; new ones too."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return sorted(name for name in set(listed.stdout.splitlines()) if (ROOT / name).exists())
