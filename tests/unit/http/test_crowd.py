"""Too many open requests: the next one is told to come back, whoever asks how we are is answered."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from oms.connections import CONNECTIONS
from orchestrator.http.console import news
from orchestrator.http.crowd import OPEN_LIMIT, PROBES, Crowd
from orchestrator.intake import GROUP_LIMIT, WAITING_LIMIT
from orchestrator.progress import WATCH_LIMIT


class Busy:
    """Answers `/` when it is allowed to, everything else at once."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.entered = asyncio.Semaphore(0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.entered.release()
        if scope["path"] == "/":
            await self.may_answer.wait()
        await PlainTextResponse("done")(scope, receive, send)


async def test_beyond_its_limit_a_request_is_told_to_come_back() -> None:
    busy = Busy()
    transport = httpx.ASGITransport(Crowd(busy, limit=2))
    async with httpx.AsyncClient(transport=transport, base_url="http://oms") as client:
        held = [asyncio.ensure_future(client.get("/")) for _ in range(2)]
        for _ in held:
            await busy.entered.acquire()
        refused = await client.get("/")
        assert (refused.status_code, refused.json()["code"]) == (503, "too_many_requests_open")
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert refused.headers["Retry-After"] == "1"
        for path in PROBES:
            assert (await client.get(path)).text == "done"
        busy.may_answer.set()
        assert {answer.status_code for answer in await asyncio.gather(*held)} == {200}
        assert (await client.get("/")).status_code == 200


async def test_a_request_that_fails_is_open_no_more() -> None:
    async def failing(_: Scope, __: Receive, ___: Send) -> None:
        raise ValueError("a bug")

    transport = httpx.ASGITransport(Crowd(failing, limit=1))
    async with httpx.AsyncClient(transport=transport, base_url="http://oms") as client:
        for _ in range(3):
            with pytest.raises(ValueError, match="a bug"):
                await client.get("/")


def test_every_limit_can_be_reached_before_the_next_one() -> None:
    """Else a client would get the answer that says less."""
    assert WAITING_LIMIT + GROUP_LIMIT < OPEN_LIMIT
    assert WATCH_LIMIT + news.WATCH_LIMIT < OPEN_LIMIT
    assert OPEN_LIMIT < CONNECTIONS
