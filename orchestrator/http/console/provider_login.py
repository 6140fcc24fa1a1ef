"""Signing in at the company's own provider, and out again.

The cookies of sessions are not sent where another site has the browser come to us, so whoever comes back from
the provider gets a page of ours that leads on. The same page leads those to the provider who sign out: a form
may only be answered by ourselves.
"""

from __future__ import annotations

import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from typing import Final

import structlog
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from contracts.problems import ProblemError
from orchestrator.http.access import Token
from orchestrator.http.console.desk import Desk
from orchestrator.http.console.forms import form_of
from orchestrator.http.console.rendering import redirect
from orchestrator.http.console.session import is_over_tls, safe_next
from orchestrator.http.dependencies import SignIn
from orchestrator.http.problems import respond
from orchestrator.oidc.code_flow import Arrival, Attempt, SignInRefused
from orchestrator.oidc.remembered import ProviderUnavailable
from orchestrator.oidc.tokens import TokenUnfit
from orchestrator.queries.people import Visit

log = structlog.get_logger(__name__)

BEGIN: Final = "/console/login/provider"
CALLBACK: Final = "/console/login/callback"
GONE: Final = "/console/login/gone"
"""Where the provider says that somebody has signed out there."""

AT_THE_PROVIDER_S: Final = 600
"""Seconds that somebody may take to sign in there."""

MOST_KEPT: Final = 3500
"""Characters of a cookie; a longer one is not kept by browsers."""

_PURPOSE: Final = "signing in"
_OUT: Final = "/console/logout"


class ProviderLogin:
    """The way to the provider and back."""

    def __init__(self, desk: Desk, sign_in: SignIn, now_s: Callable[[], float] = time.time) -> None:
        self._desk = desk
        self._flow = sign_in.flow
        self._people = sign_in.people
        self._lifetime_s = sign_in.lifetime_s
        self._now_s = now_s

    def routes(self) -> Iterator[APIRoute]:
        """Its routes."""
        yield self._desk.open(BEGIN, self._begin, "GET")
        yield self._desk.open(CALLBACK, self._come_back, "GET")
        yield self._desk.open(GONE, self._gone, "POST")

    async def left(self, request: Request, visit: Visit) -> Response:
        """End the sessions of somebody, and lead them to the provider, so that they sign out there too."""
        await self._people.left(visit)
        there = await self._flow.way_out(request.cookies.get(self._id_token))
        if there is None:
            return redirect("/console/login")
        response = self._onward(there, f"You are signed out here, and go on to {self._flow.called}.")
        self._forget(request, response, self._id_token, _OUT)
        return response

    async def _begin(self, request: Request) -> Response:
        wanted = safe_next(request.query_params.get("next", ""))
        attempt = Attempt.new()
        try:
            there = await self._flow.way_there(attempt)
        except ProviderUnavailable as error:
            return self._desk.sign_in_page(wanted, refused=_unavailable(error))
        response = redirect(there)
        self._keep(request, response, attempt, wanted)
        return response

    async def _come_back(self, request: Request) -> Response:
        attempt, wanted = self._kept(request)
        try:
            self._desk.door.require_patience(request)
            token, id_token = await self._admitted(request, attempt)
        except ProblemError as refused:
            response = self._desk.sign_in_page(wanted, refused=refused)
        except Exception as error:
            response = self._desk.failed(None, error)
        else:
            response = self._onward(wanted, "You are signed in.")
            _, cookie = self._desk.sessions.opened(token, self._lifetime_s)
            self._desk.sessions.give(request, response, cookie)
            self._keep_id_token(request, response, id_token)
        self._forget(request, response, self._signing_in, "/console/login")
        return response

    async def _admitted(self, request: Request, attempt: Attempt | None) -> tuple[Token, str]:
        """What stands for the token of whoever has come back. Raises ProblemError and StorageUnavailable."""
        arrival = await self._arrival(request, attempt)
        if arrival.identity.role is None:
            raise ProblemError(
                403,
                "no_role",
                f"{self._flow.called} knows you as {arrival.identity.name}, but nothing in the claim "
                f"{self._flow.claim} gives you a role here. Please ask whoever looks after it.",
            )
        visitor = await self._people.arrived(arrival.identity, arrival.identity.role)
        log.info("signed in", person=visitor.name, role=str(visitor.role))
        return Token.by_visit(visitor), arrival.id_token

    async def _arrival(self, request: Request, attempt: Attempt | None) -> Arrival:
        try:
            if attempt is None:
                raise SignInRefused("this sign-in was begun elsewhere, or too long ago")
            return await self._flow.arrived(attempt, request.query_params)
        except SignInRefused as refused:
            if attempt is not None:
                self._desk.door.failed(request)
            log.warning("nobody was signed in", problem=str(refused))
            raise ProblemError(401, "not_signed_in", f"You are not signed in: {refused}.") from None
        except ProviderUnavailable as error:
            raise _unavailable(error) from None

    async def _gone(self, request: Request) -> Response:
        """The provider says who has signed out there (Back-Channel Logout 1.0)."""
        try:
            subject = await self._flow.gone((await form_of(request)).get("logout_token", ""))
            await self._people.gone(subject)
        except TokenUnfit as unfit:
            return respond(ProblemError(400, "invalid_request", f"This token is not good here: {unfit}."))
        except ProblemError as problem:
            return respond(problem)
        except ProviderUnavailable as error:
            return respond(_unavailable(error))
        return Response(status_code=200)

    def _keep(self, request: Request, response: Response, attempt: Attempt, wanted: str) -> None:
        until = int(self._now_s()) + AT_THE_PROVIDER_S
        where = urlsafe_b64encode(wanted.encode()).decode().rstrip("=")
        text = ".".join((attempt.state, attempt.nonce, attempt.verifier, str(until), where))
        response.set_cookie(
            self._signing_in,
            self._desk.sessions.sealed_for_anybody(_PURPOSE, text),
            max_age=AT_THE_PROVIDER_S,
            path="/console/login",
            secure=is_over_tls(request),
            httponly=True,
            samesite="lax",
        )

    def _kept(self, request: Request) -> tuple[Attempt | None, str]:
        """The attempt that this browser has begun, and where it wants to go then."""
        cookie = request.cookies.get(self._signing_in, "")
        text = self._desk.sessions.unsealed_for_anybody(_PURPOSE, cookie)
        state, nonce, verifier, until, where = (text or "...0.").split(".")
        wanted = safe_next(urlsafe_b64decode(where + "=" * (-len(where) % 4)).decode())
        good = text is not None and int(until) > self._now_s()
        return (Attempt(state, nonce, verifier) if good else None), wanted

    def _keep_id_token(self, request: Request, response: Response, id_token: str) -> None:
        """For the provider, who is shown it at the end; too long a one it does without."""
        if len(id_token) > MOST_KEPT:
            return
        response.set_cookie(
            self._id_token,
            id_token,
            path=_OUT,
            secure=is_over_tls(request),
            httponly=True,
            samesite="strict",
        )

    def _forget(self, request: Request, response: Response, name: str, path: str) -> None:
        response.delete_cookie(name, path=path, secure=is_over_tls(request), httponly=True, samesite="lax")

    def _onward(self, address: str, sentence: str) -> Response:
        return self._desk.outside("onward.html", address=address, sentence=sentence)

    @property
    def _signing_in(self) -> str:
        return f"oms_signing_in_{self._desk.sessions.installation}"

    @property
    def _id_token(self) -> str:
        return f"oms_id_token_{self._desk.sessions.installation}"


def _unavailable(error: ProviderUnavailable) -> ProblemError:
    detail = (
        f"Nobody can sign in at the provider just now: {error}. Whoever is signed in already may go on; "
        "please try again in a while, or use a token."
    )
    return ProblemError(503, "provider_unavailable", detail, headers={"Retry-After": "5"})
