"""Dead letters as rows: the statements of `orchestrator.postgresql` about them, and what stands in a row."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from psycopg.rows import TupleRow

from contracts.words import word_of
from orchestrator.codec import dump_json
from orchestrator.storage import DeadLetter, DeadLetterStatus
from orchestrator.tables import READABLE_TIME

RECORD_DEATH: Final = """
INSERT INTO orchestrator.dead_letters AS d (
    dead_letter_id, kind, work_key, death_ids, saga_id, step, direction, status, cause, version, deaths,
    queue, type, error_type, error_message, error_stack, permanent, attempts, first_failed_at,
    last_failed_at, exchange, routing_key, message_id, headers, body, body_truncated, created_at, updated_at)
SELECT %s, %s, %s, ARRAY[%s], %s, %s, %s, %s, %s, 1, 1, %s, %s, %s, %s, %s, %s, %s,
       %s, %s, %s, %s, %s, %s::json, %s, %s, %s, %s
WHERE NOT EXISTS (
    SELECT FROM orchestrator.dead_letters e WHERE e.work_key = %s AND %s = ANY(e.death_ids)
    AND e.status NOT IN ('open', 'replaying'))
ON CONFLICT (work_key) WHERE status IN ('open', 'replaying') DO UPDATE
SET death_ids = (d.death_ids || excluded.death_ids)[greatest(1, cardinality(d.death_ids) - 98):],
    deaths = d.deaths + 1, status = 'open', version = d.version + 1,
    queue = excluded.queue, type = excluded.type, error_type = excluded.error_type,
    error_message = excluded.error_message, error_stack = excluded.error_stack,
    permanent = excluded.permanent, attempts = excluded.attempts, last_failed_at = excluded.last_failed_at,
    message_id = excluded.message_id, headers = excluded.headers, body = excluded.body,
    body_truncated = excluded.body_truncated, updated_at = excluded.updated_at
WHERE NOT (excluded.death_ids <@ d.death_ids)
"""

KNOWN_DEATHS: Final = """
SELECT w.work_key, w.death_id FROM unnest(%s::text[], %s::text[]) AS w (work_key, death_id)
WHERE EXISTS (SELECT FROM orchestrator.dead_letters d
              WHERE d.work_key = w.work_key AND w.death_id = ANY(d.death_ids))
"""

RESOLVE_DEAD_LETTERS: Final = """
UPDATE orchestrator.dead_letters d
SET status = 'resolved', cause = w.cause, version = d.version + 1, updated_at = %s
FROM (SELECT dead_letter_id, w.cause FROM orchestrator.dead_letters
      JOIN unnest(%s::uuid[], %s::text[], %s::text[], %s::text[]) AS w (saga_id, step, direction, cause)
      USING (saga_id, step, direction)
      WHERE status IN ('open', 'replaying') ORDER BY work_key COLLATE "C" FOR UPDATE OF dead_letters) w
WHERE d.dead_letter_id = w.dead_letter_id
"""

RESOLVE_REPLAYED: Final = """
UPDATE orchestrator.dead_letters d
SET status = 'resolved', cause = %s, version = d.version + 1, updated_at = %s
FROM (SELECT dead_letter_id FROM orchestrator.dead_letters
      WHERE work_key = ANY(%s) AND status IN ('open', 'replaying')
      ORDER BY work_key COLLATE "C" FOR UPDATE) w
WHERE d.dead_letter_id = w.dead_letter_id
"""

SELECT_DEAD_LETTERS: Final = """
SELECT dead_letter_id, kind, work_key, death_ids[cardinality(death_ids)], queue, type, error_type,
       error_message, error_stack, permanent, attempts, {first_failed_at}, {last_failed_at}, exchange,
       routing_key, message_id, headers, body, body_truncated, created_at, saga_id, step, direction,
       status, cause, deaths, version
FROM orchestrator.dead_letters
""".format(**{name: READABLE_TIME.format(name) for name in ("first_failed_at", "last_failed_at")})

UPDATE_DEAD_LETTER: Final = """
UPDATE orchestrator.dead_letters SET status = %s, cause = %s, version = %s, updated_at = %s
WHERE dead_letter_id = %s AND version = %s
"""


def dead_letter_of(row: TupleRow) -> DeadLetter:
    """The dead letter of a row of `SELECT_DEAD_LETTERS`."""
    dead = DeadLetter(*row)
    return replace(dead, status=word_of(DeadLetterStatus, dead.status), body=bytes(dead.body))


def death_parameters(dead: DeadLetter) -> list[Any]:
    """The parameters of `RECORD_DEATH`."""
    return [
        dead.dead_letter_id,
        dead.kind,
        dead.work_key,
        dead.death_id,
        dead.saga_id,
        dead.step,
        dead.direction,
        str(dead.status),
        dead.cause,
        dead.queue,
        dead.type,
        dead.error_type,
        dead.error_message,
        dead.error_stack,
        dead.permanent,
        dead.attempts,
        dead.first_failed_at,
        dead.last_failed_at,
        dead.exchange,
        dead.routing_key,
        dead.message_id,
        dump_json(dead.headers),
        dead.body,
        dead.body_truncated,
        dead.created_at,
        dead.created_at,
        dead.work_key,
        dead.death_id,
    ]
