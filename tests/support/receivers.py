"""A receiver of webhooks on loopback, which answers as a test says and remembers what it got."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Received:
    """One request."""

    headers: Mapping[str, str]
    body: bytes

    @property
    def webhook_id(self) -> str:
        """By which it is known as a copy."""
        return self.headers["webhook-id"]

    @property
    def event(self) -> dict[str, Any]:
        """What the body says."""
        found: dict[str, Any] = json.loads(self.body)
        return found


@dataclass(slots=True)
class Receiver:
    """The receiver.

    Attributes:
        status: that everything is answered with.
        answers: the statuses of the next requests, before that.
        is_open: while it is not set, no request is answered.
        asked: set once a request has come.
    """

    url: str = ""
    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    answers: list[int] = field(default_factory=list)
    body: bytes = b""
    got: list[Received] = field(default_factory=list)
    is_open: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.Response:
        """One request."""
        self.got.append(Received(dict(request.headers), await request.read()))
        self.asked.set()
        await self.is_open.wait()
        status = self.answers.pop(0) if self.answers else self.status
        return web.Response(status=status, headers=self.headers, body=self.body or None)

    @property
    def ids(self) -> list[str]:
        """Of all requests, in their order."""
        return [each.webhook_id for each in self.got]


@asynccontextmanager
async def a_receiver(tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """One that takes everything, until it is told otherwise."""
    receiver = Receiver()
    receiver.is_open.set()
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", receiver.answer)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        [address] = runner.addresses
        receiver.url = f"{'https' if tls else 'http'}://127.0.0.1:{address[1]}/hooks"
        yield receiver
    finally:
        receiver.is_open.set()
        await runner.cleanup()
