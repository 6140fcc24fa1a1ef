"""Errors of every HTTP face, as problem details (RFC 9457) that never echo what was sent."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

PROBLEM_JSON: Final = "application/problem+json"

MAX_ERRORS: Final = 50
"""Wrong fields that one problem lists at most."""

M = TypeVar("M", bound=BaseModel)


class FieldError(BaseModel):
    """One wrong field of a request."""

    model_config = ConfigDict(frozen=True)

    pointer: str = Field(description="JSON pointer (RFC 6901) to the field")
    code: str = Field(description="What is wrong, for programs")
    detail: str = Field(description="What is wrong, for people")


class Problem(BaseModel):
    """A request that had no success. Some problems carry more members than these."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: str = "about:blank"
    title: str
    status: int
    code: str = Field(description="What went wrong, for programs")
    detail: str = Field(description="What went wrong, for people")
    errors: tuple[FieldError, ...] | None = None
    allowed_actions: tuple[str, ...] | None = Field(None, description="What is allowed now instead")


class ProblemError(Exception):
    """Ends a request with a problem.

    Attributes:
        headers: further headers of the response.
        problem: the body of the response.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        """
        Args:
            members: further members of the problem, such as ``errors`` or ``allowed_actions``.
        """
        super().__init__(detail)
        self.headers: Mapping[str, str] = headers or {}
        title = HTTPStatus(status).phrase
        self.problem = Problem(title=title, status=status, code=code, detail=detail, **members)

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.problem.status

    def body(self) -> bytes:
        """The problem as `PROBLEM_JSON`."""
        return self.problem.model_dump_json(exclude_none=True).encode()


def parsed(model: type[M], body: bytes) -> M:
    """A validated JSON body.

    Raises:
        ProblemError: 400 when it is not JSON, 422 naming every field that is not as it must be.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise invalid(error) from None


def invalid(error: ValidationError) -> ProblemError:
    """The problem of a body that does not validate."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    if any(each["type"] == "json_invalid" for each in found):
        return ProblemError(400, "malformed_json", "The body is not JSON in UTF-8.")
    return unprocessable(field_error(each["loc"], each["type"], each["msg"]) for each in found)


def unprocessable(errors: Iterable[FieldError]) -> ProblemError:
    """422 with one entry a wrong field."""
    listed = tuple(errors)[:MAX_ERRORS]
    return ProblemError(422, "invalid", "Some fields are not as they must be.", errors=listed)


def field_error(location: Iterable[str | int], code: str, message: str) -> FieldError:
    """One entry of a 422. An unknown field is named only where its name is a plain one."""
    parts = [str(part) for part in location]
    if code == "extra_forbidden" and parts and not _PLAIN_NAME.match(parts[-1]):
        parts.pop()
    detail = _SAID_WITHOUT_INPUT.get(code, message).removeprefix("Value error, ")
    return FieldError(pointer=pointer(parts), code=code, detail=detail)


def pointer(parts: Iterable[str]) -> str:
    """A JSON pointer (RFC 6901): ``pointer(["lines", "0"]) == "/lines/0"``."""
    return "".join(f"/{part.replace('~', '~0').replace('/', '~1')}" for part in parts)


_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9_.~/-]{1,64}\Z")

_SAID_WITHOUT_INPUT: Final = {
    "uuid_parsing": "Input should be a UUID",
    "extra_forbidden": "This field is not known here",
}
"""Messages of the validator that would repeat a piece of the input, or that nobody understands."""
