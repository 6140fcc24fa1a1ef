"""HEAD: whatever may be looked at answers with the head that GET would have, and with nothing behind it."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Head:
    """Middleware that asks for GET where a client asks for HEAD, and drops the body.

    A stream of events ends with its head: it hears that its client has left, and nothing is kept for it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "http" and scope["method"] == "HEAD":
            answer = _HeadOfAnswer(receive, send)
            await self._app({**scope, "method": "GET"}, answer.receive, answer.send)
        else:
            await self._app(scope, receive, send)


class _HeadOfAnswer:
    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._sent = False

    async def receive(self) -> Message:
        return {"type": "http.disconnect"} if self._sent else await self._receive()

    async def send(self, message: Message) -> None:
        if self._sent or message["type"] != "http.response.start":
            return
        self._sent = True
        await self._send(message)
        await self._send({"type": "http.response.body", "body": b""})
