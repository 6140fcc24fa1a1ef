"""Every error as problem details (RFC 9457): ours, the framework's, and those nobody foresaw."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

import structlog
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match

from contracts.limits import MAX_BODY_BYTES
from contracts.problems import PROBLEM_JSON, ProblemError, field_error, unprocessable
from messaging.unit_of_work import StorageUnavailable
from orchestrator.codec import Unreadable
from orchestrator.http.security import guarded_headers
from orchestrator.http.signals import definition_failed
from orchestrator.intake import NotStarted, Overloaded
from orchestrator.jobs.operations import CountChanged
from orchestrator.operations import NotAllowed, NotFound, StaleVersion, UnknownHere
from orchestrator.progress import TooManyWatches
from orchestrator.queries.feed import CursorGone, CursorUnknown, FeedUnordered
from orchestrator.queries.paging import InvalidCursor

log = structlog.get_logger(__name__)

RETRY_SOON: Final[Mapping[str, str]] = {"Retry-After": "1"}
RETRY_LATER: Final[Mapping[str, str]] = {"Retry-After": "5"}

_ASKED_AS: Final[Mapping[str, str]] = {"HEAD": "GET"}
"""What is answered as another method is (see `orchestrator.http.head`)."""

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

Handler = Callable[[Request, Any], Coroutine[Any, Any, Response]]


def respond(problem: ProblemError) -> Response:
    """The response that a problem is."""
    headers = {"Cache-Control": "no-store", **problem.headers}
    return Response(problem.body(), problem.status, headers, PROBLEM_JSON)


def _handler(problem_of: Callable[[Any], ProblemError]) -> Handler:
    async def handle(_: Request, error: Any) -> Response:
        return respond(problem_of(error))

    return handle


def _invalid_request(error: RequestValidationError) -> ProblemError:
    """What the framework found wrong in a query or a body."""
    found = error.errors()
    if any(each["type"] == "json_invalid" for each in found):
        return ProblemError(400, "malformed_json", "The body is not JSON in UTF-8.")
    return unprocessable(field_error(_without_body(each["loc"]), each["type"], each["msg"]) for each in found)


def _without_body(location: tuple[str | int, ...]) -> tuple[str | int, ...]:
    return location[1:] if location[:1] == ("body",) else location


def _not_allowed(error: NotAllowed) -> ProblemError:
    return ProblemError(409, error.code, f"{error}.", allowed_actions=error.allowed_actions)


def _unreadable(error: Unreadable) -> ProblemError:
    """Not 500: it is known what is wrong, and nothing but a repair of what is stored changes it (S25)."""
    return ProblemError(409, "unreadable", f"What is stored of it cannot be read: {error}.")


def _not_started(error: NotStarted) -> ProblemError:
    log.error("a definition failed on an input", problem=str(error), exc_info=error)
    return definition_failed(str(error))


def _stale(error: StaleVersion) -> ProblemError:
    return ProblemError(412, "stale_version", f"It has changed: {error}.", current_version=error.current)


def _count_changed(error: CountChanged) -> ProblemError:
    detail = f"Not as many as expected: {error}. Nothing was done."
    return ProblemError(412, "count_changed", detail, current_count=error.current)


_SAID: Final[Mapping[int, tuple[str, str]]] = {
    400: ("malformed_request", "The request cannot be read."),
    404: ("not_found", "There is nothing at this address."),
    405: ("method_not_allowed", "This address does not take this method."),
    413: ("body_too_large", f"A body may have {MAX_BODY_BYTES} bytes."),
}


async def _framework(request: Request, error: HTTPException) -> Response:
    """What the framework raises: its words may hold anything, so ours are sent."""
    code, detail = _SAID.get(error.status_code, ("refused", "The request is refused."))
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_allowed(request))
    return respond(ProblemError(error.status_code, code, detail, headers=headers))


def _allowed(request: Request) -> list[str]:
    """Every method that some route takes at this address; the framework names those of one route only."""
    return [method for method in METHODS if _takes(request, _ASKED_AS.get(method, method))]


def _takes(request: Request, method: str) -> bool:
    scope = {**request.scope, "method": method}
    return any(route.matches(scope)[0] is Match.FULL for route in request.app.router.routes)


async def _client_left(_: Request, __: ClientDisconnect) -> Response:
    return Response(status_code=400)  # nobody reads it


async def _unforeseen(request: Request, _: Exception) -> Response:
    """Answered outside of every middleware, so it brings its own headers."""
    headers = guarded_headers({}, request.url.scheme)
    detail = "Something went wrong here; the log says what."
    return respond(ProblemError(500, "internal_error", detail, headers=headers))


HANDLERS: Final[Mapping[int | type[Exception], Handler]] = {
    ProblemError: _handler(lambda error: error),
    HTTPException: _framework,
    RequestValidationError: _handler(_invalid_request),
    InvalidCursor: _handler(
        lambda _: ProblemError(400, "malformed_cursor", "This is no cursor of this list.")
    ),
    CursorGone: _handler(
        lambda _: ProblemError(
            410,
            "cursor_gone",
            "Some of what follows this cursor was pruned. Without a cursor, the feed begins with the oldest "
            "event that is kept.",
        )
    ),
    CursorUnknown: _handler(
        lambda _: ProblemError(
            410,
            "cursor_unknown",
            "There is no such event at this place: the database was restored or failed over since. Without a "
            "cursor, the feed begins with the oldest event that is kept; ids of events are what they were.",
        )
    ),
    FeedUnordered: _handler(
        lambda _: ProblemError(
            503,
            "feed_unordered",
            "The database was restored from another server's copy: `oms migrate` brings its events into "
            "order.",
            headers=RETRY_LATER,
        )
    ),
    NotFound: _handler(lambda _: ProblemError(404, "not_found", "There is nothing of this id.")),
    NotAllowed: _handler(_not_allowed),
    Unreadable: _handler(_unreadable),
    UnknownHere: _handler(lambda error: ProblemError(503, error.code, f"{error}.", headers=RETRY_SOON)),
    NotStarted: _handler(_not_started),
    StaleVersion: _handler(_stale),
    CountChanged: _handler(_count_changed),
    Overloaded: _handler(
        lambda _: ProblemError(429, "overloaded", "Too many submissions are waiting.", headers=RETRY_SOON)
    ),
    TooManyWatches: _handler(
        lambda _: ProblemError(503, "too_many_streams", "Too many streams are open.", headers=RETRY_LATER)
    ),
    StorageUnavailable: _handler(
        lambda _: ProblemError(
            503, "storage_unavailable", "The database cannot be used just now.", headers=RETRY_LATER
        )
    ),
    ClientDisconnect: _client_left,
    Exception: _unforeseen,
}
"""By type; a more special one goes first, whatever the order here."""
