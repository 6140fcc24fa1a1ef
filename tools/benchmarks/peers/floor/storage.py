"""Tables as narrow as they can be, and batches that go out in one round trip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from messaging.arrays import array_literal
from messaging.transport import Message, Receipt
from tools.benchmarks.workload import ITEMS, ON_HAND

SERVICES: Final = ("orchestrator", "inventory", "payment", "shipping")

_OUTBOX: Final = """
CREATE TABLE floor.{service}_outbox (
    message_id uuid PRIMARY KEY, type text NOT NULL, exchange text NOT NULL, routing_key text NOT NULL,
    correlation_id uuid, body bytea NOT NULL, created_at timestamptz NOT NULL)"""

_LEDGER: Final = """
CREATE TABLE floor.{service}_ledger (
    saga_id uuid, step text, state text NOT NULL, event_id uuid NOT NULL, outcome bytea, request bytea,
    at timestamptz NOT NULL, PRIMARY KEY (saga_id, step)) WITH (fillfactor = 70)"""

SCHEMA: Final = (
    "CREATE SCHEMA floor",
    "CREATE TABLE floor.orders (order_id uuid PRIMARY KEY, saga_id uuid NOT NULL, document json NOT NULL,"
    " created_at timestamptz NOT NULL)",
    "CREATE TABLE floor.sagas (saga_id uuid PRIMARY KEY, order_id uuid NOT NULL, status text NOT NULL,"
    " version int NOT NULL, at timestamptz NOT NULL, state json NOT NULL) WITH (fillfactor = 50)",
    "CREATE TABLE floor.history (saga_id uuid, version int, at timestamptz NOT NULL, kind text NOT NULL,"
    " accepted json NOT NULL, led_to json NOT NULL, PRIMARY KEY (saga_id, version))",
    "CREATE TABLE floor.stock (sku text PRIMARY KEY, on_hand bigint NOT NULL, reserved bigint NOT NULL,"
    " CHECK (0 <= reserved AND reserved <= on_hand)) WITH (fillfactor = 50)",
    "CREATE TABLE floor.stock_movements (movement_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
    " sku text NOT NULL, quantity bigint NOT NULL, saga_id uuid NOT NULL, at timestamptz NOT NULL)",
    *(_OUTBOX.format(service=service) for service in SERVICES),
    *(_LEDGER.format(service=service) for service in SERVICES[1:]),
    "INSERT INTO floor.stock SELECT 'ITEM-' || lpad(i::text, 6, '0'), "
    f"{ON_HAND}, 0 FROM generate_series(1, {ITEMS}) i",
)
"""Primary keys and nothing else: no index serves a query that the floor does not make."""

_INSERT_OUTBOX: Final = """
INSERT INTO floor.{service}_outbox SELECT * FROM unnest(
    %s::uuid[], %s::text[], %s::text[], %s::text[], %s::uuid[], %s::bytea[], %s::timestamptz[])"""

_DELETE_OUTBOX: Final = "DELETE FROM floor.{service}_outbox WHERE message_id = ANY(%s::uuid[])"


class Batch:
    """What one transaction writes."""

    def __init__(self) -> None:
        self.statements: list[tuple[str, list[str]]] = []

    def write(self, statement: str, *columns: Sequence[Any]) -> None:
        """A statement with one array a column."""
        self.statements.append((statement, [array_literal(column) for column in columns]))


class Outbox:
    """Rows of messages that are not confirmed yet, and the ids of those that are."""

    def __init__(self, service: str) -> None:
        self._insert = _INSERT_OUTBOX.format(service=service)
        self._delete = _DELETE_OUTBOX.format(service=service)
        self._confirmed: list[UUID] = []

    def into(self, batch: Batch, messages: Sequence[Message]) -> None:
        """Write these messages, and delete what has been confirmed since the last batch."""
        if messages:
            batch.write(
                self._insert,
                [message.message_id for message in messages],
                [message.type for message in messages],
                [message.exchange for message in messages],
                [message.routing_key for message in messages],
                [message.correlation_id for message in messages],
                [message.body for message in messages],
                [message.timestamp for message in messages],
            )
        confirmed, self._confirmed = self._confirmed, []
        if confirmed:
            batch.write(self._delete, confirmed)

    def confirm(self, message_id: UUID, receipt: Receipt) -> None:
        """Take note of a confirm; anything else would be a bug of the benchmark."""
        if receipt is not Receipt.CONFIRMED:
            raise AssertionError(f"{message_id}: {receipt}")
        self._confirmed.append(message_id)


class Connection:
    """One connection that commits batches."""

    def __init__(self, connection: AsyncConnection[TupleRow]) -> None:
        self._connection = connection

    @classmethod
    async def open(cls, url: str) -> Connection:
        """Connect to ``postgresql://...``."""
        return cls(await AsyncConnection.connect(url, autocommit=True, prepare_threshold=1))

    async def commit(self, batch: Batch) -> None:
        """One transaction, one round trip."""
        async with self._connection.pipeline():
            await self._connection.execute("BEGIN")
            for statement, parameters in batch.statements:
                await self._connection.execute(statement.encode(), parameters)
            await self._connection.execute("COMMIT")
