"""Who is at the console: a signed cookie in place of a token, and proof that a form is one of ours.

Nothing is kept on the server, so every replica takes every session. A session names its token, which is
looked up for every page: the session ends when its time is over or the token is gone, revoked or expired.
Signing out takes the cookie away from the browser.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from orchestrator.http.access import Access, Permission, Principal, Token

COOKIE: Final = "oms_session"
LIFETIME_S: Final = 12 * 3600
PATH: Final = "/console"


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who has signed in.

    Attributes:
        csrf: stands in every form that changes something; only our own pages know it.
        may_disclose: may see what is masked for everybody else.
    """

    principal: Principal
    csrf: str
    may_act: bool
    may_disclose: bool


class Sessions:
    """Begins, recognizes and ends sessions."""

    def __init__(self, access: Access, now_s: Callable[[], float] = time.time) -> None:
        self._access = access
        self._now_s = now_s

    async def holder(self, secret: str) -> Token | None:
        """The token that may look at the console and has this secret. Raises StorageUnavailable."""
        token = await self._access.token_of(secret)
        allowed = token is not None and self._access.permits(token.principal, Permission.VIEW)
        return token if allowed else None

    def begin(self, request: Request, response: Response, token: Token) -> None:
        """Give the browser a session."""
        ends = int(self._now_s()) + LIFETIME_S
        signed = f"{self._access.name_of(token)}.{ends}.{secrets.token_urlsafe(16)}"
        response.set_cookie(
            COOKIE,
            f"{signed}.{self._mac('session', signed)}",
            max_age=LIFETIME_S,
            path=PATH,
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )

    def end(self, response: Response) -> None:
        """Take the session away from the browser."""
        response.delete_cookie(COOKIE, path=PATH, httponly=True, samesite="strict")

    async def of(self, request: Request) -> Session | None:
        """The session of a request; None where there is none that is good. Raises StorageUnavailable."""
        signed, _, mac = request.cookies.get(COOKIE, "").rpartition(".")
        if not hmac.compare_digest(mac.encode(), self._mac("session", signed).encode()):
            return None
        name, ends, _ = signed.split(".")
        token = await self._access.token_named(name) if int(ends) > self._now_s() else None
        if token is None or not self._access.permits(token.principal, Permission.VIEW):
            return None
        may_act = self._access.permits(token.principal, Permission.OPERATE)
        may_disclose = self._access.permits(token.principal, Permission.DISCLOSE)
        return Session(token.principal, self._mac("form", signed), may_act, may_disclose)

    async def is_good(self, request: Request) -> bool:
        """Whether the session of a request is still good. Raises StorageUnavailable."""
        return await self.of(request) is not None

    def require(self, session: Session, permission: Permission) -> None:
        """Raises ProblemError (403) where the role of the session does not go that far."""
        self._access.require(session.principal, permission)

    def _mac(self, purpose: str, text: str) -> str:
        return hmac.new(self._access.session_key, f"{purpose}:{text}".encode(), "sha256").hexdigest()


def is_ours(session: Session, csrf: str) -> bool:
    """Whether a form came from one of this session's own pages."""
    return hmac.compare_digest(csrf.encode(), session.csrf.encode())


def safe_next(path: str) -> str:
    """Where to go after signing in: a page of the console, whatever was asked for."""
    inside = path == PATH or path.startswith((f"{PATH}/", f"{PATH}?"))
    plain = path.isascii() and path.isprintable() and "\\" not in path
    return path if inside and plain and not path.startswith(f"{PATH}/login") else PATH
