"""Everything that is measured, by name."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

import psycopg

from contracts.routing import PARTICIPANTS, Batches
from migrations.run import SERVICES, migrate
from oms.embedded.ports import free_ports
from tools.benchmarks.children import Program
from tools.benchmarks.environment import PEERS
from tools.benchmarks.measuring import Contender
from tools.benchmarks.peers.floor import storage as floor_storage
from tools.benchmarks.servers import Servers, plain
from tools.benchmarks.workload import ITEMS, ON_HAND

CALLS_AT_ONCE: Final = 256
"""What our providers bear; the default is for providers that are somewhere else."""

CLIENTS: Final = 64
"""Clients of the HTTP API."""

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


def _ours(service: str, servers: Servers, url: str, workload: str, **environment: str) -> Program:
    environment |= {
        "OMS_DATABASE_URL": url,
        "OMS_BROKER_URL": servers.broker_url,
        "OMS_PROVIDER_CONCURRENCY": os.environ.get("OMS_PROVIDER_CONCURRENCY", str(CALLS_AT_ONCE)),
    }
    command = (sys.executable, "-m", "tools.benchmarks.ours", service, workload)
    return Program(service, command, environment, drives=service in {"intake", "everything"})


def _ours_from_intake(servers: Servers, url: str, workload: str) -> list[Program]:
    return [_ours(name, servers, url, workload) for name in ("intake", *PARTICIPANTS)]


def _ours_in_one(servers: Servers, url: str, workload: str) -> list[Program]:
    return [_ours("everything", servers, url, workload)]


def with_batches(batches: Batches) -> Contender:
    """The project where such messages, and no others, travel in batches."""
    return _configured(f"ours-batches-{batches}", OMS_BENCH_BATCHES=batches)


def lingering(seconds: float) -> Contender:
    """The project whose consumers linger for so long under load."""
    return _configured(f"ours-linger-{seconds * 1000:g}-ms", OMS_LINGER_S=str(seconds))


def _configured(name: str, **environment: str) -> Contender:
    def programs(servers: Servers, url: str, workload: str) -> list[Program]:
        names = ("intake", *PARTICIPANTS)
        return [_ours(name, servers, url, workload, **environment) for name in names]

    return Contender(name, "ours", _prepare_ours, programs, audited=True)


def noting(folder: Path) -> Contender:
    """The project, whose processes note in a folder what an order waits for."""

    def programs(servers: Servers, url: str, workload: str) -> list[Program]:
        names = ("intake", *PARTICIPANTS)
        return [_ours(name, servers, url, workload, OMS_BENCH_TIMELINE=str(folder)) for name in names]

    return Contender("ours-noting", "ours", _prepare_ours, programs, audited=True)


def _ours_over_http(servers: Servers, url: str, workload: str) -> list[Program]:
    (port,) = free_ports(1)
    return [
        _ours("api", servers, url, workload, OMS_BENCH_PORT=str(port)),
        *(_ours(name, servers, url, workload) for name in ("orchestrator", *PARTICIPANTS)),
        _load(port, workload, plain(url)),
    ]


def _ours_accepting(servers: Servers, url: str, workload: str) -> list[Program]:
    (port,) = free_ports(1)
    return [_ours("api", servers, url, workload, OMS_BENCH_PORT=str(port)), _load(port, workload)]


def _load(port: int, workload: str, *database: str) -> Program:
    command = (
        sys.executable,
        "-m",
        "tools.benchmarks.http_load",
        str(port),
        str(CLIENTS),
        workload,
        *database,
    )
    return Program("load", command, drives=True)


def _prepare_floor(url: str) -> None:
    _execute(url, *floor_storage.SCHEMA)


def _floor(name: str) -> Contender:
    def programs(servers: Servers, url: str, workload: str) -> list[Program]:
        command = (sys.executable, "-m", "tools.benchmarks.peers.floor", name)
        places = (servers.broker_url, plain(url), workload)
        return [
            Program(service, (*command, service, *places), drives=service == "orchestrator")
            for service in floor_storage.SERVICES
        ]

    return Contender(name, "floor", _prepare_floor, programs)


OURS: Final = Contender("ours", "ours", _prepare_ours, _ours_from_intake, audited=True)
"""Four processes, driven from the orchestrator's intake."""

IN_ONE: Final = Contender("ours-in-one", "ours", _prepare_ours, _ours_in_one, audited=True)
"""One process without a broker, driven from its intake: `oms run`."""

WITH_PAST: Final = Contender("ours-past", "ours", _prepare_ours, _ours_from_intake, has_past=True)
"""The same on tables full of ended sagas."""

OVER_HTTP: Final = Contender("ours-http", "ours", _prepare_ours, _ours_over_http, audited=True)
"""Five processes: orders come over HTTP."""

ACCEPTING: Final = Contender("ours-accepting", "ours", _prepare_ours, _ours_accepting)
"""One API process that accepts orders; nobody works on them."""

FLOOR: Final = _floor("floor")
"""Four processes that do nothing but move the messages and rows."""

FLOOR_IN_BATCHES: Final = _floor("floor-batches")
"""The same, whose messages travel in batches."""


def _prepare_dbos(url: str) -> None:
    columns = "order_id text PRIMARY KEY, document text NOT NULL"
    _execute(url, *(f"CREATE TABLE {step} ({columns})" for step in ("reserve", "charge", "ship", "commit")))


def dbos(style: str, processes: int) -> Contender:
    """DBOS with workflows of one style in so many processes."""

    def programs(_: Servers, url: str, workload: str) -> list[Program]:
        command = (PEERS.python, "-m", "tools.benchmarks.peers.dbos", style, plain(url), workload)
        names = [f"dbos-{number + 1}" for number in range(processes)]
        return [Program(name, (*command, name), drives=True) for name in names]

    return Contender(f"dbos-{style}-{processes}", "dbos", _prepare_dbos, programs, messages_per_saga=0)


def _prepare_faststream(url: str) -> None:
    steps = ("reserve", "charge", "ship", "commit")
    _execute(
        url,
        "CREATE TABLE orders (order_id text PRIMARY KEY, status text NOT NULL, document text NOT NULL)"
        " WITH (fillfactor = 50)",
        *(f"CREATE TABLE step_{step} (order_id text PRIMARY KEY, document text NOT NULL)" for step in steps),
    )


def _faststream(servers: Servers, url: str, workload: str) -> list[Program]:
    command = (PEERS.python, "-m", "tools.benchmarks.peers.faststream")
    return [
        Program(
            service,
            (*command, service, servers.broker_url, plain(url), workload),
            drives=service == "orchestrator",
        )
        for service in ("orchestrator", *PARTICIPANTS)
    ]


FASTSTREAM: Final = Contender(
    "faststream", "faststream", _prepare_faststream, _faststream, messages_per_saga=8
)
"""A saga by hand, in four processes."""


def _prepare_insert(url: str) -> None:
    _execute(url, "CREATE TABLE orders (order_id text PRIMARY KEY, document text NOT NULL)")


def _insert(_: Servers, url: str, workload: str) -> list[Program]:
    (port,) = free_ports(1)
    command = (PEERS.python, "-m", "tools.benchmarks.peers.fastapi_insert", plain(url), str(port))
    return [Program("endpoint", command), _load(port, workload)]


INSERT: Final = Contender("fastapi-insert", "insert", _prepare_insert, _insert, messages_per_saga=0)
"""One process whose endpoint inserts one row per request."""
