"""The project's own source files, for tests that read them."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).parents[2]
PACKAGES: Final = (
    "contracts",
    "messaging",
    "orchestrator",
    "participants",
    "oms",
    "migrations",
    "simulation",
)


def modules(*folders: str) -> Iterator[tuple[Path, ast.Module]]:
    """Path (relative to the project) and syntax tree of every module below `folders`."""
    for folder in folders:
        for path in sorted((PROJECT / folder).rglob("*.py")):
            yield path.relative_to(PROJECT), ast.parse(path.read_text(), filename=str(path))


def tracked_files() -> list[Path]:
    """What git tracks, whoever owns the checkout."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    return [PROJECT / name for name in listed.split("\0") if name and (PROJECT / name).is_file()]
