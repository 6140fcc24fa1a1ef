"""Errors of the sandbox as problem details (RFC 9457), which never echo what was sent."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from pydantic import ValidationError

from participants.exchange import Reply


class Problem(Exception):
    """A request that gets no success: status, machine-readable ``code`` and a sentence for a person."""

    def __init__(
        self, status: int, code: str, detail: str, *, kind: str = "about:blank", **members: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self._body = {
            "type": kind,
            "title": HTTPStatus(status).phrase,
            "status": status,
            "code": code,
            "detail": detail,
            **members,
        }

    @property
    def reply(self) -> Reply:
        """The problem as it is sent."""
        return Reply(self.status, self._body)


def invalid(error: ValidationError) -> Problem:
    """400 for what is no JSON, 422 with one entry per wrong field otherwise."""
    details = error.errors(include_url=False, include_input=False, include_context=False)
    if any(detail["type"] == "json_invalid" for detail in details):
        return Problem(400, "malformed_json", "The body is not JSON.")
    errors = [
        {"pointer": _pointer(detail["loc"]), "code": detail["type"], "detail": detail["msg"]}
        for detail in details
    ]
    return Problem(422, "invalid", "Some fields are not as they must be.", errors=errors)


def _pointer(location: tuple[int | str, ...]) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in location)
