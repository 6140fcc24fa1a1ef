"""PostgreSQL's primary is lost under load, its synchronous standby goes on, and nothing was forgotten."""

from __future__ import annotations

import pytest
from rich.console import Console

from tools.chaos.__main__ import run
from tools.chaos.course import Plan
from tools.failover.standby import INCIDENTS, synchronous

pytestmark = [pytest.mark.failover, pytest.mark.rabbitmq, pytest.mark.postgresql, pytest.mark.timeout(900)]

SEED, ORDERS, RATE = 2, 300, 15.0


async def test_nothing_that_was_accepted_is_lost_or_done_twice(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("standby")
    plan = Plan([[incident] for incident in INCIDENTS], SEED, ORDERS, RATE)
    assert await run(plan, synchronous, folder, Console(width=120)), f"see {folder}"
