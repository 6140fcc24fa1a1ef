"""One PostgreSQL database for one world after the other: its clock is the world's, and it tells what it did.

Triggers write down every change of a row; what a commit has made visible is read right after it, before
anybody who waits for that commit goes on. Transactions are told in an order in which they can have happened.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from contracts.routing import INVENTORY, ORCHESTRATOR, PARTICIPANTS
from messaging.transport import Message
from migrations.run import migrate
from orchestrator.codec import read_input
from participants.inventory.allocation import Place
from simulation.cast import ORDERS, Cast
from simulation.postgresql import rows, stand_ins
from simulation.storage.database import Change
from simulation.storage.orchestrator import AUDIT, DEAD_LETTERS, HISTORY, SAGAS
from simulation.storage.participants import LEDGER, MOVEMENTS, STOCK, STOCK_AT
from simulation.storage.transaction import INSTALLATION, OUTBOX

SERVICES: Final = (ORCHESTRATOR, *PARTICIPANTS)

WATCHED: Final[Mapping[str, Sequence[str]]] = {
    ORCHESTRATOR: (SAGAS, HISTORY, DEAD_LETTERS, OUTBOX, AUDIT),
    **{name: (LEDGER, OUTBOX) for name in PARTICIPANTS if name != INVENTORY},
    INVENTORY: (LEDGER, OUTBOX, STOCK, STOCK_AT, MOVEMENTS),
}
"""The tables of each schema whose changes are told."""

SETTINGS: Final = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "deadlock_timeout": "5ms",
}
"""Of a private server for simulations: nothing has to outlive it, and deadlocks are found at once."""

_PREPARE: Final = """
CREATE SCHEMA sim;
CREATE UNLOGGED TABLE sim.changes (
    number bigint GENERATED ALWAYS AS IDENTITY, transaction xid8 NOT NULL DEFAULT pg_current_xact_id(),
    service text NOT NULL, name text NOT NULL, before text, after text);
CREATE FUNCTION sim.tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO sim.changes (service, name, before, after)
    VALUES (TG_TABLE_SCHEMA, TG_TABLE_NAME,
            CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD)::text END,
            CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW)::text END);
    RETURN NULL;
END $$;
"""

_CLOCK: Final = """
CREATE SCHEMA {schema};
CREATE SEQUENCE {schema}.clock;
CREATE FUNCTION {schema}.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
    'SELECT timestamptz ''epoch'' + last_value * interval ''1 microsecond'' FROM {schema}.clock';
"""

_WATCH: Final = (
    "CREATE TRIGGER told AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION sim.tell()"
)

_TAKE: Final = """
WITH told AS (DELETE FROM sim.changes RETURNING *)
SELECT transaction::text, service, name, before, after FROM told
ORDER BY max(number) OVER (PARTITION BY transaction), number
"""
"""What has become visible. Whoever waited for a transaction has its last change after all of that one's."""

_WAITING: Final = """
SELECT count(*) FROM pg_stat_activity
WHERE pid = ANY(%s) AND state = 'active' AND wait_event_type = 'Lock'
"""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def search_path(service: str) -> str:
    """Where a service's sessions find functions: ``clock_timestamp`` is the world's clock there."""
    return f"sim_{service}, pg_catalog"


def prepare(url: str) -> None:
    """Make a database fit for simulations: all schemas, clocks, triggers. Leaves no connection open."""
    for service in SERVICES:
        migrate(service, url)
    with _connect(url) as connection:
        connection.execute(_PREPARE)
        for service in SERVICES:
            _add_clock(connection, service)
        for service, names in WATCHED.items():
            _watch(connection, service, names)


def _add_clock(connection: psycopg.Connection[Any], service: str) -> None:
    connection.execute(sql.SQL(_CLOCK).format(schema=sql.Identifier(f"sim_{service}")))


def _watch(connection: psycopg.Connection[Any], schema: str, names: Sequence[str]) -> None:
    for name in names:
        connection.execute(sql.SQL(_WATCH).format(table=sql.Identifier(schema, name)))


def _connect(url: str) -> psycopg.Connection[Any]:
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(plain, autocommit=True, options="-c timezone=UTC")


class Observed:
    """The rows of one schema as they were last told; what the world itself looks at."""

    def __init__(self) -> None:
        self._tables: defaultdict[str, dict[Any, Any]] = defaultdict(dict)

    def table(self, name: str) -> dict[Any, Any]:
        """The committed rows of one table, by primary key. Not to be changed."""
        return self._tables[name]


class PostgresDatabase:
    """A prepared database and the one who looks on."""

    def __init__(self, url: str) -> None:
        """
        Args:
            url: of a database that `prepare` has made fit, which nobody else uses.
        """
        self.conninfo = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        self._eye = _connect(url)
        self.observed: dict[str, Observed] = {}
        self._inputs: dict[UUID, Any] = {}
        self._cast = ORDERS
        self._stand_ins: list[str] = []
        self._tell: Callable[[str, list[Change]], None] = lambda service, changes: None

    def begin(self, cast: Cast, tell: Callable[[str, list[Change]], None]) -> None:
        """Empty everything for a new world, whose watchers are told of every transaction."""
        for name in cast.stand_ins:
            if name not in self._stand_ins:
                self._add_stand_in(name)
        schemas = [*SERVICES, "sim", *map(stand_ins.schema_of, self._stand_ins)]
        names = self._eye.execute(
            "SELECT schemaname || '.' || tablename FROM pg_tables"
            " WHERE schemaname = ANY(%s) AND tablename <> 'schema_version'",
            [schemas],
        ).fetchall()
        self._eye.execute(f"TRUNCATE {', '.join(name for (name,) in names)} RESTART IDENTITY".encode())
        for service in SERVICES:
            row = f"INSERT INTO {service}.installation VALUES (1, '{INSTALLATION}', now())"  # noqa: S608
            self._eye.execute(row.encode())
        self.observed = {service: Observed() for service in (*SERVICES, *self._stand_ins)}
        self._inputs.clear()
        self._cast = cast
        self._tell = tell

    def look(self) -> None:
        """Tell what has been committed since the last look."""
        for (_, service), told in groupby(self._eye.execute(_TAKE).fetchall(), key=itemgetter(0, 1)):
            self._tell_of(stand_ins.service_of(service), [row[2:] for row in told])

    def all_wait(self, backends: Collection[int]) -> bool:
        """Whether each of these backends waits for a lock."""
        found = self._eye.execute(_WAITING, [list(backends)]).fetchone()
        return found is not None and found[0] == len(backends)

    def end(self, backend: int) -> None:
        """End a session of the server, whatever it is doing."""
        self._eye.execute("SELECT pg_terminate_backend(%s, 5000)", [backend])

    def count_stock(self, sku: str, counted: Callable[[int, int], int], at: datetime) -> None:
        """Set what is on hand, as a person who counts does.

        Args:
            counted: given what is on hand and reserved, returns what is on hand from now on.

        Raises:
            LockNotAvailable: somebody is busy with this product.
        """
        with self._eye.transaction():
            self._eye.execute("SET LOCAL lock_timeout = '5ms'")
            row = self._eye.execute(
                "SELECT on_hand, reserved FROM inventory.stock WHERE sku = %s FOR NO KEY UPDATE", [sku]
            ).fetchone()
            on_hand, reserved = row or (0, 0)
            now = counted(on_hand, reserved)
            self._eye.execute(
                "INSERT INTO inventory.stock (sku, on_hand, reserved, updated_at) VALUES (%s, %s, 0, %s)"
                " ON CONFLICT (sku) DO UPDATE SET on_hand = excluded.on_hand",
                [sku, now, at],
            )
            self._eye.execute(
                "INSERT INTO inventory.stock_movements (sku, kind, quantity, recorded_at)"
                " VALUES (%s, 'adjustment', %s, %s)",
                [sku, now - on_hand, at],
            )
        self.look()

    def place_stock(self, place: Place, count: int, at: datetime) -> None:
        """Let so much of a product's stock be at a location that has a name."""
        self._eye.execute("INSERT INTO inventory.stock_at VALUES (%s, %s, %s, 0, %s)", [*place, count, at])
        self.look()

    def raise_mark(self, mark: UUID, messages: Sequence[Message], now: datetime) -> None:
        """Let the orchestrator's low-water mark stand here, and leave messages to its relay (P7)."""
        with self._eye.transaction():
            self._eye.execute(
                "INSERT INTO orchestrator.retention (id, mark, advanced_at) VALUES (1, %s, %s)", [mark, now]
            )
            for message in messages:
                self._eye.execute(
                    "INSERT INTO orchestrator.outbox (message_id, type, exchange, routing_key, mandatory,"
                    " app_id, headers, body, created_at, claimed_until)"
                    " VALUES (%s, %s, %s, %s, true, %s, %s, %s, %s, %s)",
                    [
                        *(message.message_id, message.type, message.exchange, message.routing_key),
                        *(message.app_id, json.dumps(dict(message.headers)), message.body, now, now),
                    ],
                )
        self.look()

    def write_order(self, order_id: UUID, document: str) -> None:
        """Write over what is stored of an order."""
        query = "UPDATE orchestrator.orders SET document = %s::json WHERE order_id = %s"
        self._eye.execute(query, [document, order_id])

    def execute(self, statement: str) -> None:
        """Change the database itself."""
        self._eye.execute(statement.encode())

    def close(self) -> None:
        """Look no more."""
        self._eye.close()

    def _tell_of(self, service: str, told: Sequence[tuple[str, str | None, str | None]]) -> None:
        seen = self.observed[service]
        changes: dict[tuple[str, Any], Change] = {}
        for name, before, after in told:
            row = json.loads(after or before or "{}")
            key = rows.KEYS[name](row)
            known = seen.table(name)
            first = changes.get((name, key))
            value = None if after is None else self._value(name, row)
            changes[name, key] = Change(name, key, known.get(key) if first is None else first.before, value)
        for change in changes.values():
            if change.after is None:
                seen.table(change.table).pop(change.key, None)
            else:
                seen.table(change.table)[change.key] = change.after
        self._tell(service, list(changes.values()))

    def _value(self, name: str, row: rows.Row) -> Any:
        if name != SAGAS:
            return rows.VALUES[name](row)
        subject_id = UUID(row["order_id"])
        if subject_id not in self._inputs:
            found = self._eye.execute(
                "SELECT document::text FROM orchestrator.orders WHERE order_id = %s", [subject_id]
            ).fetchone()
            assert found is not None
            definition = self._cast.registry.find(row["definition"], row["definition_version"])
            self._inputs[subject_id] = read_input(definition, found[0])
        return rows.saga(row, self._inputs[subject_id])

    def _add_stand_in(self, name: str) -> None:
        for statement in stand_ins.statements(name):
            self.execute(statement)
        _add_clock(self._eye, name)
        _watch(self._eye, stand_ins.schema_of(name), (LEDGER, OUTBOX))
        self._stand_ins.append(name)


def microseconds(moment: datetime) -> int:
    """A moment as the clock's sequence holds it."""
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
