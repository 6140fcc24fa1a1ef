"""The bill of materials lists what is pinned, all of it and nothing else."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import distributions
from typing import Any

from tests.support.servers import PROJECT


def written(*arguments: str) -> dict[str, Any]:
    argv = (sys.executable, str(PROJECT / "tools/scripts/sbom.py"), *arguments)
    made = subprocess.run(argv, check=True, capture_output=True, text=True)
    document: dict[str, Any] = json.loads(made.stdout)
    return document


def test_it_lists_exactly_the_pinned_packages_with_their_hashes() -> None:
    pins = (PROJECT / "tools/requirements/runtime.txt").read_text()
    pinned = {line.split()[0] for line in pins.splitlines() if line and line[0] not in " #-"}

    document = written()

    listed = {f"{each['name']}=={each['version']}" for each in document["components"]}
    assert listed == {re.sub(r"\[.*\]", "", pin) for pin in pinned}
    assert len(document["components"]) == len(listed)
    assert all(each["hashes"] for each in document["components"])
    hashes = [each["content"] for component in document["components"] for each in component["hashes"]]
    assert len(hashes) == pins.count("--hash=sha256:")


def test_it_names_no_place_on_the_network() -> None:
    assert "://" not in json.dumps(written())


def test_of_an_installation_it_lists_what_is_there_with_the_hashes_of_the_pins() -> None:
    document = written("--installed", "dev")

    found = {each["name"]: each for each in document["components"] if each["purl"].startswith("pkg:pypi/")}
    present = {re.sub(r"[-_.]+", "-", each.name).lower(): each.version for each in distributions()}
    present.pop("oms-saga-orchestrator")
    assert {name: each["version"] for name, each in found.items()} == present
    pinned = (PROJECT / "tools/requirements/dev.txt").read_text()
    for name, each in found.items():
        assert ("hashes" in each) == (f"{name}==" in pinned)
    kinds = {each["purl"].partition("@")[0] for each in document["components"]}
    assert "pkg:generic/python" in kinds
