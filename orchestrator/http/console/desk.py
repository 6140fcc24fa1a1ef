"""What every page of the console shares: a session first, and errors as sentences."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

import structlog
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from contracts.limits import MAX_BODY_BYTES
from contracts.problems import ProblemError
from messaging.unit_of_work import StorageUnavailable
from orchestrator.codec import Unreadable
from orchestrator.http.access import Permission
from orchestrator.http.console.forms import form_of
from orchestrator.http.console.rendering import Renderer, redirect
from orchestrator.http.console.session import Session, Sessions, is_ours
from orchestrator.http.routing import DirectRoute
from orchestrator.jobs.operations import CountChanged
from orchestrator.operations import NotAllowed, NotFound, StaleVersion
from orchestrator.queries.paging import InvalidCursor

log = structlog.get_logger(__name__)

Page = Callable[[Request, Session], Awaitable[Response]]
Action = Callable[[Request, Session, dict[str, str]], Awaitable[Response]]

EXPIRED: Final = ProblemError(
    403, "stale_form", "This form is not from your present session. Nothing was done; please try once more."
)


@dataclass(frozen=True, slots=True)
class Tried:
    """A dry run, or an action that was refused; 200 where it would work."""

    status: int
    sentence: str
    reason: str


class Desk:
    """Serves pages to those who have signed in."""

    def __init__(self, sessions: Sessions, renderer: Renderer, now: Callable[[], datetime]) -> None:
        self.sessions = sessions
        self.now = now
        self._renderer = renderer

    def show(self, template: str, session: Session, *, status: int = 200, **values: Any) -> Response:
        """A page within the frame that all share."""
        return self._renderer.page(template, status, session=session, **values)

    def outside(self, template: str, *, status: int = 200, **values: Any) -> Response:
        """A page for somebody who has not signed in."""
        return self._renderer.page(template, status, session=None, **values)

    def page(self, path: str, endpoint: Page) -> APIRoute:
        """A route that shows something."""

        async def serve(request: Request) -> Response:
            session = None
            try:
                session = await self.sessions.of(request)
                if session is None:
                    return redirect(f"/console/login?next={quote(_address(request), safe='')}")
                return await endpoint(request, session)
            except Exception as error:
                return self.failed(session, error)

        return _route(path, serve, "GET")

    def action(self, path: str, endpoint: Action, permission: Permission = Permission.OPERATE) -> APIRoute:
        """A route that does something, for forms of our own pages alone, and for roles that go that far."""

        async def serve(request: Request) -> Response:
            session = None
            try:
                session = await self.sessions.of(request)
                if session is None:
                    return redirect("/console/login")
                form = await form_of(request)
                if not is_ours(session, form.pop("csrf", "")):
                    raise EXPIRED
                self.sessions.require(session, permission)
                return await endpoint(request, session, form)
            except Exception as error:
                return self.failed(session, error)

        return _route(path, serve, "POST")

    def open(self, path: str, endpoint: Callable[[Request], Awaitable[Response]], method: str) -> APIRoute:
        """A route for everybody."""
        return _route(path, endpoint, method)

    def failed(self, session: Session | None, error: Exception) -> Response:
        """The page that says why there is no other."""
        status, sentence = said(error)
        return self._renderer.page("error.html", status, session=session, code=status, sentence=sentence)


def said(error: Exception) -> tuple[int, str]:
    """An error as a status and a sentence; what nobody foresaw goes to the log."""
    match error:
        case ProblemError():
            return error.status, error.problem.detail
        case HTTPException() if error.status_code == 413:
            return 413, f"That was too much: a form may have {MAX_BODY_BYTES} bytes."
        case StaleVersion():
            return 412, (
                f"Somebody was faster: it is at version {error.current} now. "
                "Nothing was done. Please look at it as it stands, and decide again."
            )
        case CountChanged():
            return 412, (
                f"They are not as many as you have seen: {error}. "
                "Nothing was done. Please look at them as they stand, and decide again."
            )
        case NotAllowed():
            return 409, f"That is not allowed now: {error}.{_instead(error.allowed_actions)}"
        case Unreadable():
            return 409, f"What is stored of it cannot be read: {error}."
        case NotFound():
            return 404, "There is nothing of this id."
        case InvalidCursor():
            return 400, "This address belongs to no page of this list."
        case StorageUnavailable():
            return 503, "The database cannot be used just now. Please come back in a few seconds."
    log.error("a page of the console failed", exc_info=error)
    return 500, "Something went wrong here; the log says what."


def following(request: Request, cursor: str | None) -> str | None:
    """The address of the next page of a list; None on the last one."""
    return str(request.url.include_query_params(cursor=cursor).query) if cursor is not None else None


def filled_in(request: Request) -> Mapping[str, list[str]]:
    """What the filters in the address say, for the form that shows them."""
    return {name: request.query_params.getlist(name) for name in request.query_params}


def _instead(actions: tuple[str, ...]) -> str:
    return f" Allowed is: {', '.join(actions)}." if actions else ""


def _address(request: Request) -> str:
    return f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path


def _route(path: str, endpoint: Callable[[Request], Awaitable[Response]], method: str) -> APIRoute:
    return DirectRoute(path, endpoint, methods=[method], include_in_schema=False, response_class=Response)
