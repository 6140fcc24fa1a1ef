"""Secrets that are given as files: ``OMS_X_FILE`` names one that holds what ``OMS_X`` would say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from oms.failures import Failure

SUFFIX: Final = "_FILE"
MAX_BYTES: Final = 65536
"""More than any URL or token; a folder, a device or a wrong file is noticed instead of read."""


class InvalidSecretFile(Failure):
    """A file of a secret cannot be used; the message names the variable, never what the file holds."""


def read_secrets(environment: Mapping[str, str], variables: Iterable[str]) -> dict[str, str]:
    """What the files hold that the environment names for any of ``variables``, by variable.

    White space around it, such as the line's end, is no part of a secret, nor is a mark of the byte order.

    Raises:
        InvalidSecretFile: a file cannot be read or is empty, or the variable itself is given too.
    """
    given = {name: environment.get(name + SUFFIX) for name in variables}
    return {name: _read(name, Path(path), environment) for name, path in given.items() if path}


def _read(name: str, path: Path, environment: Mapping[str, str]) -> str:
    variable = name + SUFFIX
    if environment.get(name):
        raise InvalidSecretFile(f"{name} and {variable} are both set: take one away")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        secret = content.decode("utf-8-sig").strip()
    except OSError as error:
        raise InvalidSecretFile(f"{variable}: {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidSecretFile(f"{variable}: {path} is no text in UTF-8") from None
    if not secret or len(content) > MAX_BYTES:
        raise InvalidSecretFile(f"{variable}: {path} must hold 1 to {MAX_BYTES} bytes of text")
    return secret
