"""Puts all packages of the wheel beneath `oms`: nobody else's `contracts` or `migrations` is in the way.

In the checkout they stand side by side and import each other by their short names. In the wheel they are
`oms.contracts`, `oms.messaging` and so on: this hook writes copies of them in which every import says so.
An editable installation is the checkout itself and is left as it is. ADR 0025 says why.
"""

from __future__ import annotations

import ast
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HOUSE: Final = "oms"
MOVED: Final = ("contracts", "messaging", "orchestrator", "participants", "migrations", "simulation")
"""The packages that stand beside `oms` in the checkout and beneath it in the wheel."""

_LEFT_OUT: Final = ("__pycache__", "*.pyc")


class CustomBuildHook(BuildHookInterface[Any]):
    """The wheel's hook; hatchling finds it by this file's name."""

    _folder: Path | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Hand over the rewritten copies instead of the sources."""
        if version == "editable":
            return
        self._folder = Path(tempfile.mkdtemp(prefix="oms-wheel-"))
        write_beneath(Path(self.root), self._folder / HOUSE)
        build_data["force_include"][str(self._folder / HOUSE)] = HOUSE

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the copies."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def write_beneath(root: Path, house: Path) -> None:
    """Write every package of the checkout at ``root`` as it shall be beneath ``house``."""
    ignored = shutil.ignore_patterns(*_LEFT_OUT)
    shutil.copytree(root / HOUSE, house, ignore=ignored)
    for package in MOVED:
        shutil.copytree(root / package, house / package, ignore=ignored)
    for path in sorted(house.rglob("*.py")):
        path.write_text(moved(path.read_text(encoding="utf-8"), str(path)), encoding="utf-8")


def moved(source: str, name: str) -> str:
    """A module's source with its imports of `MOVED` packages as they are beneath `oms`.

    Raises:
        SyntaxError: an import that would bind another name there (``import contracts.orders``).
    """
    lines = source.split("\n")
    for line, column in _names_of_moved(ast.parse(source, name), name):
        text = lines[line].encode()
        lines[line] = (text[:column] + f"{HOUSE}.".encode() + text[column:]).decode()
    return "\n".join(lines)


def _names_of_moved(tree: ast.Module, name: str) -> Iterator[tuple[int, int]]:
    """Where the names of moved packages stand: line from 0, column in bytes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not node.level and _is_moved(node.module or ""):
            yield node.lineno - 1, node.col_offset + len("from ")
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if _is_moved(alias.name) and alias.asname is None:
                    words = f"`import {alias.name}` names another module in the wheel: use from … import"
                    raise SyntaxError(words, (name, node.lineno, node.col_offset + 1, None))
                if _is_moved(alias.name):
                    yield alias.lineno - 1, alias.col_offset


def _is_moved(module: str) -> bool:
    return module.partition(".")[0] in MOVED
