"""Event streams: lines end at CR and LF and nowhere else, wherever the chunks are cut."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from oms.event_stream import Event, events_of

SEPARATORS = "a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg"


async def read(text: str, size: int) -> list[Event]:
    content = text.encode()

    async def chunks() -> AsyncIterator[bytes]:
        for at in range(0, len(content), size):
            yield content[at : at + size]

    return [event async for event in events_of(chunks())]


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
async def test_events_are_the_same_however_they_are_cut(end: str, size: int) -> None:
    lines = (
        "\ufeff: hello", "retry: 1500", "", "id: 7", "event: order.paid", f"data: ü{SEPARATORS}",
        "data:second", "unknown: x", "data", "", "event: lost", "", "id: no\0id", "data: {}",
        "", "data: never ended",
    )  # fmt: skip
    assert await read("".join(f"{line}{end}" for line in lines), size) == [
        Event("7", "order.paid", f"ü{SEPARATORS}\nsecond\n", 1.5),
        Event("7", "", "{}", 1.5),
    ]


async def test_an_event_is_told_before_anything_follows_it() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"data: 1\r\r"
        raise AssertionError("nobody has to wait for this")

    assert (await anext(events_of(chunks()))).data == "1"
