"""Where the browser tests get their Chromium from."""

from __future__ import annotations

from pathlib import Path

import pytest

from oms.embedded.child import ServerError
from tests.browser import chromium


def a_program(path: Path, says: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{says}\n")
    path.chmod(0o755)
    return path


def test_the_named_one_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = a_program(tmp_path / "mine", "echo Chromium 150")
    monkeypatch.setenv(chromium.VARIABLE, str(named))
    assert chromium.chromium() == named


def test_a_named_one_that_does_not_start_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(chromium.VARIABLE, str(tmp_path / "nothing"))
    with pytest.raises(ServerError, match=chromium.VARIABLE):
        chromium.chromium()


def test_a_stub_on_the_path_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(chromium.VARIABLE, raising=False)
    a_program(tmp_path / "chromium", "echo install it from elsewhere; exit 1")
    real = a_program(tmp_path / "google-chrome", "echo Google Chrome 150")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert chromium.chromium() == real


def test_where_nothing_is_to_be_had_one_line_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(chromium.VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(chromium, "PROJECT", tmp_path)
    with pytest.raises(ServerError) as caught:
        chromium.chromium()
    assert "\n" not in str(caught.value)
    assert chromium.VARIABLE in str(caught.value)


FAKE_APT_GET = """case "$1" in
install) echo 'Inst chromium (1 Debian)'; echo 'Inst libnss3 (1 Debian)'; echo 'Inst libc6 (1 Debian)' ;;
download) echo "$@" > asked; : > chromium_1.deb ;; esac"""


def test_packages_are_unpacked_once_with_the_libraries_that_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_program(tmp_path / "bin/apt-get", FAKE_APT_GET)
    a_program(tmp_path / "bin/apt-cache", "exit 0")
    keep = f'cp "$(dirname "$2")/asked" {tmp_path}/asked'
    unpack = f'{keep}; mkdir -p "$3/usr/lib/x-linux-gnu"'
    a_program(tmp_path / "bin/dpkg", unpack)
    monkeypatch.delenv(chromium.VARIABLE, raising=False)
    monkeypatch.setattr(chromium, "NAMES", ())
    monkeypatch.setattr(chromium, "PROJECT", tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")

    found = chromium.chromium()
    assert found == tmp_path / ".oms/servers/chromium/start"
    assert "usr/lib/x-linux-gnu" in found.read_text()
    assert (tmp_path / "asked").read_text().split()[2:] == ["chromium", "chromium-common", "libnss3"]
    assert chromium.chromium() == found
