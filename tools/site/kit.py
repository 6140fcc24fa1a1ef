"""The reference of the kit: everything that its modules promise, from the docstrings."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from typing import Any, Final

MODULES: Final = ("oms.kit", "oms.kit.orders", "oms.kit.providers", "oms.kit.migrations", "oms.kit.testing")
OURS: Final = ("contracts", "messaging", "orchestrator", "participants", "oms", "migrations")


def kit_page() -> str:
    """The page, as `mkdocstrings` reads it."""
    parts = [
        f"## {name}\n\n{inspect.getdoc(module)}\n\n{chr(10).join(_entries(module))}"
        for name, module in _modules()
    ]
    return "\n\n".join(["# The kit", *parts]) + "\n"


def _modules() -> Iterator[tuple[str, Any]]:
    for name in MODULES:
        yield name, importlib.import_module(name)


def _entries(module: Any) -> Iterator[str]:
    """Each promised class and function by where it is defined; types and constants at the end."""
    rest = []
    for name in module.__all__:
        promised = getattr(module, name)
        home = getattr(promised, "__module__", "")
        if (inspect.isclass(promised) or inspect.isfunction(promised)) and home.partition(".")[0] in OURS:
            yield f"::: {home}.{promised.__qualname__}\n"
        else:
            rest.append(f"`{name}`")
    if rest:
        yield f"And {', '.join(rest)}.\n"
