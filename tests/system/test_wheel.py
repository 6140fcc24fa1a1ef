"""The wheel, installed beside a project that has packages of the same names as ours."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.support.servers import PROJECT
from tests.support.wheels import Environment, build_wheel, new_environment
from tools.release.distributions import Built, exported, troubles, version_of

OURS = ("contracts", "messaging", "migrations", "orchestrator", "participants", "simulation")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    made = new_environment(tmp_path_factory.mktemp("environment"))
    made.install(wheel)
    return made


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Somebody's project, whose packages are called as ours are in the checkout."""
    for name in OURS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("THEIRS = True\n")
    return tmp_path


def test_the_wheel_installs_one_package_that_is_typed(wheel: Path) -> None:
    names = [name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name]
    assert {name.partition("/")[0] for name in names} == {"oms"}
    assert "oms/py.typed" in names


def test_a_projects_own_packages_and_ours_are_not_in_each_others_way(
    environment: Environment, project: Path
) -> None:
    said = "; ".join(f"import {name}; assert {name}.THEIRS" for name in OURS)
    said += "; from oms.contracts.orders import Order; from oms import wiring, processes"
    said += "; assert Order.__module__ == 'oms.contracts.orders'"
    done = environment.run("python", "-c", said, within=project)
    assert done.returncode == 0, done.stderr


def test_every_module_of_the_wheel_can_be_imported_beside_them(
    environment: Environment, project: Path
) -> None:
    said = f"""
OURS = {OURS!r}
import importlib, pkgutil, sys, oms
for each in pkgutil.walk_packages(oms.__path__, "oms."):
    if "__main__" not in each.name and ".migrations.env" not in each.name:
        importlib.import_module(each.name)
print(sorted(name for name in sys.modules if name.partition(".")[0] in OURS))
"""
    done = environment.run("python", "-c", said, within=project)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_the_demo_runs_beside_them(environment: Environment, project: Path) -> None:
    done = environment.run("oms", "demo", within=project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "everything adds up" in done.stdout + done.stderr


def test_errors_for_people_stay_errors_for_people(environment: Environment, project: Path) -> None:
    done = environment.run("oms", "migrate", within=project, more={"OMS_DATABASE_URL": "nonsense"})
    assert done.returncode != 0
    assert "unexpected" not in done.stderr
    assert "OMS_DATABASE_URL" in done.stderr


def test_the_wheel_of_the_source_distribution_is_that_of_the_checkout(wheel: Path, tmp_path: Path) -> None:
    """Nothing that the wheel needs is missing where somebody builds it anew."""
    sources = exported(PROJECT, tmp_path / "sources")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=sources, check=True, capture_output=True)
    [packed] = tmp_path.glob("*.tar.gz")
    with tarfile.open(packed) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    [unpacked] = (tmp_path / "unpacked").iterdir()
    again = ["hatchling", "build", "--target", "wheel", "--directory", str(tmp_path / "again")]
    subprocess.run([sys.executable, "-m", *again], cwd=unpacked, check=True, capture_output=True)
    [rebuilt] = (tmp_path / "again").glob("*.whl")
    committed = {name for name in ZipFile(rebuilt).namelist() if not name.endswith("/RECORD")}
    assert committed <= set(ZipFile(wheel).namelist())
    assert "oms/orchestrator/http/console/templates/onward.html" in committed
    assert troubles(Built(packed, rebuilt), version_of(PROJECT)) == []
