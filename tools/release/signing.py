"""Signatures of a release's files: SSH's, which whoever has OpenSSH can check, without anybody's service."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tools.release.distributions import Unfit

NAMESPACE: Final = "oms-release"
"""Says what a signature is meant for: one that was made for something else proves nothing about a release."""


def signed(paths: Sequence[Path], key: Path) -> list[Path]:
    """Sign each file with a private key, or by the agent with its public one; the signatures, `FILE.sig`.

    Raises Unfit where the key cannot sign.
    """
    for path in paths:
        _signature(path).unlink(missing_ok=True)
    try:
        done = subprocess.run(
            ["ssh-keygen", "-q", "-Y", "sign", "-f", str(key), "-n", NAMESPACE, *map(str, paths)],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError:
        raise Unfit("signing needs ssh-keygen (Debian: apt-get install openssh-client)") from None
    signatures = [_signature(path) for path in paths]
    if done.returncode != 0 or not all(path.exists() for path in signatures):
        raise Unfit(f"cannot sign with {key}: {done.stderr.strip()}")
    return signatures


def _signature(path: Path) -> Path:
    return path.with_name(f"{path.name}.sig")
