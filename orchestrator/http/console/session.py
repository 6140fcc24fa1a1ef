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
from urllib.parse import unquote
from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from orchestrator.http.access import Access, Permission, Principal, Token
from orchestrator.queries.people import Visit

LIFETIME_S: Final = 12 * 3600
PATH: Final = "/console"


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who has signed in.

    Attributes:
        csrf: stands in every form that changes something; only our own pages know it.
        may_disclose: may see what is masked for everybody else.
        may_manage: may add, pause and remove webhooks.
        visit: of somebody who has signed in at the provider.
    """

    principal: Principal
    csrf: str
    may_act: bool
    may_disclose: bool
    may_manage: bool
    visit: Visit | None = None


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

    def opened(self, token: Token, lifetime_s: float = LIFETIME_S) -> tuple[Session, str]:
        """A new session, and what the browser is to keep of it."""
        ends = int(self._now_s() + lifetime_s)
        signed = f"{self._access.name_of(token)}.{ends}.{secrets.token_urlsafe(16)}"
        return self._session(token, signed), f"{signed}.{self._mac('session', signed)}"

    def give(self, request: Request, response: Response, kept: str) -> None:
        """Have the browser keep a session that was `opened`."""
        response.set_cookie(
            self.cookie(request),
            kept,
            max_age=LIFETIME_S,
            path=_cookie_path(request),
            secure=is_over_tls(request),
            httponly=True,
            samesite="strict",
        )

    def begin(self, request: Request, response: Response, token: Token) -> None:
        """Give the browser a session."""
        self.give(request, response, self.opened(token)[1])

    def end(self, request: Request, response: Response) -> None:
        """Take the session away from the browser."""
        response.delete_cookie(
            self.cookie(request),
            path=_cookie_path(request),
            secure=is_over_tls(request),
            httponly=True,
            samesite="strict",
        )

    def cookie(self, request: Request) -> str:
        """The name of the session's cookie, the same on every replica and on no other installation.

        Browsers keep cookies by host, whatever the port: of one name, two installations would sign each other
        out. Over TLS the name has the prefix that keeps other hosts and plain HTTP from setting it.
        """
        return f"{'__Host-' if is_over_tls(request) else ''}oms_session_{self.installation}"

    @property
    def installation(self) -> str:
        """A name of this installation for cookies; it says nothing about the key that it is made from."""
        return self._mac("cookies", "")[:12]

    async def of(self, request: Request) -> Session | None:
        """The session of a request; None where there is none that is good. Raises StorageUnavailable."""
        signed, _, mac = request.cookies.get(self.cookie(request), "").rpartition(".")
        if not hmac.compare_digest(mac.encode(), self._mac("session", signed).encode()):
            return None
        name, ends, _ = signed.split(".")
        token = await self._access.token_named(name) if int(ends) > self._now_s() else None
        if token is None or not self._access.permits(token.principal, Permission.VIEW):
            return None
        return self._session(token, signed)

    async def is_good(self, request: Request) -> bool:
        """Whether the session of a request is still good. Raises StorageUnavailable."""
        return await self.of(request) is not None

    def require(self, session: Session, permission: Permission) -> None:
        """Raises ProblemError (403) where the role of the session does not go that far."""
        self._access.require(session.principal, permission)

    def sealed_for_anybody(self, purpose: str, text: str) -> str:
        """A text that only this installation can have written."""
        return f"{text}.{self._mac(purpose, text)}"

    def unsealed_for_anybody(self, purpose: str, sealed: str) -> str | None:
        """What was `sealed_for_anybody`; None for anything else."""
        text = sealed.rpartition(".")[0]
        good = hmac.compare_digest(sealed.encode(), self.sealed_for_anybody(purpose, text).encode())
        return text if good else None

    def sealed(self, session: Session, purpose: str, text: str) -> str:
        """A text that only a page of this session can have been given."""
        return f"{text}.{self._mac(purpose, f'{session.csrf}:{text}')}"

    def unsealed(self, session: Session, purpose: str, sealed: str) -> str | None:
        """What was `sealed` for this session; None for anything else."""
        text, _, _ = sealed.rpartition(".")
        good = hmac.compare_digest(sealed.encode(), self.sealed(session, purpose, text).encode())
        return text if good else None

    def form(self, session: Session, form_id: UUID) -> str:
        """The name of one form on one page, for its own session alone."""
        return self.sealed(session, "form_id", str(form_id))

    def form_id(self, session: Session, name: str) -> UUID | None:
        """Which form of this session it is; None for a name that is made up."""
        text = self.unsealed(session, "form_id", name)
        return UUID(text) if text is not None else None

    def _session(self, token: Token, signed: str) -> Session:
        may_act = self._access.permits(token.principal, Permission.OPERATE)
        may_disclose = self._access.permits(token.principal, Permission.DISCLOSE)
        may_manage = self._access.permits(token.principal, Permission.WEBHOOKS)
        may = may_act, may_disclose, may_manage
        return Session(token.principal, self._mac("form", signed), *may, token.visit)

    def _mac(self, purpose: str, text: str) -> str:
        return hmac.new(self._access.session_key, f"{purpose}:{text}".encode(), "sha256").hexdigest()


def is_ours(session: Session, csrf: str) -> bool:
    """Whether a form came from one of this session's own pages."""
    return hmac.compare_digest(csrf.encode(), session.csrf.encode())


def is_over_tls(request: Request) -> bool:
    """Whether the browser speaks TLS, as far as this process is told."""
    return request.url.scheme == "https"


def _cookie_path(request: Request) -> str:
    """The prefix of the name over TLS takes the whole host."""
    return "/" if is_over_tls(request) else PATH


def safe_next(path: str) -> str:
    """Where to go after signing in: a page of the console, whatever was asked for."""
    inside = path == PATH or path.startswith((f"{PATH}/", f"{PATH}?"))
    plain = path.isascii() and path.isprintable() and "\\" not in path
    steps = unquote(path.partition("?")[0]).split("/")
    stays = not {".", ".."} & set(steps) and not path.startswith(f"{PATH}/login")
    return path if inside and plain and stays else PATH
