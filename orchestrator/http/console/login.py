"""Signing in with a token, and out, wherever one came in."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from contracts.problems import ProblemError
from orchestrator.http.console.desk import Desk
from orchestrator.http.console.door import refuse_foreign
from orchestrator.http.console.forms import form_of
from orchestrator.http.console.provider_login import ProviderLogin
from orchestrator.http.console.rendering import redirect
from orchestrator.http.console.session import Session, is_ours, safe_next

_OTHER_SESSION = "This page was from a session before your present one: you are still signed in."


class Login:
    """The way in and out."""

    def __init__(self, desk: Desk, provider: ProviderLogin | None = None) -> None:
        self._desk = desk
        self._provider = provider

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
        return self._desk.sign_in_page(wanted)

    async def _enter(self, request: Request) -> Response:
        try:
            refuse_foreign(request)
            form = await form_of(request)
            wanted = safe_next(form.get("next", ""))
            try:
                token = await self._desk.door.admitted(request, form.get("token", ""))
            except ProblemError as refused:
                return self._desk.sign_in_page(wanted, refused=refused)
        except Exception as error:
            return self._desk.failed(None, error)
        response = redirect(wanted)
        self._desk.sessions.begin(request, response, token)
        return response

    async def _confirm(self, _: Request, session: Session) -> Response:
        return self._desk.show("logout.html", session, trouble=None)

    async def _leave(self, request: Request) -> Response:
        try:
            session = await self._desk.sessions.of(request)
            if session is not None and not is_ours(session, (await form_of(request)).get("csrf", "")):
                return self._desk.show("logout.html", session, status=403, trouble=_OTHER_SESSION)
            response = await self._way_out(request, session)
        except Exception as error:
            return self._desk.failed(None, error)
        if session is not None:
            self._desk.sessions.end(request, response)
        return response

    async def _way_out(self, request: Request, session: Session | None) -> Response:
        if self._provider is None or session is None or session.visit is None:
            return redirect("/console/login")
        return await self._provider.left(request, session.visit)
