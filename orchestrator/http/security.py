"""What every answer tells browsers: to take it as what it is, show it in no frame, keep it nowhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

ALWAYS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Where an answer itself says something else, as the console does of what it may load, that stands."""

OVER_TLS: Final[Mapping[str, str]] = {"Strict-Transport-Security": "max-age=31536000"}
"""Only where the request came over TLS: elsewhere nobody may promise it."""

Pairs = list[tuple[bytes, bytes]]


class SecurityHeaders:
    """Middleware that puts `ALWAYS` on every response, and `OVER_TLS` where it applies."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_missing(message["headers"], scope["scheme"])]
            await send(message)

        await self._app(scope, receive, guarded)


def guarded_headers(headers: Mapping[str, str], scheme: str) -> dict[str, str]:
    """Headers of an answer that no middleware sees."""
    return {**ALWAYS, **(OVER_TLS if scheme == "https" else {}), **headers}


def _missing(headers: Iterable[tuple[bytes, bytes]], scheme: str) -> Pairs:
    wanted = _OVER_TLS if scheme == "https" else _ALWAYS
    given = {name for name, _ in headers}
    return [pair for pair in wanted if pair[0] not in given]


def _encoded(headers: Mapping[str, str]) -> Pairs:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


_ALWAYS: Final = _encoded(ALWAYS)
_OVER_TLS: Final = _encoded({**ALWAYS, **OVER_TLS})
