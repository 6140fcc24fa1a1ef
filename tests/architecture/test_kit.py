"""What people who extend import: documented, typed, and enough for the examples."""

from __future__ import annotations

import ast
import importlib
import inspect
import sys

import pytest

from tests.architecture.sources import PROJECT

MODULES = ("oms.kit", "oms.kit.migrations", "oms.kit.orders", "oms.kit.providers", "oms.kit.testing")
EXAMPLES = sorted(path.parent for path in (PROJECT / "examples").glob("*/pyproject.toml"))
ALSO = {"sqlalchemy", "pytest"}


@pytest.mark.parametrize("module", MODULES)
def test_everything_in_the_kit_is_documented(module: str) -> None:
    kit = importlib.import_module(module)
    assert kit.__doc__
    undocumented = [
        name
        for name in kit.__all__
        if inspect.isclass(value := getattr(kit, name)) or inspect.isfunction(value)
        if not value.__doc__
    ]
    assert undocumented == []


@pytest.mark.parametrize("module", MODULES)
def test_the_kit_promises_exactly_what_it_lists(module: str) -> None:
    kit = importlib.import_module(module)
    assert sorted(kit.__all__) == list(dict.fromkeys(sorted(kit.__all__)))
    assert all(hasattr(kit, name) for name in kit.__all__)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_imports_nothing_but_the_kit_and_sqlalchemy(example: object) -> None:
    found = []
    for path in sorted(example.rglob("*.py")):  # type: ignore[attr-defined]
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found += [f"{path.name}: {name}" for name in names if not _allowed(name, example.name)]  # type: ignore[attr-defined]
    assert found == []


def _allowed(name: str, package: str) -> bool:
    root = name.partition(".")[0]
    return name in MODULES or root in {package, *ALSO} or root in sys.stdlib_module_names


def test_there_are_examples() -> None:
    assert EXAMPLES


def test_a_participant_with_a_table_takes_at_most_40_lines() -> None:
    text = (PROJECT / "examples/enrolment/enrolment/registrar.py").read_text()
    assert len(text.splitlines()) <= 40
