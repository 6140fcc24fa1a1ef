"""What the services and their servers hold on to, read every few seconds of a run."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import aio_pika.exceptions
import psutil
import psycopg

from tools.chaos.scene import OUTBOXES
from tools.chaos.stage import WORK_QUEUES, Stage

logging.getLogger("aiormq").setLevel(logging.CRITICAL)
"""That the broker is away is no news here."""

EVERY_S: Final = 5.0
PATIENCE_S: Final = 4.0
"""For a server that a fault keeps from answering: its figures are missing from that sample then."""

_ROWS: Final = " UNION ALL ".join(f"SELECT '{name}', count(*) FROM {name}.outbox" for name in OUTBOXES)
_SESSIONS: Final = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
_TABLES: Final = (
    "SELECT schemaname, relname, pg_total_relation_size(relid), n_dead_tup FROM pg_stat_user_tables"
)


@dataclass(frozen=True, slots=True)
class Held:
    """What one process holds at a moment."""

    pid: int
    resident_mb: float
    handles: int
    threads: int
    connections: int


@dataclass(frozen=True, slots=True)
class Stored:
    """What PostgreSQL holds at a moment; sizes in bytes with indexes, by schema."""

    sessions: int
    outbox_rows: dict[str, int]
    outbox_bytes: int
    schema_bytes: dict[str, int]
    dead_rows: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at everything, so many seconds after the first one. None where a server did not answer."""

    at_s: float
    now: str
    ended: int
    processes: dict[str, Held]
    broker_connections: int
    queued: int | None
    stored: Stored | None


class Gauges:
    """Reads until it is cancelled; every sample is also a line of JSON in `file`."""

    def __init__(self, stage: Stage, file: Path) -> None:
        self.samples: list[Sample] = []
        self._stage = stage
        self._file = file

    async def keep_reading(self, course: Callable[[], tuple[str, int]]) -> None:
        """One sample after the other; `course` tells what goes on, and how many orders have ended."""
        clock = asyncio.get_running_loop().time
        began = clock()
        with self._file.open("a") as file:
            while True:
                held = await asyncio.to_thread(self._held)
                connections = self._stage.proxies["broker"].connections
                queued, stored = await asyncio.gather(self._queued(), self._stored())
                sample = Sample(clock() - began, *course(), held, connections, queued, stored)
                self.samples.append(sample)
                print(json.dumps(asdict(sample)), file=file, flush=True)
                await asyncio.sleep(EVERY_S)

    def _held(self) -> dict[str, Held]:
        services = self._stage.services.services
        pids = {name: service.pid for name, service in services.items()}
        return {name: held for name, pid in pids.items() if pid is not None and (held := _of(pid))}

    async def _queued(self) -> int | None:
        """Messages that are ready in the work queues."""
        try:
            async with asyncio.timeout(PATIENCE_S), self._stage.channel() as channel:
                queues = [await channel.declare_queue(name, passive=True) for name in WORK_QUEUES]
                return sum(queue.declaration_result.message_count or 0 for queue in queues)
        except (aio_pika.exceptions.AMQPError, OSError, TimeoutError, RuntimeError):
            return None

    async def _stored(self) -> Stored | None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                [(sessions,)] = await self._stage.rows(_SESSIONS)
                rows = dict(await self._stage.rows(_ROWS))
                tables = await self._stage.rows(_TABLES)
        except (psycopg.Error, OSError, TimeoutError):
            return None
        schemas = dict.fromkeys((schema for schema, *_ in tables), 0)
        for schema, _, size, _ in tables:
            schemas[schema] += size
        outbox_bytes = sum(size for _, table, size, _ in tables if table == "outbox")
        return Stored(sessions, rows, outbox_bytes, schemas, sum(dead for *_, dead in tables))


def _of(pid: int) -> Held | None:
    """None when it has ended meanwhile."""
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            return Held(
                pid,
                round(process.memory_info().rss / 2**20, 1),
                process.num_fds(),
                process.num_threads(),
                len(process.net_connections("tcp")),
            )
    except psutil.Error:
        return None
