"""What must not be published is noticed: names beside ours, missing types, files of somebody's machine."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path
from zipfile import ZipFile

import pytest

from tools.release.distributions import NEEDED, Built, Unfit, troubles
from tools.release.signing import signed

INFO = "oms_saga_orchestrator-1.2.3.dist-info"
GOOD_WHEEL = {
    "oms/__init__.py": "",
    "oms/py.typed": "",
    "oms/contracts/__init__.py": "",
    f"{INFO}/METADATA": "Metadata-Version: 2.4\nName: oms-saga-orchestrator\nVersion: 1.2.3\n",
    f"{INFO}/licenses/LICENSE": "MIT",
}


signs = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen (openssh-client)")


def a_release(folder: Path, wheel: dict[str, str], sources: tuple[str, ...] = NEEDED) -> Built:
    made = Built(folder / "s.tar.gz", folder / "w.whl")
    with ZipFile(made.wheel, "w") as archive:
        for name, text in wheel.items():
            archive.writestr(name, text)
    with tarfile.open(made.sdist, "w:gz") as packed:
        for name in sources:
            packed.addfile(tarfile.TarInfo(f"oms_saga_orchestrator-1.2.3/{name}"), io.BytesIO())
    return made


def test_a_good_release_has_no_trouble(tmp_path: Path) -> None:
    assert troubles(a_release(tmp_path, GOOD_WHEEL), "1.2.3") == []


@pytest.mark.parametrize(
    ("more", "less", "said"),
    [
        ({"contracts/__init__.py": ""}, "", "the wheel has contracts beside oms"),
        ({"tests/conftest.py": "", "tools/x.py": ""}, "", "the wheel has tests, tools beside oms"),
        ({"setup.py": ""}, "", "the wheel has setup.py beside oms"),
        ({}, "oms/py.typed", "the wheel has no py.typed, so its types are not seen"),
        ({}, f"{INFO}/licenses/LICENSE", "the wheel has no licence"),
        (
            {"oms/__pycache__/x.pyc": ""},
            "",
            "the wheel has oms/__pycache__/x.pyc, which belongs to one machine",
        ),
        ({f"{INFO}/METADATA": "Version: 1.2.4\n"}, "", "the wheel is of version 1.2.4, and not 1.2.3"),
    ],
)
def test_a_wheel_that_must_not_be_published_is_told(
    more: dict[str, str], less: str, said: str, tmp_path: Path
) -> None:
    wheel = {name: text for name, text in {**GOOD_WHEEL, **more}.items() if name != less}
    assert troubles(a_release(tmp_path, wheel), "1.2.3") == [said]


def test_sources_that_nobody_can_build_from_or_that_hold_secrets_are_told(tmp_path: Path) -> None:
    sources = (*(name for name in NEEDED if name != "hatch_build.py"), ".oms/admin-token")
    [lacks, has] = troubles(a_release(tmp_path, GOOD_WHEEL, sources), "1.2.3")
    assert lacks == "the source distribution lacks hatch_build.py"
    assert has.endswith("/.oms/admin-token, which belongs to one machine")


@signs
def test_a_signature_is_good_for_its_file_as_it_was_and_for_a_release_alone(tmp_path: Path) -> None:
    key, bill = tmp_path / "key", tmp_path / "sbom.cdx.json"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    (tmp_path / "allowed").write_text(f"releases@example.org {key.with_suffix('.pub').read_text()}")
    bill.write_text("{}")
    assert signed([bill], key) == signed([bill], key) == [tmp_path / "sbom.cdx.json.sig"]

    def good(namespace: str) -> bool:
        command = ["ssh-keygen", "-Y", "verify", "-f", "allowed", "-I", "releases@example.org"]
        options = ["-n", namespace, "-s", "sbom.cdx.json.sig"]
        with bill.open() as text:
            return subprocess.run([*command, *options], stdin=text, cwd=tmp_path, check=False).returncode == 0

    assert good("oms-release")
    assert not good("file")
    bill.write_text('{"components": []}')
    assert not good("oms-release")


@signs
def test_a_key_that_cannot_sign_ends_the_release_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("no key")
    (tmp_path / "key").chmod(0o600)
    (tmp_path / "sums").write_text("")
    with pytest.raises(Unfit, match=r"cannot sign with .*key: "):
        signed([tmp_path / "sums"], tmp_path / "key")
