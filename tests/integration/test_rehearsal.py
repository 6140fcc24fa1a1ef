"""A rehearsal reads what is stored in PostgreSQL, page by page, and writes nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.envelope import Direction
from contracts.examples import ORDER
from messaging.postgresql import create_engine
from oms import rehearsal as module
from oms.rehearsal import Rehearsal, rehearsal
from orchestrator.core.definition import StepPolicy
from orchestrator.core.inputs import Input, OutcomeReceived
from orchestrator.rehearsal import StoredSaga
from orchestrator.sagas.order_fulfillment import order_fulfillment
from tests.support.stored_sagas import stored

pytestmark = pytest.mark.postgresql

DEFINITION = order_fulfillment(StepPolicy())
TRIED = """
from dataclasses import replace
from orchestrator.sagas.order_fulfillment import order_fulfillment

def without_charge(policy):
    now = order_fulfillment(policy)
    return replace(now, version=2, course=tuple(step for step in now.course if step.name != "charge"))
"""

_COPIES = """
INSERT INTO orchestrator.orders (order_id, saga_id, customer_id, document, created_at)
SELECT CAST(i.o AS uuid), CAST(i.s AS uuid), 'c-1', CAST(:document AS json), :created_at
FROM unnest(CAST(:orders AS text[]), CAST(:sagas AS text[])) AS i (o, s);
"""
_SAGAS = """
INSERT INTO orchestrator.sagas (saga_id, order_id, definition, definition_version, status, order_status,
    step, direction, version, incident_kinds, due_at, created_at, updated_at, ended_at, ended_as, state)
SELECT CAST(i.s AS uuid), CAST(i.o AS uuid), :definition, :definition_version, :status, :label, NULL,
    :direction, :version, '{}', CAST(:due_at AS timestamptz), :created_at, :updated_at,
    CAST(:ended_at AS timestamptz), CASE WHEN CAST(:ended_at AS timestamptz) IS NOT NULL THEN :label END,
    CAST(:state AS json)
FROM unnest(CAST(:orders AS text[]), CAST(:sagas AS text[])) AS i (o, s)
"""
_HISTORY = """
INSERT INTO orchestrator.history (saga_id, version, at, kind, accepted, led_to)
SELECT CAST(s AS uuid), :entry, :at, :kind, CAST(:accepted AS json), CAST(:led_to AS json)
FROM unnest(CAST(:sagas AS text[])) AS i (s)
"""


async def store(database: AsyncEngine, saga: StoredSaga, first: int, count: int) -> None:
    """Write a saga down so many times, under ids from ``first`` on."""
    ids = range(first, first + count)
    both = {"orders": [str(UUID(int=2 * i)) for i in ids], "sagas": [str(UUID(int=2 * i + 1)) for i in ids]}
    columns = {name: value for name, value in saga.columns.items() if name not in ("saga_id", "subject_id")}
    async with database.begin() as connection:
        order = {"document": saga.document, "created_at": columns["created_at"]}
        await connection.execute(text(_COPIES), {**both, **order})
        await connection.execute(text(_SAGAS), {**both, **columns, "state": json.dumps(saga.state)})
        for entry in saga.history:
            told = {"entry": entry.version, "at": entry.at, "kind": entry.kind}
            documents = {"accepted": json.dumps(entry.accepted), "led_to": json.dumps(entry.led_to)}
            await connection.execute(text(_HISTORY), {"sagas": both["sagas"], **told, **documents})


def outcome(event: str, step: str, **data: object) -> Input:
    return OutcomeReceived(event, step, Direction.FORWARD, data)


ENDING = (
    outcome("InventoryReservedEvent", "reserve"),
    outcome("PaymentSuccessfulEvent", "charge"),
    outcome("OrderFulfilledEvent", "ship"),
    outcome("InventoryReducedEvent", "commit"),
)


def saga(inputs: Sequence[Input]) -> StoredSaga:
    return stored(DEFINITION, ORDER, inputs)


@pytest.fixture
async def database(migrated_database_url: str) -> AsyncIterator[AsyncEngine]:
    """Three sagas that run and five that have ended."""
    engine = create_engine(migrated_database_url, pool_size=1)
    await store(engine, saga(ENDING[:2]), 1, 3)
    await store(engine, saga(ENDING), 100, 5)
    yield engine
    await engine.dispose()


async def rehearsed(database: AsyncEngine, *, version: int = 1, drop: str = "") -> Rehearsal:
    course = tuple(step for step in DEFINITION.steps if step.name != drop)
    tried = type(DEFINITION)(
        DEFINITION.name,
        version,
        course,
        DEFINITION.input,
        DEFINITION.examples,
        DEFINITION.accepted,
        DEFINITION.labels,
        DEFINITION.announces,
    )
    return await rehearsal(database, tried)


async def test_what_is_deployed_finds_nothing(database: AsyncEngine) -> None:
    outcome = await rehearsed(database)
    assert outcome.is_as_before
    assert outcome.looked_at == {"running": 3, "ended": 5}


async def test_every_page_is_read_and_running_sagas_come_first(
    database: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE", 2)
    told: list[tuple[int, int]] = []
    course = tuple(step for step in DEFINITION.steps if step.name != "charge")
    tried = type(DEFINITION)(
        DEFINITION.name, 2, course, DEFINITION.input, DEFINITION.examples, DEFINITION.accepted
    )
    found = await rehearsal(database, tried, 1, lambda done, total: told.append((done, total)))
    assert found.found == {"cannot_continue": 3, "another_way": 5}
    assert [each.kind.value for each in found.findings[:4]] == [*["cannot_continue"] * 3, "another_way"]
    assert told[-1] == (8, 8)
    assert len(told) == 5


async def test_only_sagas_of_a_version_are_rehearsed_where_one_is_named(database: AsyncEngine) -> None:
    assert (await rehearsal(database, DEFINITION, 7)).looked_at.total() == 0


def command(url: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "tried_sagas.py").write_text(TRIED)
    return subprocess.run(
        [sys.executable, "-c", "import sys; from oms.cli import main; sys.exit(main())", *arguments],
        env={**os.environ, "OMS_DATABASE_URL": url, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


async def test_the_command_tells_the_entry_and_exits_with_one(
    database: AsyncEngine, migrated_database_url: str, tmp_path: Path
) -> None:
    given = ("sagas", "rehearse", "--definition", "tried_sagas:without_charge", "--json")
    done = command(migrated_database_url, tmp_path, *given)
    assert done.returncode == 1, done.stderr
    said = json.loads(done.stdout)
    assert said["looked_at"] == {"running": 3, "ended": 5}
    assert said["found"] == {"cannot_continue": 3, "another_way": 5}
    first = said["findings"][0]
    assert (first["entry"], first["happened"]) == (2, "outcome_received")
    assert first["reason"] == "it awaits ship, and was charge"


async def test_a_definition_that_is_not_there_is_told_in_a_line(
    database: AsyncEngine, migrated_database_url: str, tmp_path: Path
) -> None:
    given = ("sagas", "rehearse", "--definition", "tried_sagas:nothing")
    done = command(migrated_database_url, tmp_path, *given)
    assert done.returncode != 0
    assert "--definition tried_sagas:nothing: " in done.stderr
    assert "Traceback" not in done.stderr
