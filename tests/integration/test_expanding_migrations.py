"""Migrations run beneath the code of the release before, which must not notice: they only expand.

Held twice for each revision after a schema's first: by the catalogue, and by rows as old code writes them.
What contracts says so (`contract_after`, CONTRIBUTING.md) and runs when no code needs the old shape any more.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import psycopg
import pytest
from alembic.script import ScriptDirectory
from psycopg import sql
from sqlalchemy import make_url

from migrations.run import SERVICES, configured, migrate, revisions
from tests.integration.a_long_past import add_a_past
from tests.integration.audited_orders import Books
from tests.integration.catalogue import Catalogue, catalogue, taken_away
from tests.support.servers import PROJECT, Databases

pytestmark = pytest.mark.postgresql

Rows = dict[str, list[dict[str, Any]]]
"""By ``schema.table``."""

FURTHER_ROWS: Final = """
INSERT INTO orchestrator.idempotency_keys VALUES ('c', 'k', 'f', gen_random_uuid(), now());
INSERT INTO orchestrator.audit_log VALUES (gen_random_uuid(), now(), 'me', 'saga.retry', 's', 'why', '{}',
    '{}');
INSERT INTO orchestrator.tokens (token_id, name, role, digest, created_at, created_by)
    VALUES (gen_random_uuid(), 'jane', 'operator', 'd', now(), 'me');
INSERT INTO orchestrator.people VALUES (gen_random_uuid(), 'https://id.example.com', '8f2c',
    'oidc:8f2c (jane)', 'operator', 1, now());
INSERT INTO orchestrator.jobs (job_id, kind, filter, reason, actor, rate_per_second, state, total, succeeded,
    refused, refusals, next_at, leased_until, version, created_at, updated_at)
    VALUES (gen_random_uuid(), 'replay', '{}', 'why', 'me', 10, 'running', 2, 1, 0, '{}', now(), now(), 1,
            now(), now());
INSERT INTO orchestrator.job_items (job_id, dead_letter_id, seen_version, result)
    VALUES (gen_random_uuid(), gen_random_uuid(), 1, 'pending');
INSERT INTO orchestrator.retention (id, mark, advanced_at) VALUES (1, gen_random_uuid(), now());
INSERT INTO orchestrator.saga_references VALUES ('d', 'c', 'r', gen_random_uuid(), gen_random_uuid());
INSERT INTO orchestrator.saga_metadata VALUES (gen_random_uuid(), 'k', 'v');
INSERT INTO orchestrator.webhooks (webhook_id, url, types, state, pruned_sagas, secret, version, created_at,
    created_by, updated_at, next_at, failures, delivered, attempts, leased_until)
    VALUES (gen_random_uuid(), 'https://a.example', '{}', 'active', 0, 's', 1, now(), 'me', now(), now(),
            0, 0, '[]', now());
INSERT INTO inventory.stock_at VALUES ('SKU-1', 'east', 5, 1, now());
INSERT INTO payment.refund_claims VALUES ('ch', 100, 50, now());
"""

A_MESSAGE: Final = """
INSERT INTO {}.outbox (message_id, type, exchange, routing_key, mandatory, app_id, headers, body, created_at,
    claimed_until)
VALUES (gen_random_uuid(), 'ShipOrder', 'oms.commands', 'shipping', true, 'oms', '{{}}', '{{}}', now(), now())
"""

AN_IDENTITY: Final = "INSERT INTO {}.installation VALUES (1, gen_random_uuid(), now())"

A_MARK: Final = "INSERT INTO {}.retention (id, mark, advanced_at) VALUES (1, gen_random_uuid(), now())"


@pytest.fixture(scope="module")
def written(databases: Databases) -> Rows:
    """Rows of every table, as this program writes them."""
    url = databases.create()
    for service in SERVICES:
        migrate(service, url)
    add_a_past(url, sagas=60, letters=60, active_every=10)
    books = Books(url)
    books.stock(on_hand=100)
    books.completed()
    books.compensated()
    books.captured()
    books.voided()
    books.engine.dispose()
    with connected(url) as connection:
        connection.execute(FURTHER_ROWS)
        for service in SERVICES[:4]:
            connection.execute(sql.SQL(A_MESSAGE).format(sql.Identifier(service)))
            connection.execute(sql.SQL(AN_IDENTITY).format(sql.Identifier(service)))
        for service in SERVICES[1:4]:
            connection.execute(sql.SQL(A_MARK).format(sql.Identifier(service)))
        rows = {
            f"{service}.{table}": rows_of(connection, service, table)
            for service in SERVICES
            for table in catalogue(connection, service).tables
        }
    databases.drop(url)
    return rows


def connected(url: str) -> psycopg.Connection[Any]:
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(plain, autocommit=True)


def rows_of(connection: psycopg.Connection[Any], schema: str, table: str) -> list[dict[str, Any]]:
    query = sql.SQL("SELECT to_jsonb(t) FROM {} t").format(sql.Identifier(schema, table))
    return [row for (row,) in connection.execute(query)]


def write(connection: psycopg.Connection[Any], schema: str, known: Catalogue, rows: Rows) -> None:
    """Write rows as code does that knows the schema as it is in ``known``: it names those columns alone."""
    for table in known.tables:
        names = sql.SQL(", ").join(map(sql.Identifier, known.columns_of(table)))
        statement = sql.SQL(
            "INSERT INTO {table} ({names}) OVERRIDING SYSTEM VALUE"
            " SELECT {names} FROM jsonb_populate_recordset(null::{table}, %s)"
        )
        given = json.dumps(rows[f"{schema}.{table}"])
        connection.execute(statement.format(table=sql.Identifier(schema, table), names=names), [given])


def empty(connection: psycopg.Connection[Any], schema: str, known: Catalogue) -> None:
    for table in known.tables:
        connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(schema, table)))


def declared(service: str, revision: str, name: str) -> Any:
    """What a migration says of itself; None where it says nothing."""
    script = ScriptDirectory.from_config(configured(service)).get_revision(revision)
    assert script is not None
    return getattr(script.module, name, None)


@pytest.mark.parametrize("service", SERVICES)
def test_code_of_the_release_before_goes_on_beneath_every_migration(
    service: str, database_url: str, written: Rows
) -> None:
    first, *later = revisions(service)
    migrate(service, database_url, first)
    with connected(database_url) as connection:
        for revision in later:
            before = catalogue(connection, service)
            empty(connection, service, before)
            write(connection, service, before, written)

            assert migrate(service, database_url, revision) == (revision,)

            if declared(service, revision, "contract_after"):
                continue
            after = catalogue(connection, service)
            assert taken_away(before, after, declared(service, revision, "widened") or ()) == [], revision
            empty(connection, service, before)
            write(connection, service, before, written)


def test_there_are_rows_for_every_table(written: Rows) -> None:
    assert [table for table, rows in written.items() if not rows] == []


@pytest.mark.parametrize("service", SERVICES)
def test_what_contracts_names_a_release_that_is_out(service: str) -> None:
    released = re.findall(r"^## (\d+\.\d+\.\d+)", (PROJECT / "CHANGELOG.md").read_text(), re.MULTILINE)
    named = {declared(service, revision, "contract_after") for revision in revisions(service)} - {None}
    assert named <= set(released)


# -- the rules themselves ---------------------------------------------------------------------------------


@pytest.fixture
def changed(database_url: str) -> Iterator[Callable[[str], list[str]]]:
    """Runs a statement on a small schema and tells what it took away."""
    with connected(database_url) as connection:
        connection.execute(
            "CREATE SCHEMA shop; CREATE TABLE shop.goods (id bigint PRIMARY KEY, name text,"
            " price integer NOT NULL DEFAULT 0 CONSTRAINT positive CHECK (price >= 0));"
            "CREATE INDEX by_name ON shop.goods (name); CREATE TABLE shop.notes (id bigint)"
        )

        def change(statement: str) -> list[str]:
            before = catalogue(connection, "shop")
            connection.execute(statement.encode())
            return taken_away(before, catalogue(connection, "shop"))

        yield change


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        ("DROP TABLE shop.notes", "table notes is gone"),
        ("ALTER TABLE shop.notes RENAME TO remarks", "table notes is gone"),
        ("ALTER TABLE shop.notes DROP COLUMN id", "column notes.id is gone"),
        ("ALTER TABLE shop.notes RENAME COLUMN id TO number", "column notes.id is gone"),
        (
            "ALTER TABLE shop.notes ALTER COLUMN id TYPE smallint",
            "column notes.id was bigint, is smallint",
        ),
        ("ALTER TABLE shop.notes ALTER COLUMN id SET NOT NULL", "column notes.id asks more of a writer"),
        (
            "ALTER TABLE shop.goods ALTER COLUMN price DROP DEFAULT",
            "column goods.price asks more of a writer",
        ),
        (
            "ALTER TABLE shop.notes ADD COLUMN author text NOT NULL",
            "column notes.author is new, and a writer who does not know it is refused",
        ),
        ("DROP INDEX shop.by_name", "rule goods.by_name is gone"),
        ("ALTER TABLE shop.goods DROP CONSTRAINT goods_pkey", "rule goods.goods_pkey is gone"),
        (
            "ALTER TABLE shop.goods ADD CONSTRAINT cheap CHECK (price < 9)",
            "rule goods.cheap may refuse what was accepted",
        ),
        (
            "ALTER TABLE shop.goods DROP CONSTRAINT positive, ADD CONSTRAINT positive CHECK (price > 0)",
            "rule goods.positive may refuse what was accepted",
        ),
        (
            "CREATE UNIQUE INDEX one_name ON shop.goods (name)",
            "rule goods.one_name may refuse what was accepted",
        ),
    ],
)
def test_what_old_code_would_stumble_over_is_found(
    changed: Callable[[str], list[str]], statement: str, complaint: str
) -> None:
    assert complaint in changed(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE shop.orders (id bigint PRIMARY KEY, name text UNIQUE)",
        "CREATE INDEX by_price ON shop.goods (price)",
        "ALTER TABLE shop.goods ADD COLUMN note text CHECK (note <> '')",
        "ALTER TABLE shop.goods ADD COLUMN stock integer NOT NULL DEFAULT 0",
        "ALTER TABLE shop.goods ADD COLUMN code text;"
        "CREATE UNIQUE INDEX one_code ON shop.goods (name) WHERE code IS NOT NULL",
    ],
)
def test_what_only_adds_is_let_pass(changed: Callable[[str], list[str]], statement: str) -> None:
    assert changed(statement) == []
