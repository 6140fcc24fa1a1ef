"""Everything that is measured, by name."""

from __future__ import annotations

import sys
from typing import Final

import psycopg

from benchmarks.children import Program
from benchmarks.environment import peers_python
from benchmarks.measuring import Contender
from benchmarks.peers.floor import storage as floor_storage
from benchmarks.servers import Servers, plain
from benchmarks.workload import ITEMS, ON_HAND
from contracts.routing import PARTICIPANTS
from migrations.run import SERVICES, migrate

_STOCK: Final = (
    "INSERT INTO inventory.stock (sku, on_hand, reserved, updated_at) "
    f"SELECT 'ITEM-' || lpad(i::text, 6, '0'), {ON_HAND}, 0, now() FROM generate_series(1, {ITEMS}) i",
    "INSERT INTO inventory.stock_movements (sku, kind, quantity, recorded_at) "
    "SELECT sku, 'adjustment', on_hand, updated_at FROM inventory.stock",
)


def _execute(url: str, *statements: str) -> None:
    with psycopg.connect(plain(url), autocommit=True) as connection:
        for statement in (*statements, "VACUUM ANALYZE"):
            connection.execute(statement.encode())


def _prepare_ours(url: str) -> None:
    for service in SERVICES:
        migrate(service, url)
    _execute(url, *_STOCK)


def _ours(service: str, servers: Servers, url: str, workload: str, *, drives: bool = False) -> Program:
    environment = {"OMS_DATABASE_URL": url, "OMS_BROKER_URL": servers.broker_url}
    command = (sys.executable, "-m", "benchmarks.ours", service, workload)
    return Program(service, command, environment, drives)


def _ours_from_intake(servers: Servers, url: str, workload: str) -> list[Program]:
    return [
        _ours("orchestrator", servers, url, workload, drives=True),
        *(_ours(name, servers, url, workload) for name in PARTICIPANTS),
    ]


def _prepare_floor(url: str) -> None:
    _execute(url, *floor_storage.SCHEMA)


def _floor(servers: Servers, url: str, workload: str) -> list[Program]:
    command = (sys.executable, "-m", "benchmarks.peers.floor")
    return [
        Program(
            service,
            (*command, service, servers.broker_url, plain(url), workload),
            drives=service == "orchestrator",
        )
        for service in floor_storage.SERVICES
    ]


OURS: Final = Contender("ours", "ours", _prepare_ours, _ours_from_intake)
"""Four processes, driven from the orchestrator's intake."""

FLOOR: Final = Contender("floor", "floor", _prepare_floor, _floor)
"""Four processes that do nothing but move the messages and rows."""


def _prepare_dbos(url: str) -> None:
    columns = "order_id text PRIMARY KEY, document text NOT NULL"
    _execute(url, *(f"CREATE TABLE {step} ({columns})" for step in ("reserve", "charge", "ship", "commit")))


def dbos(style: str, processes: int) -> Contender:
    """DBOS with workflows of one style in so many processes."""

    def programs(_: Servers, url: str, workload: str) -> list[Program]:
        command = (peers_python(), "-m", "benchmarks.peers.dbos", style, plain(url), workload)
        names = [f"dbos-{number + 1}" for number in range(processes)]
        return [Program(name, (*command, name), drives=True) for name in names]

    return Contender(f"dbos-{style}-{processes}", "dbos", _prepare_dbos, programs, messages_per_saga=0)


D1 = dbos("threads", 1)
D2 = dbos("async", 1)
D3 = dbos("transactions", 1)
D4 = dbos("threads", 2)
D5 = dbos("async", 2)


def _prepare_faststream(url: str) -> None:
    steps = ("reserve", "charge", "ship", "commit")
    _execute(
        url,
        "CREATE TABLE orders (order_id text PRIMARY KEY, status text NOT NULL, document text NOT NULL)"
        " WITH (fillfactor = 50)",
        *(f"CREATE TABLE step_{step} (order_id text PRIMARY KEY, document text NOT NULL)" for step in steps),
    )


def _faststream(servers: Servers, url: str, workload: str) -> list[Program]:
    command = (peers_python(), "-m", "benchmarks.peers.faststream")
    return [
        Program(
            service,
            (*command, service, servers.broker_url, plain(url), workload),
            drives=service == "orchestrator",
        )
        for service in ("orchestrator", *PARTICIPANTS)
    ]


FASTSTREAM: Final = Contender("faststream", "faststream", _prepare_faststream, _faststream, messages_per_saga=8)
"""A saga by hand, in four processes."""
