"""Writes the software bill of materials as CycloneDX JSON: what is pinned for running the services.

With `--installed NAME`, as the image is built, it is what this Python really has, with the hashes that
tools/requirements/NAME.txt pins; what was installed beside that; Python; and the packages of the system.
Two runs on the same give the same text: no time and no random number is in it.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import sys
import tomllib
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

PROJECT: Final = Path(__file__).parents[2]
_PIN: Final = re.compile(
    r"(?P<name>[\w.-]+)(?:\[[\w,-]+\])?==(?P<version>[\w.+!-]+)\s*(?:;\s*(?P<marker>[^\\]+))?"
)
_FIELD: Final = re.compile(r"^(Package|Version|Status): (.*)$", re.MULTILINE)
_HASH: Final = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def components(requirements: str) -> list[dict[str, Any]]:
    """A component for each pinned package, with the hashes of the files by which it may be installed."""
    found: list[dict[str, Any]] = []
    for line in requirements.splitlines():
        if pin := _PIN.match(line):
            made: dict[str, Any] = {**_library("pypi", _normal(pin["name"]), pin["version"]), "hashes": []}
            if pin["marker"]:
                made["properties"] = [{"name": "oms:only-where", "value": pin["marker"].strip()}]
            found.append(made)
        for digest in _HASH.findall(line):
            found[-1]["hashes"].append({"alg": "SHA-256", "content": digest})
    return found


def installed(requirements: str, system: Path) -> list[dict[str, Any]]:
    """A component for each package that this Python has, for itself, and for each of the system's packages.

    Args:
        system: where dpkg keeps its list; a system that has none adds nothing.
    """
    pinned = {component["name"]: component for component in components(requirements)}
    present = {_normal(each.metadata["Name"]): each.version for each in distributions()}
    present.pop(_project()["name"], None)
    packages = [
        pinned[name] if name in pinned else _library("pypi", name, version)
        for name, version in sorted(present.items())
    ]
    listed = system.read_text(encoding="utf-8") if system.exists() else ""
    return [*packages, _library("generic", "python", platform.python_version()), *_of_dpkg(listed)]


def _of_dpkg(listed: str) -> list[dict[str, Any]]:
    paragraphs = [dict(_FIELD.findall(paragraph)) for paragraph in listed.split("\n\n")]
    return [
        _library("deb/debian", each["Package"], each["Version"])
        for each in sorted(paragraphs, key=lambda each: each.get("Package", ""))
        if each.get("Status") == "install ok installed"
    ]


def _library(kind: str, name: str, version: str) -> dict[str, Any]:
    purl = f"pkg:{kind}/{quote(name)}@{quote(version)}"
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _project() -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    return project


def bill_of_materials(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """The whole document."""
    project = _project()
    name, version = project["name"], project["version"]
    itself = {"type": "application", "bom-ref": name, "name": name, "version": version}
    itself["licenses"] = [{"license": {"id": project["license"]}}]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": itself},
        "components": parts,
    }


def main() -> None:
    """Print the bill."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--installed", metavar="NAME", help="what is installed of tools/requirements/NAME.txt"
    )
    name = parser.parse_args().installed
    requirements = (PROJECT / f"tools/requirements/{name or 'runtime'}.txt").read_text()
    parts = installed(requirements, Path("/var/lib/dpkg/status")) if name else components(requirements)
    json.dump(bill_of_materials(parts), sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
