"""What a client is told when its connection ends: problems as the whole of an answer on the wire."""

from __future__ import annotations

from typing import Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from contracts.problems import ProblemError
from orchestrator.http.problems import respond
from orchestrator.http.security import guarded_headers


def _encoded(status: int, code: str, detail: str) -> bytes:
    problem = ProblemError(status, code, detail, headers=guarded_headers({"Connection": "close"}, "http"))
    answer = respond(problem)
    lines = [name + b": " + value + b"\r\n" for name, value in answer.raw_headers]
    return b"".join([STATUS_LINE[status], *lines, b"\r\n", bytes(answer.body)])


MALFORMED: Final = _encoded(400, "malformed_request", "The request cannot be read.")
NO_HOST: Final = _encoded(400, "malformed_request", "The request must name its host, and once.")
TOO_SLOW: Final = _encoded(408, "too_slow", "The request did not come in time.")
TOO_LARGE: Final = _encoded(431, "head_too_large", "The request's head is too large.")
NO_TUNNEL: Final = _encoded(501, "method_not_implemented", "This server makes no tunnels.")
UNKNOWN_CODING: Final = _encoded(501, "coding_not_implemented", "Of transfer codings, chunked alone is read.")
UNKNOWN_VERSION: Final = _encoded(505, "version_not_supported", "This server speaks HTTP/1.1 and HTTP/1.0.")
