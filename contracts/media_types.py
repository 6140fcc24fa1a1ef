"""What a request says of its body's kind, read as HTTP means it (RFC 9110, 8.3 and 8.4)."""

from __future__ import annotations

from email.message import Message
from functools import lru_cache
from typing import Final, Protocol

from contracts.problems import ProblemError

JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"

_UTF_8: Final = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
"""Names of UTF-8, and of the part of it that it began with."""


class Fields(Protocol):
    """The fields of a request's head."""

    def getlist(self, key: str, /) -> list[str]:
        """All values of a field, whatever the case of its name."""


def require(media_type: str, fields: Fields) -> None:
    """Check that a body is what its reader takes, in UTF-8 and not compressed.

    Upper and lower case are the same, parameters other than `charset` are passed over, and that one may be in
    quotes; the coding `identity` is none.

    Raises:
        ProblemError: 415.
    """
    codings = ",".join(fields.getlist("content-encoding")).lower().split(",")
    if any(coding.strip() not in ("", "identity") for coding in codings):
        detail = "The body must come without a Content-Encoding."
        raise ProblemError(415, "unsupported_media_type", detail, headers={"Accept-Encoding": "identity"})
    if not _is(media_type, ", ".join(fields.getlist("content-type"))):
        raise ProblemError(415, "unsupported_media_type", f"The body must be {media_type} in UTF-8.")


@lru_cache(maxsize=64)
def _is(media_type: str, given: str) -> bool:
    said = Message()
    said["Content-Type"] = given
    charset = said.get_param("charset", "utf-8")
    return said.get_content_type() == media_type and isinstance(charset, str) and charset.lower() in _UTF_8
