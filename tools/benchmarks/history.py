"""A past: ended sagas by the hundred thousand, copied from real ones with ids that came before all others."""

from __future__ import annotations

from typing import Final

import psycopg
from psycopg import sql

COPIED: Final = (
    "orchestrator.orders",
    "orchestrator.sagas",
    "orchestrator.history",
    "inventory.ledger",
    "inventory.stock_movements",
    "payment.ledger",
    "shipping.ledger",
)
CHUNK: Final = 50_000

_SAMPLES: Final = """
CREATE UNLOGGED TABLE bench_samples AS
SELECT row_number() OVER (ORDER BY saga_id) - 1 AS nr, saga_id, order_id
FROM orchestrator.sagas WHERE ended_at IS NOT NULL
"""

_COPIES: Final = """
CREATE TEMPORARY TABLE bench_copies ON COMMIT DROP AS
SELECT n, old.saga_id, old.order_id, bench_id(n, 's') AS new_saga_id, bench_id(n, 'o') AS new_order_id
FROM generate_series(%s::bigint, %s::bigint) n
JOIN bench_samples old ON old.nr = n %% (SELECT count(*) FROM bench_samples)
"""

_ID: Final = """
CREATE FUNCTION bench_id(n bigint, salt text) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
SELECT (lpad(to_hex(1700000000000 + n / 4), 12, '0') || '7' || lpad(to_hex(n % 4096), 3, '0')
        || '8' || substr(md5(salt || n), 1, 15))::uuid $$
"""
"""Time-ordered like the real ones, from a time before them."""

_COLUMNS: Final = """
SELECT column_name FROM information_schema.columns
WHERE table_schema || '.' || table_name = %s AND is_identity = 'NO' ORDER BY ordinal_position
"""

_STOCK: Final = """
UPDATE inventory.stock s SET on_hand = s.reserved + m.quantity
FROM (SELECT sku, sum(quantity) AS quantity FROM inventory.stock_movements GROUP BY sku) m
WHERE m.sku = s.sku
"""


def add_history(database_url: str, sagas: int) -> None:
    """Copy the ended sagas of a database until there are so many more, with all that real runs leave.

    Raises:
        ValueError: no saga has ended there.
    """
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(_ID)
        connection.execute(_SAMPLES)
        found = connection.execute("SELECT count(*) FROM bench_samples").fetchone()
        if not found or not found[0]:
            raise ValueError("no saga has ended in this database")
        for first in range(0, sagas, CHUNK):
            with connection.transaction():
                connection.execute(_COPIES, [first, min(sagas, first + CHUNK) - 1])
                for table in COPIED:
                    connection.execute(_copy(connection, table))
        connection.execute(_STOCK)
        connection.execute("DROP TABLE bench_samples")
        connection.execute("VACUUM ANALYZE")


def _copy(connection: psycopg.Connection[tuple[object, ...]], table: str) -> sql.Composed:
    """All rows of the sampled sagas again, under the copies' ids."""
    columns = [str(row[0]) for row in connection.execute(_COLUMNS, [table])]
    replaced = {"saga_id": "new_saga_id", "order_id": "new_order_id"}
    values = [
        sql.Identifier("c", replaced[name]) if name in replaced else sql.Identifier("t", name)
        for name in columns
    ]
    return sql.SQL(
        "INSERT INTO {table} ({columns}) SELECT {values} "
        "FROM {table} t JOIN bench_copies c USING (saga_id) ORDER BY c.n"
    ).format(
        table=sql.Identifier(*table.split(".")),
        columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
        values=sql.SQL(", ").join(values),
    )
