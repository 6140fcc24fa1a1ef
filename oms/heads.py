"""The head of a request: what HTTP asks of it beyond what the parser sees, and offers to change the protocol.

The parser reads versions that never were, takes every transfer coding before `chunked` for none, and asks
for no host. A proxy before us might read such a head in another way, so it is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from oms.last_words import MALFORMED, NO_HOST, UNKNOWN_CODING, UNKNOWN_VERSION

Fields = list[tuple[bytes, bytes]]
"""Names in lower case, and values, in the order in which they came."""

_LATEST: Final = "1.1"
_OLD: Final = "1.0"


def refusal_of(version: str, fields: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """What to answer to a head that must not be used; None for one that may."""
    if version not in (_LATEST, _OLD):
        return UNKNOWN_VERSION
    hosts, codings = 0, []
    for name, value in fields:
        if name == b"host":
            hosts += 1
        elif name == b"transfer-encoding":
            codings.append(value.lower())
    if hosts > 1 or (hosts == 0 and version == _LATEST):
        return NO_HOST
    if codings and version == _OLD:  # it has no chunks: whoever forwarded this may have sent something else
        return MALFORMED
    return UNKNOWN_CODING if codings and codings != [b"chunked"] else None


def origin_form(target: bytes) -> bytes:
    """The path and query that a request's target in any other form is about (`http://host/path`, `*`)."""
    if target == b"*":
        return b"/*"
    parts = urlsplit(target)
    return (parts.path or b"/") + (b"?" + parts.query if parts.query else b"")


def without_offer(method: bytes, target: bytes, version: str, fields: Fields) -> bytes:
    """The same head on the wire, without the offer to speak another protocol after it."""
    lines = [name + b": " + value + b"\r\n" for name, value in fields if name != b"upgrade"]
    return b"".join([method, b" ", target, b" HTTP/", version.encode(), b"\r\n", *lines, b"\r\n"])
