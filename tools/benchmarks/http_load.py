"""Orders over HTTP: ``python -m tools.benchmarks.http_load PORT CLIENTS WORKLOAD [DATABASE]``.

An order counts as ended when it is accepted; or, where the project's database is given, when the project
notifies there that its saga is over, as it does for customers who wait: nobody polls.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from functools import partial
from itertools import count, cycle
from typing import Final

import psycopg
import uvloop

from orchestrator.progress import CHANNEL
from tools.benchmarks.closed_loop import ClosedLoop, drive
from tools.benchmarks.http_client import Clients, post
from tools.benchmarks.workload import WORKLOADS

HOST: Final = "127.0.0.1"
ENDED: Final = "."
"""Stands behind an order's id in a notification when its saga is over."""


class Load:
    """Submits orders and hears of their ends."""

    def __init__(self, clients: Clients, workload: str, *, hears_news: bool) -> None:
        self.loop = ClosedLoop(self._launch)
        self._clients = clients
        bodies = [json.dumps(order).encode() for order in WORKLOADS[workload].orders(1000, seed=1)]
        self._requests = cycle([post("/orders", body) for body in bodies])
        self._hears_news = hears_news
        self._numbers = count()
        self._accepted: dict[str, int] = {}
        self._early: set[str] = set()
        """Over before their acceptance was heard of."""
        self.refused: Counter[int] = Counter()

    def _launch(self, how_many: int) -> None:
        for _ in range(how_many):
            number = next(self._numbers)
            self.loop.began(number)
            self._clients.ask(next(self._requests), partial(self._answer, number))

    def _answer(self, number: int, status: int, body: bytes) -> None:
        if status != 202:
            self.refused[status] += 1
            self.loop.ended(number, f"status {status}")
        elif not self._hears_news:
            self.loop.ended(number, "accepted")
        else:
            order_id = json.loads(body)["order_id"].replace("-", "")
            if order_id in self._early:
                self._early.discard(order_id)
                self.loop.ended(number, "ended")
            else:
                self._accepted[order_id] = number

    async def listen(self, database: str) -> None:
        """Hear for ever which sagas are over."""
        async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
            await connection.execute(f"LISTEN {CHANNEL}")
            async for news in connection.notifies():
                for word in news.payload.split():
                    if word.endswith(ENDED):
                        self._note_end(word.removesuffix(ENDED))

    def _note_end(self, order_id: str) -> None:
        number = self._accepted.pop(order_id, None)
        if number is None:
            self._early.add(order_id)
        else:
            self.loop.ended(number, "ended")


async def run(port: int, clients_count: int, workload: str, database: str | None) -> None:
    """Drive until the harness hangs up."""
    clients = Clients(HOST, port)
    await clients.connect(clients_count)
    load = Load(clients, workload, hears_news=database is not None)
    async with asyncio.TaskGroup() as tasks:
        listening = tasks.create_task(load.listen(database)) if database else None
        await drive(load.loop)
        if listening is not None:
            listening.cancel()


if __name__ == "__main__":
    port, clients_count, workload, *database = sys.argv[1:]
    uvloop.run(run(int(port), int(clients_count), workload, next(iter(database), None)))
