"""Limits that keep the code a pleasure to read, and what must never stand in the repository."""

from __future__ import annotations

import ast
import re
from typing import Final

from tests.architecture.sources import PACKAGES, PROJECT, modules, tracked_files

LONGEST_FILE: Final = 450
LONGEST_FUNCTION: Final = 60
EMPTY_NAMES: Final = {"utils", "util", "helpers", "helper", "manager", "managers", "common", "misc"}
INDEX_ADDRESS: Final = re.compile(
    r"(?<!emit-)\b(?:extra-)?index-url[ =]+\S|-[-]trusted-host|https?://[^/\s]*(?:pypi|pythonhosted|npmjs)"
)
CODE: Final = (*PACKAGES, "tools")


def test_no_file_is_too_long() -> None:
    lengths = {path: len((PROJECT / path).read_text().splitlines()) for path, _ in modules(*CODE)}
    assert {str(path): length for path, length in lengths.items() if length > LONGEST_FILE} == {}


def test_no_function_is_too_long() -> None:
    """Revisions of a schema are left out: they are lists of columns."""
    found = [
        f"{path}:{node.lineno} {node.name}: {length} lines"
        for path, tree in modules(*CODE)
        if path.parent.name != "versions"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > LONGEST_FUNCTION
    ]
    assert found == []


def test_modules_are_named_by_what_they_are() -> None:
    assert [str(path) for path, _ in modules(*CODE) if set(path.with_suffix("").parts) & EMPTY_NAMES] == []


def test_pinned_packages_come_from_wherever_the_machine_gets_packages() -> None:
    for path in sorted((PROJECT / "tools/requirements").glob("*.txt")):
        text = path.read_text()
        pins = re.findall(r"^[a-z0-9]\S*==", text, flags=re.MULTILINE)
        assert pins
        assert len(pins) <= text.count("--hash=sha256:")
        assert "://" not in text


def test_no_package_index_is_named_in_the_repository() -> None:
    found = [
        f"{path.relative_to(PROJECT)}: {match[0]}"
        for path in tracked_files()
        if (match := INDEX_ADDRESS.search(path.read_text(errors="replace")))
    ]
    assert found == []
