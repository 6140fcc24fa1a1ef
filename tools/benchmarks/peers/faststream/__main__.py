"""One process of FastStream: ``python -m tools.benchmarks.peers.faststream SERVICE BROKER DATABASE LOAD``."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import uuid
from itertools import cycle
from typing import Any, Final

import asyncpg
import uvloop
from faststream.rabbit import Channel, QueueType, RabbitBroker, RabbitQueue
from pydantic import BaseModel

from tools.benchmarks.closed_loop import ClosedLoop, drive, stay
from tools.benchmarks.workload import WORKLOADS

PREFETCH: Final = 100
"""Messages that one process handles side by side: 20, 300 and 1,000 were slower or no faster."""

POOL_SIZE: Final = 20

NEXT: Final = {
    "reserved": ("paid", "payment", "charge"),
    "charged": ("shipped", "shipping", "ship"),
    "shipped": ("committed", "inventory", "commit"),
}
"""By outcome: the order's next status, whom to command, and what."""

OUTCOME: Final = {"reserve": "reserved", "charge": "charged", "ship": "shipped", "commit": "reduced"}


class Command(BaseModel):
    """What a participant is asked for."""

    order_id: str
    step: str
    document: dict[str, Any]


class Outcome(BaseModel):
    """What came of it."""

    order_id: str
    outcome: str


def queue(name: str) -> RabbitQueue:
    """A queue that survives what the project's queues survive."""
    return RabbitQueue(f"faststream.{name}", queue_type=QueueType.QUORUM, durable=True)


class Orchestrator:
    """Starts orders and follows their outcomes."""

    def __init__(self, broker: RabbitBroker, pool: Any, workload: str) -> None:
        self.loop = ClosedLoop(self._launch)
        self._broker = broker
        self._pool = pool
        self._orders = cycle(WORKLOADS[workload].orders(1000, seed=1))
        self._open: dict[str, dict[str, Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def _launch(self, count: int) -> None:
        for _ in range(count):
            order_id = str(uuid.uuid4())
            self._open[order_id] = next(self._orders)
            self.loop.began(order_id)
            task = asyncio.create_task(self._start(order_id))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _start(self, order_id: str) -> None:
        document = self._open[order_id]
        await self._pool.execute(
            "INSERT INTO orders (order_id, status, document) VALUES ($1, 'started', $2)",
            order_id,
            json.dumps(document),
        )
        await self._command(order_id, "inventory", "reserve")

    async def follow(self, outcome: Outcome) -> None:
        """One outcome: one write, one command."""
        order_id = outcome.order_id
        if order_id not in self._open:
            return
        status, participant, step = NEXT.get(outcome.outcome, ("completed", "", ""))
        await self._pool.execute("UPDATE orders SET status = $2 WHERE order_id = $1", order_id, status)
        if participant:
            await self._command(order_id, participant, step)
        else:
            del self._open[order_id]
            self.loop.ended(order_id, "completed")

    async def _command(self, order_id: str, participant: str, step: str) -> None:
        command = Command(order_id=order_id, step=step, document=self._open[order_id])
        await self._broker.publish(command, queue(participant), persist=True, mandatory=True)


class Participant:
    """Does a step: one write, one outcome."""

    def __init__(self, broker: RabbitBroker, pool: Any) -> None:
        self._broker = broker
        self._pool = pool

    async def serve(self, command: Command) -> None:
        """One command."""
        await self._pool.execute(
            f"INSERT INTO step_{command.step} (order_id, document) VALUES ($1, $2)",
            command.order_id,
            json.dumps(command.document),
        )
        outcome = Outcome(order_id=command.order_id, outcome=OUTCOME[command.step])
        await self._broker.publish(outcome, queue("outcomes"), persist=True, mandatory=True)


async def run(service: str, broker_url: str, database: str, workload: str) -> None:
    """Serve until the harness hangs up."""
    pool = await asyncpg.create_pool(database, min_size=POOL_SIZE, max_size=POOL_SIZE)
    channel = Channel(prefetch_count=PREFETCH)
    broker = RabbitBroker(broker_url, default_channel=channel, logger=None, log_level=logging.ERROR)
    if service == "orchestrator":
        orchestrator = Orchestrator(broker, pool, workload)
        broker.subscriber(queue("outcomes"))(orchestrator.follow)
        talk = drive(orchestrator.loop)
    else:
        broker.subscriber(queue(service))(Participant(broker, pool).serve)
        talk = stay()
    await broker.start()
    await talk
    await broker.stop()
    await pool.close()


if __name__ == "__main__":
    uvloop.run(run(*sys.argv[1:5]))
