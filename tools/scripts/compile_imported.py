"""Compile what the services import, for an image in which nothing can be compiled later (`Dockerfile`).

Of the packages that a requirements file pins, only modules that some module of ours imports; every other
distribution (ours, a provider of somebody's own) whole. What is left out can still be imported, and is
compiled each time then.
"""

from __future__ import annotations

import importlib
import pkgutil
import py_compile
import re
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType

AT_WORK = ("anyio.streams.tls", "httpcore", "httpx", "pydantic.v1", "uvicorn.supervisors")
"""Imported by the packages themselves, once they are used."""


def main() -> None:
    """The one argument is the requirements file."""
    pinned = set(re.findall(r"^([a-z0-9._-]+)==", Path(sys.argv[1]).read_text(), re.MULTILINE))
    installed = list(metadata.distributions())
    import_all()
    files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    imported = {Path(file).resolve() for file in files if file}
    for each in installed:
        name = re.sub(r"[-_.]+", "-", each.name).lower()
        for file in each.files or ():
            path = Path(str(each.locate_file(file))).resolve()
            if path.suffix == ".py" and path.exists() and (name not in pinned or path in imported):
                py_compile.compile(
                    str(path), quiet=1, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
                )


def import_all() -> None:
    """Every module of ours; what cannot be imported is left out of this installation, or is run by a tool."""
    for name in (*AT_WORK, "oms"):
        for module in _below(importlib.import_module(name)):
            try:
                importlib.import_module(module)
            except (ImportError, AttributeError, SystemExit):
                continue


def _below(package: ModuleType) -> list[str]:
    path = getattr(package, "__path__", ())  # a module that is no package has none
    return [each.name for each in pkgutil.walk_packages(path, f"{package.__name__}.", lambda _: None)]


if __name__ == "__main__":
    main()
