"""What the admin routes share in the API's description."""

from __future__ import annotations

from typing import Final

from orchestrator.http.headers import IF_MATCH_PATTERN
from orchestrator.http.openapi import Responses, header, problems

_ALWAYS: Final = (401, 403, 500, 503)

LISTED: Final[Responses] = problems(400, 422, *_ALWAYS)
"""What can go wrong with a list."""

SEEN: Final[Responses] = problems(404, *_ALWAYS)
"""What can go wrong with a look at one thing."""

ACTED: Final[Responses] = problems(400, 404, 409, 412, 413, 415, 422, 428, *_ALWAYS)
"""What can go wrong with an action."""

ASSIGNED: Final[Responses] = problems(400, 409, 412, 413, 415, 422, *_ALWAYS)
"""What can go wrong with the beginning of a job."""

IF_MATCH: Final = header(
    "If-Match",
    "The version that was looked at, as the ETag gave it; or give `expected_version`",
    {"type": "string", "pattern": IF_MATCH_PATTERN},
)

IF_NONE_MATCH: Final = header(
    "If-None-Match",
    "Versions that are known already, as the ETag gave them: 304 when it is one of them still",
    {"type": "string"},
)

UNCHANGED: Final[Responses] = {304: {"description": "The version is the one that is known; nothing is sent"}}
