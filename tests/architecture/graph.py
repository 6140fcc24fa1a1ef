"""The project's modules and who imports whom, wherever in a module the import stands."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from typing import Final

from tests.architecture.sources import PACKAGES, modules

Graph = Mapping[str, frozenset[str]]


@cache
def parsed() -> Mapping[str, ast.Module]:
    """Every module's syntax tree, by its full name; a package's own is under the package's name."""
    found = {}
    for path, tree in modules(*PACKAGES):
        name = ".".join(path.with_suffix("").parts)
        found[name.removesuffix(".__init__")] = tree
    return found


@cache
def imports() -> Graph:
    """What each module imports of the others. What a package gives on is asked of the package itself."""
    known = parsed()
    return {
        name: frozenset(other for other in _imported(tree, known) if other != name)
        for name, tree in known.items()
    }


def importers() -> Graph:
    """Who imports each module."""
    found: dict[str, set[str]] = {name: set() for name in imports()}
    for name, others in imports().items():
        for other in others:
            found[other].add(name)
    return {name: frozenset(those) for name, those in found.items()}


def circle(graph: Graph) -> list[str]:
    """Modules that import one another all round; nothing where there are none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[_CIRCLE])
    return []


_CIRCLE: Final = 1
"""Where `CycleError` says it."""


def _imported(tree: ast.Module, known: Mapping[str, ast.Module]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                part = f"{node.module}.{alias.name}"
                if part in known or node.module in known:
                    yield part if part in known else node.module
