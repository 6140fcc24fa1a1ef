"""A kit participant as a process, on a real PostgreSQL: its queue, its ledger, its author's table."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Final
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Column, MetaData, Table, Text, Uuid, insert, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.commands import AdvanceLowWaterMark
from contracts.envelope import Direction
from contracts.routing import COMMANDS_EXCHANGE, batch_key
from messaging.batches import Address
from messaging.compose import command_message, instruction_message
from messaging.identifiers import first_id_at
from messaging.in_process import InProcessTransport
from messaging.postgresql import create_engine
from migrations.run import histories_of_kit, migrate_async, pending
from oms.kit import (
    SENSITIVE,
    Command,
    CompensationOutcome,
    Field,
    OutcomeEvent,
    Participant,
    Rejection,
    Work,
)
from participants.http import LedgerReader
from tests.conformance.correspondence import send
from tests.support.participant_stage import Stage
from tests.support.participants import NOW, new_id

pytestmark = pytest.mark.postgresql

NAME: Final = "order"
"""A word of SQL: the schema must be in quotes wherever it stands."""

TABLES: Final = MetaData(schema=NAME)
NOTES: Final = Table("notes", TABLES, Column("note", Text, primary_key=True), Column("saga_id", Uuid))

REVISION: Final = f"""
import sqlalchemy as sa
from oms.kit.migrations import op
revision, down_revision = "notes_0001", None
def upgrade():
    op.create_table("notes", sa.Column("note", sa.Text, primary_key=True), sa.Column("saga_id", sa.Uuid),
                    schema="{NAME}")
"""


class Write(Command):
    participant = NAME
    note: Annotated[str, Field(json_schema_extra=SENSITIVE)]


class Written(OutcomeEvent):
    key = "order.written"
    note: str


class Illegible(Rejection):
    key = "order.illegible"


class Erase(Command):
    participant = NAME


class Erased(CompensationOutcome):
    key = "order.erased"


class Writing:
    async def do(self, work: Work, command: Write) -> Written | Illegible:
        await work.execute(insert(NOTES).values(note=command.note, saga_id=work.saga_id))
        if command.note == "scrawl":
            return work.answer(Illegible, code="illegible")
        if command.note == "bad":
            raise RuntimeError(f"the pencil broke at {command.note}")
        return work.answer(Written, note=command.note)

    async def undo(self, work: Work, command: Erase, done: Written) -> Erased:
        await work.execute(NOTES.delete().where(NOTES.c.saga_id == work.saga_id))
        return work.answer(Erased)


def write(note: str, saga_id: UUID | None = None) -> Write:
    ids = {"saga_id": saga_id or new_id(), "order_id": uuid4()}
    return Write(**ids, step="write", direction=Direction.FORWARD, note=note)


def erase(of: Write) -> Erase:
    ids = {"saga_id": of.saga_id, "order_id": of.order_id}
    return Erase(**ids, step="write", direction=Direction.COMPENSATING)


@pytest.fixture
def notebook(tmp_path: Path) -> Participant:
    (tmp_path / "0001_notes.py").write_text(REVISION)
    made = Participant(NAME, TABLES, tmp_path)
    made.step(Write, undo=Erase)(Writing)
    return made


@pytest.fixture
async def engine(notebook: Participant, database_url: str) -> AsyncIterator[AsyncEngine]:
    for history in histories_of_kit(NAME, notebook.migrations):
        await migrate_async(history, database_url)
        assert pending(history, database_url) == ()
    engine = create_engine(database_url)
    yield engine
    await engine.dispose()


@pytest.fixture
async def stage(notebook: Participant, engine: AsyncEngine) -> AsyncIterator[Stage]:
    async with Stage(notebook, engine) as stage:
        yield stage


async def notes(engine: AsyncEngine) -> list[str]:
    async with engine.connect() as connection:
        return sorted((await connection.execute(select(NOTES.c.note))).scalars())


async def test_of_a_batch_only_the_culprit_fails_and_leaves_nothing(
    stage: Stage, engine: AsyncEngine
) -> None:
    stage.send(write("one"), write("bad"), write("scrawl"), write("two"))
    await stage.replica()
    assert sorted(each.type for each in await stage.seen(3)) == ["Illegible", "Written", "Written"]
    assert await notes(engine) == ["one", "two"]
    dead = await stage.dead_letter()
    assert dead.headers["error-message"] == "the pencil broke at ***"
    assert await notes(engine) == ["one", "two"]


@pytest.mark.parametrize("takes_batches", [False, True])
async def test_m5_its_queue_asks_for_batches_where_that_is_declared_and_parts_fail_by_themselves(
    notebook: Participant, stage: Stage, engine: AsyncEngine, takes_batches: bool
) -> None:
    notebook.takes_batches = takes_batches
    await stage.replica()
    assert stage.broker.takes(Address(COMMANDS_EXCHANGE, batch_key(NAME))) is takes_batches

    asked = [write(note) for note in ("one", "bad", "two")]
    messages = [command_message(each, NAME, new_id(), NOW, "orchestrator") for each in asked]
    await send(InProcessTransport(stage.broker).publisher(), *messages)

    assert sorted(each.type for each in await stage.seen(2)) == ["Written", "Written"]
    assert "the pencil broke" in (await stage.dead_letter()).headers["error-message"]
    assert await notes(engine) == ["one", "two"]


async def test_copies_are_answered_alike_by_two_processes_and_have_one_effect(
    stage: Stage, engine: AsyncEngine
) -> None:
    asked = write("one")
    await stage.replica()
    await stage.replica()
    stage.send(*[asked] * 6)
    assert len({each.event_id for each in await stage.seen(6)}) == 1
    assert await notes(engine) == ["one"]


async def test_what_was_done_is_undone_and_shown(
    notebook: Participant, stage: Stage, engine: AsyncEngine
) -> None:
    asked = write("one")
    await stage.replica()
    stage.send(asked)
    await stage.seen(1)
    stage.send(erase(asked))
    [erased] = await stage.seen(1)
    assert (erased.type, erased.body["effect"]) == ("Erased", "undone")
    assert await notes(engine) == []
    [row] = (await LedgerReader(NAME, engine, notebook.sensitive).read(asked.saga_id)).steps
    assert (row.state, row.command) == ("undone", "Write")
    assert row.forward is not None
    assert row.forward.body["note"] == "***"


async def test_behind_the_low_water_mark_unknown_work_fails_for_good(
    stage: Stage, engine: AsyncEngine
) -> None:
    async with engine.connect() as connection:
        now = (await connection.execute(text("SELECT clock_timestamp() - interval '30 days'"))).scalar_one()
    stage.publish(
        instruction_message(AdvanceLowWaterMark(mark=first_id_at(now)), NAME, new_id(), NOW, "test")
    )
    await stage.replica()
    await stage.answer(write("one"))
    stage.send(write("late", UUID(int=7)))
    dead = await stage.dead_letter()
    assert dead.headers["error-type"] == "expired"
    assert await notes(engine) == ["one"]
