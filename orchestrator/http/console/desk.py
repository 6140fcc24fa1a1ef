"""What every page of the console shares: a session first, and errors as sentences."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
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
from orchestrator.http.console.door import Door, refuse_foreign
from orchestrator.http.console.forms import form_of
from orchestrator.http.console.notes import Notes
from orchestrator.http.console.rendering import Renderer, redirect
from orchestrator.http.console.session import Session, Sessions, is_ours
from orchestrator.http.routing import DirectRoute
from orchestrator.jobs.operations import CountChanged
from orchestrator.operations import NotAllowed, NotFound, StaleVersion
from orchestrator.queries.paging import InvalidCursor

log = structlog.get_logger(__name__)

Page = Callable[[Request, Session], Awaitable[Response]]
Action = Callable[[Request, Session, dict[str, str]], Awaitable[Response]]

_NOT_TYPED: Final = ("csrf", "token")
"""Fields of a form that nobody has filled in to say something by it."""


@dataclass(frozen=True, slots=True)
class Tried:
    """A dry run, or an action that was not done: 200 where it would work, or waits for a word.

    Attributes:
        action: the last part of the address that the form was sent to.
        form: what was filled in.
    """

    status: int
    sentence: str
    action: str
    form: Mapping[str, str]

    def typed(self, field: str, *actions: str) -> str:
        """What was filled into the form of these actions."""
        return self.form.get(field, "") if self.action in actions else ""


Again = Callable[[Request, Session, Tried], Awaitable[Response]]
"""Shows the page that a form was on, with what was filled in and why nothing was done."""


class Desk:
    """Serves pages to those who have signed in."""

    def __init__(
        self,
        sessions: Sessions,
        renderer: Renderer,
        now: Callable[[], datetime],
        provider: str | None = None,
    ) -> None:
        """
        Args:
            provider: what people know the provider by at which they may sign in; None where there is none.
        """
        self._provider = provider
        self.sessions = sessions
        self.door = Door(sessions)
        self.notes = Notes(sessions)
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
                response = await endpoint(request, session)
                self.notes.take_away(request, response, session)
                return response
            except Exception as error:
                return self.failed(session, error)

        return _route(path, serve, "GET")

    def action(
        self, path: str, act: Action, again: Again, permission: Permission = Permission.OPERATE
    ) -> Iterator[APIRoute]:
        """Routes of something that is done, for forms of our own pages alone, and for roles that go that far.

        Where it is not done, for whatever reason, ``again`` shows the page with what was filled in. Somebody
        whose session has ended signs in at the same address, and then looks and sends it once more.
        """

        async def serve(request: Request) -> Response:
            session, form = None, {}
            try:
                session = await self.sessions.of(request)
                refuse_foreign(request)
                form = await form_of(request)
                if session is None:
                    return await self._at_the_door(request, form, again)
                return await self._attempt(request, session, form, act, again, permission)
            except Exception as error:
                return self.failed(session, error, form, request.url.path)

        yield _route(path, serve, "POST")

    async def _attempt(
        self,
        request: Request,
        session: Session,
        form: dict[str, str],
        act: Action,
        again: Again,
        permission: Permission,
    ) -> Response:
        try:
            if not is_ours(session, form.get("csrf", "")):
                raise _of_another_session(session)
            self.sessions.require(session, permission)
            return await act(request, session, form)
        except Exception as error:
            return await again(request, session, _tried(request, form, *said(error)))

    async def _at_the_door(self, request: Request, form: dict[str, str], again: Again) -> Response:
        """Ask whoever has no session to sign in, and keep what was filled in; then show it once more."""
        if "token" not in form:
            return self.sign_in_page(action=request.url.path, kept=form)
        try:
            token = await self.door.admitted(request, form["token"])
        except ProblemError as refused:
            return self.sign_in_page(action=request.url.path, kept=form, refused=refused)
        session, cookie = self.sessions.opened(token)
        response = await again(request, session, _tried(request, form, 200, _SIGNED_IN))
        self.sessions.give(request, response, cookie)
        return response

    def sign_in_page(
        self,
        wanted: str = "/console",
        *,
        action: str = "/console/login",
        kept: Mapping[str, str] | None = None,
        refused: ProblemError | None = None,
    ) -> Response:
        """Asks for a token, or offers the provider.

        Args:
            wanted: where to go then.
            action: where the token is sent to.
            kept: what was filled in on the page before.
            refused: why a token did not open the door.
        """
        typed = [(name, value) for name, value in (kept or {}).items() if name not in _NOT_TYPED]
        status = refused.status if refused else 200 if kept is None else 401
        trouble = refused.problem.detail if refused else None
        values = {"next": wanted, "action": action, "kept": typed, "lost": kept is not None}
        values["provider"] = self._provider
        response = self._renderer.page("login.html", status, session=None, trouble=trouble, **values)
        response.headers.update(refused.headers if refused else {})
        return response

    def open(self, path: str, endpoint: Callable[[Request], Awaitable[Response]], method: str) -> APIRoute:
        """A route for everybody."""
        return _route(path, endpoint, method)

    def failed(
        self,
        session: Session | None,
        error: Exception,
        form: Mapping[str, str] | None = None,
        action: str = "",
    ) -> Response:
        """The page that says why there is no other.

        Args:
            form: what was filled in, to be sent to ``action`` once more where that may help.
        """
        status, sentence = said(error)
        kept = list((form or {}).items()) if session is not None and status == 503 else []
        values = {"code": status, "sentence": sentence, "kept": kept, "action": action}
        return self._renderer.page("error.html", status, session=session, **values)


_SIGNED_IN: Final = (
    "You are signed in again. Nothing was done yet: please look at it as it stands now, "
    "and send it once more."
)


def _of_another_session(session: Session) -> ProblemError:
    detail = (
        f"This form is not from your present session, in which you are {session.principal.name}. Nothing was "
        "done; please look at what you have filled in, and send it once more."
    )
    return ProblemError(403, "stale_form", detail)


def _tried(request: Request, form: Mapping[str, str], status: int, sentence: str) -> Tried:
    return Tried(status, sentence, request.url.path.rpartition("/")[2], form)


def said(error: Exception) -> tuple[int, str]:
    """An error as a status and a sentence; what nobody foresaw goes to the log."""
    match error:
        case ProblemError():
            return error.status, error.problem.detail
        case HTTPException() if error.status_code == 413:
            return 413, f"That was too much: a form may have {MAX_BODY_BYTES} bytes."
        case StaleVersion():
            return 412, (
                f"It has changed since this page was made: it is at version {error.current} now. "
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
    """What the filters in the address say, for the form that shows them, which has one field for metadata."""
    found: dict[str, list[str]] = {}
    for name, value in request.query_params.multi_items():
        field, _, key = name.partition(".")
        if value.strip():
            found.setdefault(field, []).append(f"{key}={value}" if key else value)
    return found


def _instead(actions: tuple[str, ...]) -> str:
    return f" Allowed is: {', '.join(actions)}." if actions else ""


def _address(request: Request) -> str:
    return f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path


def _route(path: str, endpoint: Callable[[Request], Awaitable[Response]], method: str) -> APIRoute:
    return DirectRoute(path, endpoint, methods=[method], include_in_schema=False, response_class=Response)
