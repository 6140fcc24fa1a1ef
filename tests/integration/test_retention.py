"""Retention on real tables: what is needed stays, what has ended long ago goes, in small batches (P7)."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.commands import AdvanceLowWaterMark
from contracts.routing import PARTICIPANTS
from messaging.identifiers import first_id_at, time_ordered_ids
from messaging.outbox import Outbox
from messaging.postgresql import SqlUnitOfWork
from oms.audit import Sources, audit
from oms.audit.checklist import Check
from oms.audit.sources import NEEDED, SANDBOX, AuditImpossible
from oms.cli import main
from oms.retention import LeftToTheRelay
from orchestrator.core.inputs import Actor
from orchestrator.retention.mark import Held, Keep, Reason
from orchestrator.retention.postgresql import Removed, RetentionTransaction
from orchestrator.retention.pruning import Outlook, Retention
from tests.integration.audited_orders import QUANTITY, Books

pytestmark = pytest.mark.postgresql

DAY = timedelta(days=1)
DAY_S = 86400.0
MONTH = Keep(30 * DAY_S, DAY_S)
ANN = Actor("ann", "the disk is full")


@pytest.fixture
def books(migrated_database_url: str) -> Iterator[Books]:
    """A shop that sold one order and undid another fifty days ago, and sold one more today."""
    made = Books(migrated_database_url)
    made.go_to(ago(50))
    made.stock(on_hand=100 - 2 * QUANTITY, delivered=100)
    made.completed()
    made.compensated()
    made.go_to(ago(0))
    made.completed()
    yield made
    made.engine.dispose()


@pytest.fixture
def retention(engine: AsyncEngine) -> Retention:
    rng = random.Random(1)
    outbox = Outbox(LeftToTheRelay())
    return Retention(SqlUnitOfWork(engine, RetentionTransaction, outbox, rng, 30), time_ordered_ids(rng))


def ago(days: float) -> datetime:
    return datetime.now(UTC) - days * DAY


def sources(url: str) -> Sources:
    return Sources(dict.fromkeys((*NEEDED, SANDBOX), (url,)))


async def rows(engine: AsyncEngine, query: str, **parameters: Any) -> list[Any]:
    async with engine.connect() as connection:
        return list(await connection.execute(text(query), parameters))


async def sagas(engine: AsyncEngine) -> set[UUID]:
    return {row.saga_id for row in await rows(engine, "SELECT saga_id FROM orchestrator.sagas")}


async def pruned(retention: Retention, keep: Keep = MONTH, batch: int = 100) -> tuple[Outlook, Removed]:
    outlook = await retention.advance(keep, ANN)
    return outlook, await retention.prune(outlook.behind, batch, lambda _: None)


def dead_letter(books: Books, status: str, saga_id: UUID | None = None, correlation: str = "") -> UUID:
    """A dead letter in a status; ``correlation`` is what the message itself says of its saga."""
    dead_letter_id = books.new_id()
    books.execute(
        "INSERT INTO orchestrator.dead_letters VALUES (%(id)s, %(kind)s, %(key)s, '{}', %(saga)s, %(step)s,"
        " %(direction)s, %(status)s, NULL, 1, 1, 'payment.commands', 'ChargePayment', 'e', '', '', true, 1,"
        " %(at)s, %(at)s, '', '', '', %(headers)s, '', false, %(at)s, %(at)s)",
        id=dead_letter_id,
        kind="command" if saga_id else "message",
        key=str(dead_letter_id),
        saga=saga_id,
        step="charge" if saga_id else None,
        direction="forward" if saga_id else None,
        status=status,
        at=books.now,
        headers=json.dumps({"correlation-id": correlation}),
    )
    return dead_letter_id


def job(books: Books, job_id: UUID, state: str, finished_at: datetime | None, letters: int) -> None:
    """A job with a list of so many dead letters."""
    books.execute(
        "INSERT INTO orchestrator.jobs (job_id, kind, filter, reason, actor, rate_per_second, state, total,"
        " succeeded, refused, refusals, next_at, leased_until, version, created_at, updated_at, finished_at)"
        " VALUES (%(id)s, 'replay', '{}', 'r', 'ann', 1, %(state)s, %(letters)s, 0, 0, '{}', %(at)s, %(at)s,"
        " 1, %(at)s, %(at)s, %(finished_at)s)",
        id=job_id,
        state=state,
        letters=letters,
        at=books.now,
        finished_at=finished_at,
    )
    for number in range(letters):
        books.execute(
            "INSERT INTO orchestrator.job_items (job_id, dead_letter_id, seen_version, result)"
            " VALUES (%(job)s, %(letter)s, 1, 'pending')",
            job=job_id,
            letter=UUID(int=number),
        )


async def test_what_ended_long_ago_goes_with_all_that_is_its(
    books: Books, retention: Retention, engine: AsyncEngine
) -> None:
    young = max(await sagas(engine))
    books.execute(
        "INSERT INTO orchestrator.history SELECT saga_id, 1, now(), 'x', '{}', '{}' FROM orchestrator.sagas"
    )
    books.go_to(ago(50))
    dead_letter(books, "resolved", min(await sagas(engine)))
    dead_letter(books, "discarded")
    outlook, removed = await pruned(retention)
    assert removed == Removed(sagas=2, history=2, dead_letters=2)
    assert outlook.expected.sagas == 2
    assert await sagas(engine) == {young}
    for table in ("orders", "history", "retention"):
        [(left,)] = await rows(engine, f"SELECT count(*) FROM orchestrator.{table}")
        assert left == 1
    assert await rows(engine, "SELECT pruned_sagas, pruned_dead_letters FROM orchestrator.retention") == [
        (2, 2)
    ]
    assert await rows(engine, "SELECT 1 FROM orchestrator.dead_letters") == []


@pytest.mark.parametrize("reason", Reason)
async def test_a_saga_that_is_needed_stays_with_every_one_that_began_after_it(
    reason: Reason, books: Books, retention: Retention, engine: AsyncEngine
) -> None:
    before = await sagas(engine)
    books.go_to(ago(40))
    running = reason is Reason.NOT_ENDED
    needed, _ = books.saga("running", "paid") if running else books.saga("completed", "completed")
    if reason is Reason.INCIDENT:
        books.execute(
            "UPDATE orchestrator.sagas SET incident_kinds = '{orphaned_effect}' WHERE saga_id = %(id)s",
            id=needed,
        )
    elif reason is Reason.ENDED_LATELY:
        books.execute("UPDATE orchestrator.sagas SET updated_at = now() WHERE saga_id = %(id)s", id=needed)
    elif reason is Reason.DEAD_LETTER:
        dead_letter(books, "replaying", needed)
    books.go_to(ago(35))
    later, _ = books.saga("completed", "completed")
    outlook, removed = await pruned(retention)
    assert outlook.rise.held_back_by == Held(needed, reason)
    assert outlook.rise.mark == needed
    assert await sagas(engine) == {max(before), needed, later}
    assert removed.sagas == 2


async def test_a_dead_letter_that_only_names_its_saga_keeps_it_too(
    books: Books, retention: Retention, engine: AsyncEngine
) -> None:
    """An outcome that gave up belongs to no awaited work; a person may still send it again (D4)."""
    needed = min(await sagas(engine))
    for correlation in ("", "not an id", str(uuid4()), str(needed)):
        dead_letter(books, "open", correlation=correlation)
    outlook, removed = await pruned(retention)
    assert outlook.rise.held_back_by == Held(needed, Reason.DEAD_LETTER)
    assert removed.sagas == 0


async def test_what_came_up_after_the_mark_was_raised_is_seen_by_each_batch(
    books: Books, retention: Retention, engine: AsyncEngine
) -> None:
    first, second, young = sorted(await sagas(engine))
    outlook = await retention.advance(MONTH, ANN)
    books.execute("UPDATE orchestrator.sagas SET incident_kinds = '{x}' WHERE saga_id = %(id)s", id=first)
    dead_letter(books, "open", second)
    assert await retention.prune(outlook.behind, 100, lambda _: None) == Removed()
    assert await sagas(engine) == {first, second, young}


async def test_an_interrupted_run_is_gone_on_with(
    books: Books, retention: Retention, engine: AsyncEngine
) -> None:
    class Interrupted(Exception):
        pass

    def interrupt(removed: Removed) -> None:
        raise Interrupted

    outlook = await retention.advance(MONTH, ANN)
    with pytest.raises(Interrupted):
        await retention.prune(outlook.behind, 1, interrupt)
    assert len(await sagas(engine)) == 2
    again, removed = await pruned(retention, batch=1)
    assert again.standing == outlook.rise.mark
    assert removed.sagas == 1
    assert await rows(engine, "SELECT pruned_sagas FROM orchestrator.retention") == [(2,)]
    assert (await pruned(retention))[1] == Removed()


async def test_rows_that_somebody_holds_are_left_for_the_next_run(
    books: Books, retention: Retention, engine: AsyncEngine
) -> None:
    held = min(await sagas(engine))
    async with engine.begin() as connection:
        await connection.execute(
            text("SELECT 1 FROM orchestrator.sagas WHERE saga_id = :id FOR UPDATE"), {"id": held}
        )
        assert (await pruned(retention, batch=1))[1].sagas == 1
    assert held in await sagas(engine)
    assert (await pruned(retention))[1].sagas == 1


async def test_idempotency_keys_go_when_they_stand_in_nobodys_way_any_more(
    books: Books, retention: Retention, engine: AsyncEngine
) -> None:
    for name, days in (("a", 3), ("b", 0.5), ("c", 2), ("d", 30), ("é", 9)):
        books.execute(
            "INSERT INTO orchestrator.idempotency_keys VALUES ('c', %(key)s, '', %(order)s, %(at)s)",
            key=name,
            order=uuid4(),
            at=ago(days),
        )
    _, removed = await pruned(retention, Keep(30 * DAY_S, 2.5 * DAY_S), batch=2)
    assert removed.idempotency_keys == 3
    left = await rows(engine, "SELECT key FROM orchestrator.idempotency_keys ORDER BY key")
    assert [row.key for row in left] == ["b", "c"]


async def test_closed_dead_letters_of_sagas_that_are_there_and_young_ones_stay(
    books: Books, retention: Retention, engine: AsyncEngine
) -> None:
    young_saga = max(await sagas(engine))
    kept = {dead_letter(books, "resolved"), dead_letter(books, "open")}
    books.go_to(ago(50))
    kept |= {dead_letter(books, "resolved", young_saga), dead_letter(books, "open")}
    for _ in range(3):
        dead_letter(books, "discarded")
    _, removed = await pruned(retention, batch=2)
    assert removed.dead_letters == 3
    left = await rows(engine, "SELECT dead_letter_id FROM orchestrator.dead_letters")
    assert {row.dead_letter_id for row in left} == kept


async def test_jobs_that_ended_long_ago_go_with_their_lists_and_others_stay(
    books: Books, retention: Retention, engine: AsyncEngine
) -> None:
    for name, state, days, letters in (
        ("a", "finished", 50, 5),
        ("b", "cancelled", 50, 0),
        ("c", "failed", 2, 3),
    ):
        job(books, UUID(int=ord(name)), state, ago(days), letters)
    job(books, UUID(int=ord("d")), "running", None, 2)

    outlook, removed = await pruned(retention, batch=2)

    assert (outlook.expected.jobs, removed.jobs) == (2, 2)
    left = await rows(engine, "SELECT job_id, count(*) FROM orchestrator.job_items GROUP BY 1 ORDER BY 1")
    assert [tuple(row) for row in left] == [(UUID(int=ord("c")), 3), (UUID(int=ord("d")), 2)]
    assert len(await rows(engine, "SELECT 1 FROM orchestrator.jobs")) == 2


async def test_every_participant_is_told_and_the_audit_log_says_who_and_why(
    books: Books, retention: Retention, engine: AsyncEngine
) -> None:
    for _ in range(2):
        outlook = await retention.advance(MONTH, ANN)
    told = await rows(engine, "SELECT type, routing_key, body, correlation_id FROM orchestrator.outbox")
    assert sorted(row.routing_key for row in told) == sorted([*PARTICIPANTS, *PARTICIPANTS])
    for row in told:
        assert (row.type, row.correlation_id) == ("AdvanceLowWaterMark", None)
        assert AdvanceLowWaterMark.model_validate_json(row.body).mark <= outlook.rise.mark
    noted = await rows(
        engine, "SELECT actor, action, reason, before, after FROM orchestrator.audit_log ORDER BY at"
    )
    assert [(row.actor, row.action, row.reason) for row in noted] == [
        ("ann", "retention.prune", "the disk is full")
    ] * 2
    assert noted[0].before == {"mark": None}
    assert noted[1].before["mark"] == noted[0].after["mark"]


async def test_looking_changes_nothing(books: Books, retention: Retention, engine: AsyncEngine) -> None:
    outlook = await retention.look(MONTH)
    assert outlook.expected.sagas == 2
    assert outlook.rise.mark < first_id_at(ago(29))
    assert await rows(engine, "SELECT 1 FROM orchestrator.retention") == []
    assert await rows(engine, "SELECT 1 FROM orchestrator.outbox") == []


# -- the audit --------------------------------------------------------------------------------------------


def advance_everywhere(books: Books, mark: UUID) -> None:
    for schema in NEEDED:
        books.execute(f"INSERT INTO {schema}.retention VALUES (1, %(mark)s, now())", mark=mark)


async def test_the_audit_looks_above_the_mark(books: Books, migrated_database_url: str) -> None:
    """P7: behind it some services may have pruned and others not."""
    before = await audit(sources(migrated_database_url))
    mark = first_id_at(ago(45))
    advance_everywhere(books, mark)
    for table in ("orchestrator.sagas", "payment.ledger"):
        books.execute(f"DELETE FROM {table} WHERE saga_id < %(mark)s", mark=mark)
    books.execute("DELETE FROM orchestrator.orders WHERE order_id < %(mark)s", mark=mark)
    after = await audit(sources(migrated_database_url))
    assert before.ok
    assert after.ok
    assert (before.ended, after.ended, after.mark) == (3, 1, mark)


async def test_a_participant_that_has_not_heard_of_the_mark_yet_is_read_with_it(
    books: Books, migrated_database_url: str
) -> None:
    mark = first_id_at(ago(45))
    books.execute("INSERT INTO orchestrator.retention VALUES (1, %(mark)s, now())", mark=mark)
    books.execute("DELETE FROM orchestrator.sagas WHERE saga_id < %(mark)s", mark=mark)
    assert (await audit(sources(migrated_database_url))).ok


async def test_what_is_held_behind_the_mark_is_still_counted(
    books: Books, migrated_database_url: str
) -> None:
    books.go_to(ago(50))
    books.ledger("inventory", books.new_id(), books.new_id(), "reserve", "done")
    books.execute("UPDATE inventory.stock SET reserved = %(held)s", held=QUANTITY)
    advance_everywhere(books, first_id_at(ago(45)))
    assert (await audit(sources(migrated_database_url))).ok
    books.execute("UPDATE inventory.stock SET reserved = 0")
    wrong = await audit(sources(migrated_database_url))
    assert [finding.check for finding in wrong.findings] == [Check.RESERVED_AGREES]


async def test_the_audit_says_when_the_schema_is_older_than_it(
    books: Books, migrated_database_url: str
) -> None:
    books.execute("DROP TABLE shipping.retention")
    with pytest.raises(AuditImpossible, match="oms migrate"):
        await audit(sources(migrated_database_url))


# -- the command ------------------------------------------------------------------------------------------


def test_the_command_prunes_and_says_what(
    books: Books,
    migrated_database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("OMS_DATABASE_URL", migrated_database_url)
    assert main(["prune", "--older-than", "30d", "--dry-run", "--json"]) == 0
    foreseen = json.loads(capsys.readouterr().out)
    assert (foreseen["dry_run"], foreseen["sagas"], foreseen["mark_before"]) == (True, 2, None)
    assert main(["prune", "--older-than", "30d", "--yes", "--batch", "1", "--reason", "why", "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["dry_run"], done["sagas"], done["held_back_by"]) == (False, 2, None)
    assert main(["prune", "--older-than", "1d"]) == 0
    told = capsys.readouterr()
    assert "7 days" in told.err
    assert "sagas, each with its order" in told.out


@pytest.mark.parametrize("given", ["", "30", "soon", "0d", "-1d"])
def test_a_time_that_is_none_is_refused_in_one_line(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prune", "--older-than", given]) == 2
    assert "--older-than takes a time such as 90d" in capsys.readouterr().err


async def test_s26_a_reference_is_free_again_once_its_saga_is_pruned(
    retention: Retention, engine: AsyncEngine, books: Books
) -> None:
    for number, saga_id in enumerate(sorted(await sagas(engine))):
        books.execute(
            "INSERT INTO orchestrator.saga_references VALUES ('any', 'c', %(name)s, %(id)s, %(id)s)",
            name=f"R-{number}",
            id=saga_id,
        )
        books.execute("INSERT INTO orchestrator.saga_metadata VALUES (%(id)s, 'a', 'b')", id=saga_id)
    await pruned(retention)

    [left] = await sagas(engine)
    for table in ("saga_references", "saga_metadata"):
        assert [row.saga_id for row in await rows(engine, f"SELECT saga_id FROM orchestrator.{table}")] == [
            left
        ]
