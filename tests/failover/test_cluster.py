"""A RabbitMQ cluster loses each of its nodes in turn, under load, and orders go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from rich.console import Console

from tools.chaos.__main__ import run
from tools.chaos.course import Plan
from tools.failover.cluster import INCIDENTS, ClusterStage, staged

pytestmark = [pytest.mark.failover, pytest.mark.rabbitmq, pytest.mark.postgresql, pytest.mark.timeout(900)]

NODES, SEED, ORDERS, RATE = 3, 1, 300, 15.0
CAUGHT_UP_WITHIN_S = 120.0


@asynccontextmanager
async def on_all_nodes(folder: Path) -> AsyncIterator[ClusterStage]:
    """Every queue stands on every node, before and after."""
    async with staged(folder) as stage:
        await everywhere(stage)
        yield stage
        await everywhere(stage)


async def everywhere(stage: ClusterStage) -> None:
    """Every queue has an online member on every node, or has once those that were away have caught up."""
    async with asyncio.timeout(CAUGHT_UP_WITHIN_S):
        while set((await stage.members()).values()) != {NODES}:
            await asyncio.sleep(1)


async def test_nothing_is_lost_or_done_twice_whichever_node_is_lost(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("cluster")
    rounds = [[incident] for incident in INCIDENTS]
    plan = Plan(rounds, SEED, ORDERS, RATE)
    assert await run(plan, on_all_nodes, folder, Console(width=120)), f"see {folder}"
