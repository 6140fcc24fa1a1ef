"""Orders that arrive: reading them in a thread disturbs nobody, however the command ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from oms.cli.arriving import Arriving
from oms.cli.order_files import Item, Numbered

FIRST = Numbered(1, {"n": 1})


def readers() -> set[threading.Thread]:
    return {each for each in threading.enumerate() if each.name == "reading orders"}


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("rest", ["an order", "closed", "broken", "the end"])
def test_what_is_read_after_the_command_has_ended_is_nobodys_error(rest: str) -> None:
    ended = threading.Event()

    def items() -> Iterator[Item]:
        yield FIRST
        ended.wait()
        if rest == "closed":
            raise ValueError("I/O operation on closed file.")
        if rest == "broken":
            raise RuntimeError("no more")
        if rest == "an order":
            yield Numbered(2, {"n": 2})

    before = readers()

    async def command() -> threading.Thread:
        assert await Arriving(items()).take() == FIRST
        return (readers() - before).pop()

    thread = asyncio.run(command())
    ended.set()
    thread.join(timeout=30)
    assert not thread.is_alive()


async def test_what_reading_raises_is_raised_where_orders_are_taken() -> None:
    def items() -> Iterator[Item]:
        yield FIRST
        raise RuntimeError("no more")

    arriving = Arriving(items())
    assert await arriving.take() == FIRST
    with pytest.raises(RuntimeError, match="no more"):
        await arriving.take()
    assert await arriving.take() is None
