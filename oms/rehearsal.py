"""Rehearsal: every stored saga of a kind, folded through a definition before it is deployed. Reads only."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from orchestrator.core.definition import SagaDefinition
from orchestrator.rehearsal import Finding, Kind, StoredEntry, StoredSaga, rehearse

PAGE: Final = 500
"""Sagas that are read at once."""

KEPT: Final = 1000
"""Findings that are kept with their reasons; all are counted."""

OnProgress = Callable[[int, int], None]
"""Called with how many sagas have been looked at, and how many there are."""

_COUNT: Final = text("""
SELECT count(*) FROM orchestrator.sagas
WHERE definition = :name AND (CAST(:version AS int) IS NULL OR definition_version = :version)
""")

_SAGAS: Final = """
SELECT s.saga_id, s.order_id AS subject_id, s.definition, s.definition_version, s.status,
       s.order_status AS label, s.direction, s.version, s.due_at, s.created_at, s.updated_at, s.ended_at,
       s.state, o.document::text
FROM orchestrator.sagas s LEFT JOIN orchestrator.orders o ON o.order_id = s.order_id
WHERE s.definition = :name AND (CAST(:version AS int) IS NULL OR s.definition_version = :version)
  AND s.ended_as IS {ended} AND s.saga_id > :after
ORDER BY s.saga_id LIMIT :limit
"""
_RUNNING: Final = text(_SAGAS.format(ended="NULL"))
_ENDED: Final = text(_SAGAS.format(ended="NOT NULL"))

_HISTORY: Final = text("""
SELECT saga_id, version, at, kind, accepted, led_to FROM orchestrator.history
WHERE saga_id = ANY(:ids) ORDER BY saga_id, version
""")


@dataclass(slots=True)
class Rehearsal:
    """What came of it.

    Attributes:
        looked_at: sagas, by whether they run or have ended.
        found: findings, by their kind.
        findings: the first of them, those of running sagas before all others.
    """

    definition: str
    version: int
    looked_at: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    @property
    def is_as_before(self) -> bool:
        """Whether every saga is as it was."""
        return not self.found.total()

    def note(self, stored: StoredSaga, finding: Finding | None) -> None:
        """Take note of one saga."""
        self.looked_at["ended" if stored.has_ended else "running"] += 1
        if finding is not None:
            self.found[finding.kind.value] += 1
            if len(self.findings) < KEPT:
                self.findings.append(finding)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "definition": self.definition,
            "version": self.version,
            "looked_at": {name: self.looked_at[name] for name in ("running", "ended")},
            "found": {kind.value: self.found[kind.value] for kind in Kind},
            "findings": [
                {**asdict(each), "kind": each.kind.value, "at": each.at and each.at.isoformat()}
                | {"saga_id": str(each.saga_id), "subject_id": str(each.subject_id)}
                for each in self.findings
            ],
        }


async def rehearsal(
    database: AsyncEngine,
    definition: SagaDefinition,
    stored_version: int | None = None,
    on_progress: OnProgress = lambda done, total: None,
) -> Rehearsal:
    """Fold every stored saga of the definition's name through it, those that run first.

    Args:
        stored_version: only sagas that run this version; None: of all.
    """
    engine = database.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    outcome = Rehearsal(definition.name, definition.version)
    chosen = {"name": definition.name, "version": stored_version}
    async with engine.connect() as connection:
        total = (await connection.execute(_COUNT, chosen)).scalar_one()
    for statement in (_RUNNING, _ENDED):
        async for page in _pages(engine, statement, chosen):
            for stored in page:
                outcome.note(stored, rehearse(definition, stored))
            on_progress(outcome.looked_at.total(), total)
    return outcome


async def _pages(
    engine: AsyncEngine, statement: TextClause, chosen: dict[str, Any]
) -> AsyncIterator[list[StoredSaga]]:
    """Sagas with their histories; each page is of one moment, and no transaction lasts for long."""
    after = UUID(int=0)
    while True:
        async with engine.connect() as connection:
            page = await _page(connection, statement, {**chosen, "after": after, "limit": PAGE})
        if page:
            yield page
        if len(page) < PAGE:
            return
        after = page[-1].saga_id


async def _page(
    connection: AsyncConnection, statement: TextClause, chosen: dict[str, Any]
) -> list[StoredSaga]:
    sagas: Sequence[Any] = (await connection.execute(statement, chosen)).mappings().all()
    entries: dict[UUID, list[StoredEntry]] = {row["saga_id"]: [] for row in sagas}
    if not sagas:
        return []
    for row in await connection.execute(_HISTORY, {"ids": list(entries)}):
        entries[row[0]].append(StoredEntry(*row[1:]))
    found = []
    for row in sagas:
        columns = dict(row)
        state, document = columns.pop("state"), columns.pop("document")
        found.append(StoredSaga(columns, state, document, entries[row["saga_id"]]))
    return found
