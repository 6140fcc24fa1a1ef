"""Ordered streams are read side by side, group by group, and nothing is left out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from oms.audit.merging import Ordered, identities

Row = tuple[UUID, str]


async def batches(rows: Sequence[Row], size: int) -> AsyncIterator[Sequence[Row]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
    yield []


def stream(name: str, keys: Sequence[int], size: int) -> Ordered[Row]:
    rows = [(UUID(int=key), f"{name}{at}") for at, key in enumerate(sorted(keys))]
    return Ordered(batches(rows, size), lambda row: row[0])


@given(
    st.lists(st.lists(st.integers(0, 9), max_size=12), min_size=1, max_size=4),
    st.integers(min_value=1, max_value=5),
)
async def test_every_row_comes_with_its_identity_once_and_in_order(keys: list[list[int]], size: int) -> None:
    streams = [stream(f"s{at}-", each, size) for at, each in enumerate(keys)]
    seen: list[UUID] = []
    taken: list[Row] = []
    async for identity in identities(streams):
        seen.append(identity)
        for each in streams:
            rows = await each.take(identity)
            assert {row[0] for row in rows} <= {identity}
            taken += rows
    assert [identity.int for identity in seen] == sorted({key for each in keys for key in each})
    assert len(taken) == len(set(taken)) == sum(len(each) for each in keys)


async def test_an_empty_stream_has_no_head() -> None:
    empty = stream("e", [], 3)
    await empty.begin()
    assert empty.head is None
    assert await empty.take(UUID(int=1)) == []
