"""Whose certificates are believed: the authorities of the system, and those that the environment adds."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import certifi

FILE: Final = "SSL_CERT_FILE"
"""Names a file of authorities in PEM."""

FOLDER: Final = "SSL_CERT_DIR"
"""Names folders of authorities, named as `openssl rehash` does, with colons between."""

_UNKNOWN_AUTHORITY: Final = (18, 19, 20, 21)
"""What OpenSSL says of a chain that ends with nobody it knows."""


class UnusableAuthorities(ValueError):
    """`FILE` or `FOLDER` name something that cannot be used; the message says which and why."""


def trusting() -> ssl.SSLContext:
    """What verifies certificates and host names of those that are called.

    OpenSSL reads the variables by itself, and says nothing when there is nothing where they point: so they
    are looked at first. Where the system keeps no authorities, those of the web browsers are taken.

    Raises:
        UnusableAuthorities: what the environment names cannot be used.
    """
    _check_file(os.environ.get(FILE))
    _check_folders(os.environ.get(FOLDER))
    context = ssl.create_default_context()
    if not _system_has_authorities():
        context.load_verify_locations(certifi.where())
    return context


def untrusted(error: BaseException, host: str) -> str | None:
    """Why ``host`` is not believed, and what helps, where that is what an error comes from; else None."""
    for cause in reversed(list(_causes(error))):  # the root first: what wraps it says less
        if isinstance(cause, ssl.SSLCertVerificationError):
            said = f"the certificate of {host} is not trusted ({cause.verify_message.rstrip('.')})"
            helps = f": name its authority in {FILE}"
            return said + helps if cause.verify_code in _UNKNOWN_AUTHORITY else said
        if isinstance(cause, ssl.SSLError):
            return f"{host} does not speak TLS as expected ({cause.reason or 'no reason given'})"
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__context__ if cause.__cause__ is None else cause.__cause__


def _check_file(path: str | None) -> None:
    if not path:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        raise UnusableAuthorities(f"{FILE}: {path} holds no certificates in PEM") from None
    except OSError as error:
        raise UnusableAuthorities(f"{FILE}: {path} cannot be read: {error.strerror}") from None


def _check_folders(paths: str | None) -> None:
    for path in filter(None, (paths or "").split(os.pathsep)):
        if not Path(path).is_dir():
            raise UnusableAuthorities(f"{FOLDER}: {path} is no folder")


def _system_has_authorities() -> bool:
    paths = ssl.get_default_verify_paths()
    return bool(paths.cafile) or (bool(paths.capath) and any(Path(paths.capath).iterdir()))
