"""The way in: a token for a session, so often a minute from one address."""

from __future__ import annotations

from starlette.requests import Request

from contracts.problems import ProblemError
from orchestrator.http.access import Token
from orchestrator.http.console.attempts import Attempts
from orchestrator.http.console.session import Sessions


class Door:
    """Lets people in who have a token, and has those wait who try too often."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._attempts = Attempts()

    async def admitted(self, request: Request, secret: str) -> Token:
        """The token of this secret.

        Raises:
            ProblemError: 401 for one that does not open the console, 429 after too many of those.
            StorageUnavailable: it cannot be looked up.
        """
        self.require_patience(request)
        token = await self._sessions.holder(secret)
        if token is None:
            self.failed(request)
            raise ProblemError(
                401, "unknown_token", "This token is not known here, or does not let you look."
            )
        return token

    def require_patience(self, request: Request) -> None:
        """Raises ProblemError (429) after too many attempts that failed, by whatever way."""
        if (wait_s := self._attempts.wait_s(_client(request))) > 0:
            detail = f"Too many attempts from your address failed. Please try again in {wait_s} seconds."
            raise ProblemError(429, "too_many_attempts", detail, headers={"Retry-After": str(wait_s)})

    def failed(self, request: Request) -> None:
        """Take note of an attempt that failed."""
        self._attempts.failed(_client(request))


def _client(request: Request) -> str:
    return request.client.host if request.client is not None else ""


def refuse_foreign(request: Request) -> None:
    """A form of another site signs nobody in and is not kept for anybody. Raises ProblemError (403)."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise ProblemError(403, "foreign_form", "This form comes from elsewhere.")
