"""Builds the release into dist/: wheel, source distribution, bill of materials, sums. Publishes nothing."""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tools.benchmarks.environment import PROJECT, Environment, NoEnvironment
from tools.release.distributions import Built, Unfit, built, exported, troubles, version_of
from tools.release.signing import signed
from tools.release.stranger import Stranger

DIST: Final = PROJECT / "dist"
BILL: Final = "sbom.cdx.json"
SUMS: Final = "SHA256SUMS"
TOOLS: Final = Environment("release")


def main() -> int:
    """Every step in order; 1 with a sentence at the first that fails."""
    key = _key()
    try:
        TOOLS.make()
        with tempfile.TemporaryDirectory(prefix="oms-release-") as folder:
            released(Path(folder), key)
    except (Unfit, NoEnvironment) as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    return 0


def _key() -> Path | None:
    parser = argparse.ArgumentParser(
        prog="python -m tools.release",
        description=__doc__,
        epilog='make release ARGS="--sign ~/.ssh/release"',
    )
    parser.add_argument(
        "--sign",
        metavar="KEY",
        type=Path,
        help="sign with this SSH key: FILE.sig beside the sums and the bill",
    )
    key: Path | None = parser.parse_args().sign
    if key is not None and not key.is_file():
        parser.error(f"--sign: there is no key {key}")
    return key


def released(folder: Path, key: Path | None) -> None:
    """Build, check, try out, and leave the files in dist/, signed where there is a key. Raises Unfit."""
    _say_what_is_left_out()
    sources = exported(PROJECT, folder / "sources")
    version = version_of(sources)
    print(f"release: building {version}", file=sys.stderr)
    made = built(TOOLS.python, sources, DIST)
    print("release: checking what was built", file=sys.stderr)
    _check(made, version)
    print("release: trying it out in an environment of its own", file=sys.stderr)
    stranger = Stranger(folder / "stranger")
    stranger.install(made.wheel, sources / "tools/requirements/runtime.txt")
    stranger.try_out()
    _write_beside(made)
    if key is None:
        print("release: not signed (--sign KEY)", file=sys.stderr)
    else:
        signed([DIST / BILL, DIST / SUMS], key)
    print(*(path.relative_to(PROJECT) for path in sorted(DIST.iterdir())), sep="\n")


def _check(made: Built, version: str) -> None:
    found = troubles(made, version)
    for command in (
        ["twine", "check", "--strict", str(made.wheel), str(made.sdist)],
        ["check_wheel_contents", "--config", str(PROJECT / "pyproject.toml"), str(made.wheel)],
    ):
        done = subprocess.run(
            [TOOLS.python, "-m", *command], capture_output=True, text=True, check=False, cwd=PROJECT
        )
        if done.returncode != 0:
            found.append(f"{command[0]}: {(done.stdout + done.stderr).strip()}")
    if found:
        raise Unfit("\n".join(found))


def _write_beside(made: Built) -> None:
    """The bill of materials, and the sums of everything."""
    bill = subprocess.run(
        [sys.executable, str(PROJECT / "tools/scripts/sbom.py")], capture_output=True, check=True
    )
    (DIST / BILL).write_bytes(bill.stdout)
    paths = [made.sdist, made.wheel, DIST / BILL]
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in paths]
    (DIST / SUMS).write_text("".join(sums))


def _say_what_is_left_out() -> None:
    status = subprocess.run(
        ["git", "status", "--porcelain"], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    if status.stdout:
        print("release: what is not committed is left out", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
