"""Signing in with a token, and out."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from contracts.problems import ProblemError
from orchestrator.http.console.attempts import Attempts
from orchestrator.http.console.desk import Desk
from orchestrator.http.console.forms import form_of
from orchestrator.http.console.rendering import redirect
from orchestrator.http.console.session import Session, is_ours, safe_next


class Login:
    """The way in and out."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._attempts = Attempts()

    def routes(self) -> Iterator[APIRoute]:
        """Its routes."""
        yield self._desk.open("/console/login", self._ask, "GET")
        yield self._desk.open("/console/login", self._enter, "POST")
        yield self._desk.page("/console/logout", self._confirm)
        yield self._desk.open("/console/logout", self._leave, "POST")

    async def _ask(self, request: Request) -> Response:
        wanted = safe_next(request.query_params.get("next", ""))
        try:
            if await self._desk.sessions.is_good(request):
                return redirect(wanted)
        except Exception as error:
            return self._desk.failed(None, error)
        return self._desk.outside("login.html", next=wanted, trouble=None)

    async def _enter(self, request: Request) -> Response:
        client = request.client.host if request.client is not None else ""
        if (wait_s := self._attempts.wait_s(client)) > 0:
            trouble = f"Too many attempts from your address failed. Please try again in {wait_s} seconds."
            response = self._desk.outside("login.html", status=429, next="/console", trouble=trouble)
            response.headers["Retry-After"] = str(wait_s)
            return response
        try:
            _refuse_foreign(request)
            form = await form_of(request)
            token = await self._desk.sessions.holder(form.get("token", ""))
        except Exception as error:
            return self._desk.failed(None, error)
        wanted = safe_next(form.get("next", ""))
        if token is None:
            self._attempts.failed(client)
            trouble = "This token is not known here, or does not let you look."
            return self._desk.outside("login.html", status=401, next=wanted, trouble=trouble)
        response = redirect(wanted)
        self._desk.sessions.begin(request, response, token)
        return response

    async def _confirm(self, _: Request, session: Session) -> Response:
        return self._desk.show("logout.html", session)

    async def _leave(self, request: Request) -> Response:
        response = redirect("/console/login")
        try:
            session = await self._desk.sessions.of(request)
            if session is not None and is_ours(session, (await form_of(request)).get("csrf", "")):
                self._desk.sessions.end(response)
        except Exception as error:
            return self._desk.failed(None, error)
        return response


def _refuse_foreign(request: Request) -> None:
    """A page of another site must not sign anybody in. Raises ProblemError (403)."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise ProblemError(403, "foreign_form", "This form comes from elsewhere.")
