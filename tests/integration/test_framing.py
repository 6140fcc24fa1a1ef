"""What is a request and what is its body: made-up framings, by our server and by another parser side by side."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from oms import connections
from oms.serving import served
from tests.framings import STRICTER, Heard, Seen, conversations, heard, segments

CONVERSATIONS: Final = 1_500
AT_ONCE: Final = 50

class Recorder:
    """Keeps every request that came to its end, by the client's port."""

    def __init__(self) -> None:
        self.seen: dict[int, list[Seen]] = defaultdict(list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await Request(scope, receive).body()
        except ClientDisconnect:
            return
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        method = scope["method"].encode()
        self.seen[scope["client"][1]].append((method, target, tuple(scope["headers"]), body))
        await Response(b"seen")(scope, receive, send)


async def conversation(url: str, sent: bytes, rng: random.Random) -> tuple[int, bytes]:
    """Our port and everything that was answered until the server closed the connection."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    port: int = writer.get_extra_info("sockname")[1]
    said = asyncio.ensure_future(reader.read())
    try:
        for segment in segments(rng, sent):
            writer.write(segment)
            for _ in range(3):
                await asyncio.sleep(0)  # the server runs in this loop too, and takes each by itself
        async with asyncio.timeout(60):
            return port, await said
    except ConnectionError:
        return port, b""
    finally:
        said.cancel()
        writer.close()


def comparable(requests: list[Seen]) -> list[Seen]:
    """The requests less offers to upgrade, which nobody takes; h11 writes codings in lower case."""
    return [
        (
            method,
            target,
            tuple(
                (name, value.lower() if name == b"transfer-encoding" else value)
                for name, value in fields
                if name != b"upgrade"
            ),
            body,
        )
        for method, target, fields, body in requests
    ]


def judged(sent: bytes, ours: list[Seen], said: bytes) -> str | None:
    """The name of the difference to what h11 heard; None where there is none. Fails where it has no name."""
    theirs = heard(sent)
    if _same(ours, theirs):
        return None
    context = f"\nsent: {sent!r}\nours: {ours!r}\nh11: {theirs!r}\nsaid: {said!r}"
    expected = comparable(theirs.requests)
    assert comparable(ours) == expected[: len(ours)], f"another request was heard{context}"
    names = [name for name, look in STRICTER.items() if look.search(sent)]
    assert names, f"the difference has no name{context}"
    return names[0]


def _same(ours: list[Seen], theirs: Heard) -> bool:
    return comparable(ours) == comparable(theirs.requests)


async def test_no_made_up_framing_is_heard_otherwise_than_by_another_parser(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "PATIENCE_S", 5.0)
    recorder, rng, names = Recorder(), random.Random(2), defaultdict[str | None, int](int)
    async with served(recorder, "127.0.0.1", 0) as url:
        turns = asyncio.Semaphore(AT_ONCE)

        async def one(sent: bytes) -> None:
            async with turns:
                port, said = await conversation(url, sent, rng)
                names[judged(sent, recorder.seen.pop(port, []), said)] += 1

        async with asyncio.TaskGroup() as group:
            for sent in conversations(seed=4, count=CONVERSATIONS):
                group.create_task(one(sent))
    print(dict(names))
    assert names[None] > CONVERSATIONS / 2
