"""A database with a long past: ended sagas and dead letters as real runs leave them, very many."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final
from uuid import UUID

import psycopg
from psycopg import sql

from orchestrator.codec import dump_state
from tests.support.orders import AN_ORDER, a_saga

BEGINS_S: Final = 1_700_000_000
SPACING_S: Final = 2
"""When the first saga began, and how far they are apart."""

_ID: Final = """
CREATE FUNCTION past_id(n bigint, salt text) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
SELECT (lpad(to_hex(1700000000000 + n * 2000), 12, '0') || '7' || lpad(to_hex(n % 4096), 3, '0')
        || '8' || substr(md5(salt || n), 1, 15))::uuid $$
"""
"""Time-ordered like the real ones, two seconds apart."""

_SAGAS: Final = """
WITH new AS (
    SELECT n, past_id(n, 's') AS saga_id, past_id(n, 'o') AS order_id,
           to_timestamp((1700000000000 + n * 2000) / 1000.0) AS created,
           CASE WHEN n % 10 < 8 THEN 'completed' WHEN n % 10 = 8 THEN 'rejected' ELSE 'cancelled' END
               AS result,
           -- One customer has a tenth of all orders.
           CASE WHEN n % 10 = 3 THEN 'c-large' ELSE 'c-' || n % 5000 END AS customer
    FROM generate_series(1, {sagas}::bigint) n
), made AS (
    INSERT INTO orchestrator.orders (order_id, saga_id, customer_id, document, created_at)
    SELECT order_id, saga_id, customer, {document}::json, created FROM new
), told AS (
    INSERT INTO orchestrator.history (saga_id, version, at, kind, accepted, led_to)
    SELECT saga_id, version, created, 'outcome_received', '{{}}', {led_to}::json
    FROM new, generate_series(1, 3) version
)
INSERT INTO orchestrator.sagas (saga_id, order_id, definition, definition_version, status, order_status,
    direction, version, incident_kinds, created_at, updated_at, ended_at, ended_as, state)
SELECT saga_id, order_id, 'order_fulfillment', 1,
       CASE WHEN result = 'completed' THEN 'completed' ELSE 'compensated' END, result,
       CASE WHEN result = 'completed' THEN 'forward' ELSE 'compensating' END, 5, '{{}}', created,
       created + interval '2 seconds', created + interval '2 seconds', result, {state}::json
FROM new
"""

_ACTIVE: Final = """
UPDATE orchestrator.sagas
SET status = 'running', order_status = 'reserved', step = 'charge', direction = 'forward', ended_at = NULL,
    ended_as = NULL, due_at = created_at + interval '1 hour',
    incident_kinds = CASE WHEN n % 3 = 0 THEN ARRAY['dead_letter'] WHEN n % 3 = 1 THEN ARRAY['overdue']
                     ELSE '{{}}'::text[] END
FROM (SELECT n, past_id(n, 's') AS id FROM generate_series(7, {sagas}::bigint, {every}) n) chosen
WHERE saga_id = chosen.id
"""

_DEAD_LETTERS: Final = """
INSERT INTO orchestrator.dead_letters (dead_letter_id, kind, work_key, death_ids, saga_id, step, direction,
    status, version, deaths, queue, type, error_type, error_message, error_stack, permanent, attempts,
    first_failed_at, last_failed_at, exchange, routing_key, message_id, headers, body, body_truncated,
    created_at, updated_at)
SELECT past_id(n, 'd'), 'command', 'w' || n, '{{}}', past_id(n, 's'), step, 'forward',
       CASE WHEN n % 100 < {open_share} THEN 'open' WHEN n % 2 = 0 THEN 'resolved' ELSE 'discarded' END,
       1, 1, step || '.commands', 'ChargePayment', error, 'no answer', repeat('at somewhere ', 50), false, 5,
       created, created, 'oms.commands', step, 'm' || n, '{{}}', decode(repeat('7b7d', 400), 'hex'), false,
       created, created
FROM (
    SELECT n, to_timestamp((1700000000000 + n * 2000) / 1000.0) AS created,
           -- Nearly all are of one kind; a few are what somebody looks for.
           CASE WHEN n % 1000 = 1 THEN 'shipping' ELSE 'payment' END AS step,
           CASE WHEN n % 1000 < 2 THEN 'CarrierRefused' ELSE 'ProviderUnavailable' END AS error
    FROM generate_series(1, {letters}::bigint) n
) made
"""

_FOUND_BY: Final = """
WITH named AS (
    INSERT INTO orchestrator.saga_references (definition, owner, reference, saga_id, subject_id)
    SELECT 'order_fulfillment', 'c-1', 'R-' || n, past_id(n, 's'), past_id(n, 'o')
    FROM generate_series(1, {sagas}::bigint) n
)
INSERT INTO orchestrator.saga_metadata (saga_id, key, value)
-- Nearly all came by one way; a few did not.
SELECT past_id(n, 's'), 'channel', CASE WHEN n % 1000 = 1 THEN 'shop' ELSE 'web' END
FROM generate_series(1, {sagas}::bigint) n
"""

_AUDIT: Final = """
INSERT INTO orchestrator.audit_log (audit_id, at, actor, action, subject, reason, before, after)
SELECT past_id(n, 'a'), now(), CASE WHEN n % 1000 = 1 THEN 'jane' ELSE 'admin' END,
       CASE WHEN n % 1000 = 2 THEN 'saga.cancel' ELSE 'dead_letter.replay' END,
       'dead_letter:' || past_id(n, 'd'), 'the provider is back', '{{}}', '{{}}'
FROM generate_series(1, {letters}::bigint) n
"""


def add_a_past(url: str, sagas: int, letters: int, active_every: int = 1000, open_share: int = 90) -> None:
    """Fill an empty database: ``sagas`` of which one in so many is active, ``letters`` dead ones.

    Args:
        open_share: per cent of the dead letters that nobody has settled.
    """
    led_to = {
        "status": "running",
        "order_status": "reserved",
        "step": "charge",
        "direction": "forward",
        "sent": [],
    }
    values = {
        "sagas": sql.Literal(sagas),
        "letters": sql.Literal(letters),
        "every": sql.Literal(active_every),
        "open_share": sql.Literal(open_share),
        "document": sql.Literal(json.dumps(AN_ORDER)),
        "state": sql.Literal(dump_state(a_saga())),
        "led_to": sql.Literal(json.dumps({**led_to, "sent": []})),
    }
    plain = url.replace("postgresql+psycopg://", "postgresql://")
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(_ID)
        for statement in (_SAGAS, _ACTIVE, _FOUND_BY, _DEAD_LETTERS, _AUDIT):
            connection.execute(sql.SQL(statement).format(**values))
        connection.execute("ANALYZE")


def saga_ids(url: str, numbers: Iterable[int]) -> list[UUID]:
    """The ids of the sagas of these numbers, counted from 1."""
    plain = url.replace("postgresql+psycopg://", "postgresql://")
    with psycopg.connect(plain) as connection:
        rows = connection.execute("SELECT past_id(n, 's') FROM unnest(%s::bigint[]) n", [list(numbers)])
        return [row[0] for row in rows.fetchall()]
