"""One process of DBOS: ``python -m tools.benchmarks.peers.dbos STYLE DATABASE WORKLOAD NAME``.

STYLE is how a workflow is written: as plain functions (``threads``) or as coroutines (``async``), whose steps
write for themselves and are checkpointed beside that; or with ``transactions`` of a DBOS datasource, which
commit a step's write and its checkpoint together (as coroutines these were the slowest of all).
"""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from typing import Any, Final

import asyncpg
import sqlalchemy as sa
from dbos import DBOS, DBOSConfig, SetWorkflowID, SQLAlchemyDatasource

from tools.benchmarks.closed_loop import ClosedLoop, drive
from tools.benchmarks.workload import WORKLOADS, Order

THREADS: Final = 256
POOL_SIZE: Final = 20
"""Connections for the application's tables, and as many for the system's."""

STEPS: Final = ("reserve", "charge", "ship", "commit")
WRITE: Final = "INSERT INTO {step} (order_id, document) VALUES ($1, $2)"
NAMED_WRITE: Final = "INSERT INTO {step} (order_id, document) VALUES (:order_id, :document)"
ENGINE: Final[dict[str, Any]] = {"pool_size": POOL_SIZE, "max_overflow": 0}

Workflow = Callable[[str, str], str]
AsyncWorkflow = Callable[[str, str], Awaitable[str]]
Begin = Callable[[str, str], Awaitable[str]]
"""Runs one workflow, given the order's id and its document, to its end."""


def with_transactions(url: str) -> Workflow:
    """Plain functions; each step's write and checkpoint commit together."""
    source = SQLAlchemyDatasource.create(_for_sqlalchemy(url), ENGINE)

    def write(step: str) -> Callable[[str, str], None]:
        statement = sa.text(NAMED_WRITE.format(step=step))

        @source.transaction(name=step, isolation_level="READ COMMITTED")
        def run(order_id: str, document: str) -> None:
            source.sql_session().execute(statement, {"order_id": order_id, "document": document})

        return run

    steps = [write(step) for step in STEPS]

    @DBOS.workflow(name="order")
    def order(order_id: str, document: str) -> str:
        for step in steps:
            step(order_id, document)
        return "completed"

    return order


def with_steps(url: str) -> Workflow:
    """Plain functions; each step writes through a pool of the application's own."""
    engine = sa.create_engine(_for_sqlalchemy(url), isolation_level="AUTOCOMMIT", **ENGINE)

    def write(step: str) -> Callable[[str, str], None]:
        statement = sa.text(NAMED_WRITE.format(step=step))

        @DBOS.step(name=step)
        def run(order_id: str, document: str) -> None:
            with engine.connect() as connection:
                connection.execute(statement, {"order_id": order_id, "document": document})

        return run

    steps = [write(step) for step in STEPS]

    @DBOS.workflow(name="order")
    def order(order_id: str, document: str) -> str:
        for step in steps:
            step(order_id, document)
        return "completed"

    return order


async def with_async_steps(url: str) -> AsyncWorkflow:
    """Coroutines; each step writes through a pool of the application's own."""
    pool = await asyncpg.create_pool(url, min_size=POOL_SIZE, max_size=POOL_SIZE)

    def write(step: str) -> Callable[[str, str], Awaitable[None]]:
        statement = WRITE.format(step=step)

        @DBOS.step(name=step)
        async def run(order_id: str, document: str) -> None:
            await pool.execute(statement, order_id, document)

        return run

    steps = [write(step) for step in STEPS]

    @DBOS.workflow(name="order")
    async def order(order_id: str, document: str) -> str:
        for step in steps:
            await step(order_id, document)
        return "completed"

    return order


class Driver:
    """Runs workflows, each in a thread or a task of its own, and waits for their results."""

    def __init__(self, orders: list[Order], begin: Begin) -> None:
        self.loop = ClosedLoop(self._launch)
        self._begin = begin
        self._documents = cycle([json.dumps(order) for order in orders])
        self._tasks: set[asyncio.Task[None]] = set()

    def _launch(self, count: int) -> None:
        for _ in range(count):
            order_id = str(uuid.uuid4())
            self.loop.began(order_id)
            task = asyncio.create_task(self._run(order_id, next(self._documents)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self, order_id: str, document: str) -> None:
        self.loop.ended(order_id, await self._begin(order_id, document))


def in_threads(workflow: Workflow) -> Begin:
    """Runs a workflow of plain functions."""
    threads = ThreadPoolExecutor(THREADS)

    def call(order_id: str, document: str) -> str:
        with SetWorkflowID(order_id):
            return workflow(order_id, document)

    async def begin(order_id: str, document: str) -> str:
        return await asyncio.get_running_loop().run_in_executor(threads, call, order_id, document)

    return begin


async def as_coroutines(url: str) -> Begin:
    """Runs a workflow of coroutines."""
    workflow = await with_async_steps(url)

    async def begin(order_id: str, document: str) -> str:
        with SetWorkflowID(order_id):
            return await workflow(order_id, document)

    return begin


async def run(style: str, url: str, workload: str, name: str) -> None:
    """Launch DBOS and drive it until the harness hangs up."""
    config: DBOSConfig = {
        "name": "order-fulfilment",
        "executor_id": name,
        "system_database_url": url,
        "sys_db_pool_size": POOL_SIZE,
        "log_level": "ERROR",
        "max_executor_threads": THREADS,
    }
    DBOS(config=config)
    if style == "async":
        begin = await as_coroutines(url)
    else:
        begin = in_threads(with_steps(url) if style == "threads" else with_transactions(url))
    DBOS.launch()
    await drive(Driver(WORKLOADS[workload].orders(1000, seed=1), begin).loop)
    DBOS.destroy()


def _for_sqlalchemy(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


if __name__ == "__main__":
    asyncio.run(run(*sys.argv[1:5]))
