"""Progress of orders on real PostgreSQL: notified, heard, and polled for when nothing is heard."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection, Mapping
from uuid import UUID

import psycopg
import pytest

from messaging.round_trip import Connection
from orchestrator.core.state import Saga, Status
from orchestrator.core.values import replace
from orchestrator.progress import (
    CHANNEL,
    PENDING_LIMIT,
    Interest,
    ProgressListener,
    ProgressNotifier,
    Standing,
    TooManyWatches,
    connector,
)
from tests.support.orders import a_saga

pytestmark = pytest.mark.postgresql

PATIENTLY_S = 20.0


class Orders:
    """How far orders are, as a table would tell."""

    def __init__(self) -> None:
        self.standings: dict[UUID, Standing] = {}

    async def __call__(self, order_ids: Collection[UUID]) -> Mapping[UUID, Standing]:
        return {key: self.standings[key] for key in order_ids if key in self.standings}


def listener(url: str, orders: Orders | None = None, watch_limit: int = 10) -> ProgressListener:
    return ProgressListener(connector(url), orders or Orders(), random.Random(1), watch_limit)


async def heard(url: str, count: int, act: ProgressNotifier, *batches: list[Saga]) -> list[str]:
    """The payloads that a bystander hears while batches are notified, each by one run."""
    async with await connector(url)() as bystander:
        await bystander.execute(f"LISTEN {CHANNEL}")
        for batch in batches:
            act(batch)
        assert await act.run_once()
        return [note.payload async for note in bystander.notifies(timeout=PATIENTLY_S, stop_after=count)]


async def test_what_comes_together_is_one_notification(database_url: str) -> None:
    notifier = ProgressNotifier(connector(database_url))
    running, ended = a_saga(), a_saga(status=Status.COMPLETED)
    payloads = await heard(database_url, 1, notifier, [running], [running, ended])
    await notifier.close()
    assert payloads == [f"{running.subject_id.hex} {ended.subject_id.hex}."]


async def test_an_order_that_has_ended_stays_so_when_an_earlier_commit_is_told_late(
    database_url: str,
) -> None:
    notifier, ended = ProgressNotifier(connector(database_url)), a_saga(status=Status.COMPLETED)
    payloads = await heard(database_url, 1, notifier, [ended], [replace(ended, status=Status.RUNNING)])
    await notifier.close()
    assert payloads == [f"{ended.subject_id.hex}."]


async def test_many_orders_are_several_notifications(database_url: str) -> None:
    notifier = ProgressNotifier(connector(database_url))
    sagas = [a_saga() for _ in range(450)]
    payloads = await heard(database_url, 3, notifier, sagas)
    await notifier.close()
    assert " ".join(payloads).split() == [saga.subject_id.hex for saga in sagas]


async def test_too_many_orders_are_told_to_everybody(database_url: str) -> None:
    notifier = ProgressNotifier(connector(database_url))
    sagas = [a_saga() for _ in range(PENDING_LIMIT + 1)]
    payloads = await heard(database_url, 1, notifier, sagas, [a_saga()])
    await notifier.close()
    assert payloads == ["*"]


async def test_a_database_out_of_reach_costs_the_caller_nothing() -> None:
    async def refused() -> Connection:
        raise psycopg.OperationalError("no")

    notifier = ProgressNotifier(refused)
    notifier([a_saga()])
    assert await notifier.run_once() is False


async def test_whoever_waits_is_woken_by_a_notification(database_url: str) -> None:
    listening, notifier = listener(database_url), ProgressNotifier(connector(database_url))
    saga = a_saga()
    with listening.watch(saga.subject_id, Interest.EVERY_CHANGE) as watch:
        ears = asyncio.create_task(listening.listen_once())
        await watch.changed(PATIENTLY_S)  # listening has begun
        notifier([saga])
        await notifier.run_once()
        async with asyncio.timeout(PATIENTLY_S):
            await watch.changed(2 * PATIENTLY_S)
        ears.cancel()
        await asyncio.wait([ears])
    await notifier.close()


async def test_a_lost_connection_is_left_to_the_poll_and_made_anew(database_url: str) -> None:
    listening = listener(database_url)
    with listening.watch(a_saga().subject_id, Interest.EVERY_CHANGE) as watch:
        ears = asyncio.create_task(listening.listen_once())
        await watch.changed(PATIENTLY_S)
        async with await connector(database_url)() as killer:
            await killer.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND query LIKE 'LISTEN%%'"
            )
        assert await asyncio.wait_for(ears, PATIENTLY_S) is False


async def test_the_poll_wakes_for_what_has_changed_since_the_last_poll() -> None:
    orders, saga = Orders(), a_saga()
    listening = listener("postgresql://nobody", orders)
    with listening.watch(saga.subject_id, Interest.EVERY_CHANGE) as watch:
        orders.standings[saga.subject_id] = Standing(1, ended=False)
        await listening.poll_once()
        assert is_woken(watch)
        await watch.changed(0)
        await listening.poll_once()
        assert not is_woken(watch)
        orders.standings[saga.subject_id] = Standing(2, ended=False)
        await listening.poll_once()
        assert is_woken(watch)


async def test_who_waits_for_the_end_sleeps_until_then() -> None:
    listening, order_id = listener("postgresql://nobody"), a_saga().subject_id
    with listening.watch(order_id, Interest.THE_END) as watch:
        listening.hear(order_id.hex)
        assert not is_woken(watch)
        listening.hear(f"{a_saga().subject_id.hex} nonsense {order_id.hex}.")
        assert is_woken(watch)


async def test_a_goodbye_wakes_everybody() -> None:
    listening = listener("postgresql://nobody")
    with listening.watch(a_saga().subject_id, Interest.THE_END) as watch:
        listening.say_goodbye()
        assert is_woken(watch)


async def test_watches_are_limited_and_forgotten() -> None:
    listening, order_id = listener("postgresql://nobody", watch_limit=1), a_saga().subject_id
    with (
        listening.watch(order_id, Interest.THE_END),
        pytest.raises(TooManyWatches),
        listening.watch(order_id, Interest.THE_END),
    ):
        pass
    assert listening.watching == 0


def is_woken(watch: object) -> bool:
    return watch._news.is_set()  # type: ignore[attr-defined, no-any-return]
