"""Imports run one way: oms → orchestrator | participants → messaging → contracts."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from typing import Final

import pytest

from tests.architecture.sources import PACKAGES, modules

MAY_IMPORT: Final[dict[str, set[str]]] = {
    "contracts": set(),
    "messaging": {"contracts"},
    "orchestrator": {"contracts", "messaging"},
    "participants": {"contracts", "messaging"},
    "migrations": {"contracts", "messaging", "orchestrator", "participants"},
    "simulation": {"contracts", "messaging", "orchestrator", "participants", "migrations"},
    "oms": set(PACKAGES),
}


def imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that a module imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, node.module or ""


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_what_lies_below_it(package: str) -> None:
    forbidden = set(PACKAGES) - MAY_IMPORT[package] - {package}
    found = [
        f"{path}:{line} imports {name}"
        for path, tree in modules(package)
        for line, name in imports(tree)
        if name.split(".")[0] in forbidden
    ]
    assert found == []


def test_tools_take_nothing_of_the_tests_but_the_services_that_those_start() -> None:
    found = [
        f"{path}:{line} imports {name}"
        for path, tree in modules("tools")
        for line, name in imports(tree)
        if name.split(".")[0] == "tests" and name.split(".")[1] != "system"
    ]
    assert found == []


def test_the_core_imports_contracts_and_the_standard_library_only() -> None:
    own = ("contracts", "orchestrator.core")
    found = [
        f"{path}:{line} imports {name}"
        for path, tree in modules("orchestrator/core")
        for line, name in imports(tree)
        if name.split(".")[0] not in sys.stdlib_module_names
        and not any(name == allowed or name.startswith(f"{allowed}.") for allowed in own)
    ]
    assert found == []


def test_the_core_has_no_clock_no_chance_no_network_and_no_event_loop() -> None:
    impure = {"asyncio", "http", "os", "random", "secrets", "socket", "subprocess", "threading", "time"}
    found = [
        f"{path}:{line} imports {name}"
        for path, tree in modules("orchestrator/core")
        for line, name in imports(tree)
        if name.split(".")[0] in impure
    ]
    assert found == []


def test_the_core_is_told_the_time_and_ids() -> None:
    sources = {"now", "utcnow", "today", "uuid1", "uuid4", "uuid6", "uuid7"}
    found = [
        f"{path}:{node.lineno} calls {name}"
        for path, tree in modules("orchestrator/core")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and (name := getattr(node.func, "attr", getattr(node.func, "id", ""))) in sources
    ]
    assert found == []


def test_nothing_that_is_shipped_imports_tests_or_benchmarks() -> None:
    found = [
        f"{path}:{line} imports {name}"
        for path, tree in modules(*PACKAGES)
        for line, name in imports(tree)
        if name.split(".")[0] in {"tests", "tools", "pytest", "hypothesis"}
    ]
    assert found == []
