"""The bill of materials lists what is pinned, all of it and nothing else."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

from tests.support.servers import PROJECT


def written() -> dict[str, Any]:
    made = subprocess.run(
        (sys.executable, str(PROJECT / "tools/scripts/sbom.py")), check=True, capture_output=True, text=True
    )
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
