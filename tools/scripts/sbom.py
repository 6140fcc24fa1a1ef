"""Writes the software bill of materials as CycloneDX JSON: what is pinned for running the services.

Two runs on the same pins give the same text: no time and no random number is in it.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

PROJECT: Final = Path(__file__).parents[2]
_PIN: Final = re.compile(
    r"(?P<name>[\w.-]+)(?:\[[\w,-]+\])?==(?P<version>[\w.+!-]+)\s*(?:;\s*(?P<marker>[^\\]+))?"
)
_HASH: Final = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def components(requirements: str) -> list[dict[str, Any]]:
    """A component for each pinned package, with the hashes of the files by which it may be installed."""
    found: list[dict[str, Any]] = []
    for line in requirements.splitlines():
        if pin := _PIN.match(line):
            name, version = re.sub(r"[-_.]+", "-", pin["name"]).lower(), pin["version"]
            purl = f"pkg:pypi/{name}@{version.replace('+', '%2B')}"
            made: dict[str, Any] = {"type": "library", "bom-ref": purl, "name": name, "version": version}
            made |= {"purl": purl, "hashes": []}
            if pin["marker"]:
                made["properties"] = [{"name": "oms:only-where", "value": pin["marker"].strip()}]
            found.append(made)
        for digest in _HASH.findall(line):
            found[-1]["hashes"].append({"alg": "SHA-256", "content": digest})
    return found


def bill_of_materials() -> dict[str, Any]:
    """The whole document."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    name, version = project["name"], project["version"]
    itself = {"type": "application", "bom-ref": name, "name": name, "version": version}
    itself["licenses"] = [{"license": {"id": project["license"]}}]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": itself},
        "components": components((PROJECT / "tools/requirements/runtime.txt").read_text()),
    }


if __name__ == "__main__":
    json.dump(bill_of_materials(), sys.stdout, indent=2)
    sys.stdout.write("\n")
