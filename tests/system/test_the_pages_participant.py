"""The participant of docs/participants.md as its reader has it: in a package of its own, beside the wheel."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.pages import Page
from tests.support.wheels import Environment, build_wheel, new_environment

pytestmark = [pytest.mark.postgresql, pytest.mark.rabbitmq]

PAGE = Page("docs/participants.md")
PYPROJECT = """\
[project]
name = "shop-loyalty"
version = "1.0.0"

[project.entry-points."oms.participants"]
loyalty = "loyalty:loyalty"

[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[tool.hatch.build.targets.wheel]
include = ["loyalty.py", "revisions"]
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The page's files as a package."""
    folder = tmp_path / "shop"
    (folder / "revisions").mkdir(parents=True)
    for name in ("loyalty.py", "revisions/0001_members.py"):
        (folder / name).write_text(PAGE.files[name])
    (folder / "pyproject.toml").write_text(PYPROJECT)
    return folder


@pytest.fixture
def environment(tmp_path_factory: pytest.TempPathFactory, package: Path) -> Environment:
    made = new_environment(tmp_path_factory.mktemp("environment"))
    made.install(build_wheel(tmp_path_factory.mktemp("wheel")))
    made.install(package)
    return made


@pytest.fixture
def restart(environment: Environment, tmp_path: Path) -> Iterator[Path]:
    """A script that kills the participant, where it runs, and starts it again in the background."""
    pid, script, program = tmp_path / "pid", tmp_path / "restart.sh", environment.folder / "bin/oms"
    kill = f'if [ -f {pid} ]; then kill -9 "$(cat {pid})"; fi\n'
    script.write_text(f"{kill}{program} participant loyalty >{tmp_path}/log 2>&1 &\necho $! >{pid}\n")
    yield script
    subprocess.run(["sh", "-c", kill], check=True)


def test_it_conforms(
    environment: Environment, restart: Path, own_broker_url: str, database_url: str, tmp_path: Path
) -> None:
    more = {"OMS_DATABASE_URL": database_url, "OMS_BROKER_URL": own_broker_url}
    migrated = environment.run("oms", "migrate", within=tmp_path, more=more)
    assert migrated.returncode == 0, migrated.stderr
    [works] = (block.text for block in PAGE.blocks if block.text.startswith('{"works"'))
    (tmp_path / "loyalty.json").write_text(works)
    subprocess.run(["sh", str(restart)], env={"PATH": "/usr/bin:/bin", **more}, check=True)
    tried = environment.run(
        *("oms", "conformance", "loyalty", "--broker-url", own_broker_url, "--commands", "loyalty.json"),
        *("--restart", f"sh {restart}"),
        within=tmp_path,
        more=more,
    )
    assert tried.returncode == 0, tried.stdout + tried.stderr
    assert "loyalty conforms" in tried.stdout
