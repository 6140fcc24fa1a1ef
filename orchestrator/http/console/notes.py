"""What a page says once about what somebody has just done there: carried by the browser, made by the server.

The answer to an action sends the browser to a page and gives it a note for that page. A note is signed for
its session, its page and its time, so none can be made up; the page takes it away when it has shown it.
"""

from __future__ import annotations

import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from orchestrator.http.console.session import Session, Sessions, is_over_tls

LIFETIME_S: Final = 60
"""Seconds within which the browser has to come to the page."""

FETCHED_ANEW: Final = "x-live"
"""The header with which a page that is open fetches itself: it shows no note, so it takes none away."""


class Notes:
    """Leaves notes for pages, shows each of them once."""

    def __init__(self, sessions: Sessions, now_s: Callable[[], float] = time.time) -> None:
        self._sessions = sessions
        self._now_s = now_s

    def leave(self, request: Request, response: Response, session: Session, path: str, said: str) -> None:
        """Have the page at ``path`` say something when this browser comes to it."""
        text = urlsafe_b64encode(said.encode()).decode().rstrip("=")
        until = int(self._now_s()) + LIFETIME_S
        response.set_cookie(
            self._name,
            self._sessions.sealed(session, f"note for {path}", f"{until}.{text}"),
            max_age=LIFETIME_S,
            path=path,
            secure=is_over_tls(request),
            httponly=True,
            samesite="strict",
        )

    def of(self, request: Request, session: Session) -> str | None:
        """What the page that is asked for has to say; None where there is nothing."""
        kept = request.cookies.get(self._name)
        if kept is None or FETCHED_ANEW in request.headers:
            return None
        sealed = self._sessions.unsealed(session, f"note for {request.url.path}", kept)
        until, _, text = (sealed or "0.").partition(".")
        if int(until) <= self._now_s():
            return None
        return urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()

    def take_away(self, request: Request, response: Response, session: Session) -> None:
        """Have the browser forget the note that this page has shown."""
        if self.of(request, session) is not None:
            response.delete_cookie(
                self._name,
                path=request.url.path,
                secure=is_over_tls(request),
                httponly=True,
                samesite="strict",
            )

    @property
    def _name(self) -> str:
        return f"oms_note_{self._sessions.installation}"
