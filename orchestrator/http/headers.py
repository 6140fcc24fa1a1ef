"""Request headers that mean something here, checked one by one."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final
from urllib.request import parse_http_list

from starlette.datastructures import Headers

from contracts.problems import ProblemError

MAX_WAIT_S: Final = 30

KEY_PATTERN: Final = r'^([!#-~][!-~]{0,254}|"[!-~]{1,255}")$'
"""An idempotency key, bare or quoted."""

IF_MATCH_PATTERN: Final = r'^"([0-9]{1,9})(-[0-9a-f]{16})?"$'
"""An entity tag, as `entity_tag` makes it; those of earlier releases had the version alone."""

LAST_EVENT_ID_PATTERN: Final = r"^[0-9]{1,9}$"

_KEY: Final = re.compile(KEY_PATTERN)
_IF_MATCH: Final = re.compile(IF_MATCH_PATTERN)
_LAST_EVENT_ID: Final = re.compile(LAST_EVENT_ID_PATTERN)
_WAIT: Final = re.compile(r'wait\s*=\s*(?:"([0-9]+)"|([0-9]+))\s*(?:;.*)?\Z', re.IGNORECASE)
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\Z")


def idempotency_key(headers: Headers) -> str | None:
    """The key of a submission, without quotes (S14). Raises ProblemError (400) for a malformed one."""
    value = _only(headers, "Idempotency-Key")
    if value is None:
        return None
    if not _KEY.fullmatch(value):
        raise _malformed("Idempotency-Key", "It takes 1 to 255 visible ASCII characters, bare or in quotes.")
    return value[1:-1] if value[0] == '"' else value


def preferred_wait_s(headers: Headers) -> int | None:
    """Seconds that the client wants to wait for the end, `MAX_WAIT_S` at most; None when it does not.

    Raises:
        ProblemError: 400 when the number is none. Other preferences are not ours.
    """
    for value in headers.getlist("prefer"):
        for preference in parse_http_list(value):
            if preference.strip().partition("=")[0].strip().lower() != "wait":
                continue
            found = _WAIT.match(preference.strip())
            if found is None:
                raise _malformed("Prefer", "As in wait=10, with a whole number of seconds.")
            digits = (found[1] or found[2]).lstrip("0") or "0"
            return min(MAX_WAIT_S, int(digits[:9]))
    return None


def entity_tag(version: int, shown: bytes) -> str:
    """A tag that changes with whatever is shown: the version, by which `if_match` goes, and a digest.

    Not all of it has the version: that a saga was set aside, and what this process knows of its definition.
    """
    return f'"{version}-{sha256(shown).hexdigest()[:16]}"'


def if_match(headers: Headers) -> int | None:
    """The version that the client has seen. Raises ProblemError (400) for what is no ETag of ours."""
    value = _only(headers, "If-Match")
    if value is None:
        return None
    found = _IF_MATCH.fullmatch(value)
    if found is None:
        raise _malformed("If-Match", "It takes one entity tag as the ETag header gave it.")
    return int(found[1])


def if_none_match(headers: Headers) -> frozenset[str]:
    """Entity tags that the client has already, the weak ones like the others; what is none is passed over.

    A `*` stands among them as it is: it means any.
    """
    given = ",".join(headers.getlist("if-none-match"))
    return frozenset(tag.strip().removeprefix("W/") for tag in given.split(",") if tag.strip())


def last_event_id(headers: Headers) -> int:
    """The last event that the client has seen, 0 for none. Raises ProblemError (400) for a malformed one."""
    value = _only(headers, "Last-Event-ID")
    if value is None:
        return 0
    if not _LAST_EVENT_ID.fullmatch(value):
        raise _malformed("Last-Event-ID", "It takes the id of an event.")
    return int(value)


def last_event_cursor(headers: Headers) -> str | None:
    """The same where events are known by cursors, as it came. Raises ProblemError (400) for several."""
    return _only(headers, "Last-Event-ID")


def traceparent(headers: Headers) -> str | None:
    """The W3C trace context of the request; a malformed one counts as none, as its standard wants."""
    value = headers.get("traceparent")
    return value if value is not None and _TRACEPARENT.match(value) else None


def _only(headers: Headers, name: str) -> str | None:
    values = headers.getlist(name)
    if len(values) > 1:
        raise _malformed(name, "It is given more than once.")
    return values[0] if values else None


def _malformed(name: str, hint: str) -> ProblemError:
    return ProblemError(400, "malformed_header", f"{name} is malformed. {hint}")
