"""Rows of sagas that follow one another, on PostgreSQL (S28)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final
from uuid import UUID

from psycopg.rows import TupleRow

from orchestrator.codec import Unreadable, read_input
from orchestrator.core.following import Follower
from orchestrator.core.registry import Registry
from orchestrator.storage import Followers

SELECT_SAGAS_ABOUT: Final = "SELECT order_id, saga_id FROM orchestrator.orders WHERE order_id = ANY(%s)"

SELECT_FOLLOWERS: Final = """
SELECT m.value, s.saga_id, s.definition, s.definition_version, o.document::text
FROM orchestrator.saga_metadata m
JOIN orchestrator.sagas s ON s.saga_id = m.saga_id
LEFT JOIN orchestrator.orders o ON o.order_id = s.order_id
WHERE m.key = %s AND m.value = ANY(%s) AND s.definition = %s AND s.status <> 'compensated'
ORDER BY s.saga_id
"""


def followers_of(rows: Iterable[TupleRow], registry: Registry) -> Mapping[UUID, Followers]:
    """Those in the rows of `SELECT_FOLLOWERS`, by what they follow; what cannot be read is counted (S25)."""
    found: dict[UUID, Followers] = {}
    for value, saga_id, definition, version, document in rows:
        known = found.get(UUID(value), Followers())
        try:
            follower = Follower(saga_id, _input_of(definition, version, document, registry))
        except Unreadable:
            found[UUID(value)] = Followers(known.sagas, known.unreadable + 1)
        else:
            found[UUID(value)] = Followers((*known.sagas, follower), known.unreadable)
    return found


def _input_of(definition: str, version: int, document: str | None, registry: Registry) -> Any:
    known = registry.find(definition, version)
    if known is None or document is None:
        raise Unreadable(f"{definition} version {version} is not known here, or its document is gone")
    return read_input(known, document)
