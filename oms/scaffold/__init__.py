"""Writes the beginning of an extension: a small package that can be installed, with its tests."""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from pathlib import Path
from string import Template
from typing import Final

from oms.failures import Failure
from participants.kit.participant import RESERVED

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_LONGEST: Final = 40
_SUFFIX: Final = ".txt"
_PACKAGE: Final = "package"
"""The folder that is called after the saga."""


def write_saga(name: str, folder: Path) -> list[Path]:
    """Write a package with a saga and a participant of this name into a folder, which is made.

    Returns:
        The files written.

    Raises:
        Failure: the name cannot be one, or the folder is there already.
    """
    _check(name)
    if folder.exists():
        raise Failure(f"{folder} is there already")
    words = {
        "name": name,
        "Name": "".join(word.capitalize() for word in name.split("_")),
        "distribution": f"oms-{name.replace('_', '-')}",
    }
    written = []
    for place, text in _templates(files(__name__) / "saga", Path()):
        path = folder / Path(*(name if part == _PACKAGE else part for part in place.parts))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(Template(text).substitute(words), encoding="utf-8")
        written.append(path)
    return written


def _templates(folder: Traversable, place: Path) -> Iterator[tuple[Path, str]]:
    for each in sorted(folder.iterdir(), key=lambda found: found.name):
        if each.is_dir():
            yield from _templates(each, place / each.name)
        else:
            yield place / each.name.removesuffix(_SUFFIX), each.read_text(encoding="utf-8")


def _check(name: str) -> None:
    if _NAME.fullmatch(name) is None or len(name) > _LONGEST:
        raise Failure(
            f"{name!r} is no name: small letters and digits, words with _ between, at most {_LONGEST}"
        )
    taken = {*RESERVED, *sys.stdlib_module_names, "oms", "tests"}
    if name in taken or keyword.iskeyword(name) or name.startswith("pg_") or find_spec(name) is not None:
        raise Failure(f"the name {name!r} is taken: it would be a package, a participant and a schema")
