"""The audit reads installed participants' ledgers: every step stands there as its saga says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import create_engine, text

from migrations.run import histories_of_kit, migrate
from oms.audit import Sources, audit
from oms.audit.checklist import Check
from oms.audit.installed import installed_of
from oms.audit.report import Report
from oms.audit.sources import NEEDED, SANDBOX, Installed
from oms.settings import load_settings
from participants.http import LedgerReader
from tests.integration.audited_orders import Books

pytestmark = pytest.mark.postgresql

DONE = {"name": "gift", "forward": "succeeded"}
UNDONE = {**DONE, "undo": "undone"}
NEVER = {"name": "gift"}
BRANCH = {"name": "gift[2]", "forward": "succeeded"}


@pytest.fixture
def books(migrated_database_url: str) -> Iterator[Books]:
    for history in histories_of_kit("loyalty", None):
        migrate(history, migrated_database_url)
    made = Books(migrated_database_url)
    yield made
    made.engine.dispose()


@pytest.fixture
def sources(migrated_database_url: str) -> Sources:
    urls = dict.fromkeys((*NEEDED, SANDBOX, "loyalty"), (migrated_database_url,))
    return Sources(urls, Installed(("loyalty",), {"gifts": {"gift": "loyalty"}}))


def said(report: Report, check: Check) -> list[str]:
    return [each.message for each in report.findings if each.check is check]


@pytest.mark.parametrize(
    ("status", "step", "row"),
    [
        ("completed", DONE, "done"),
        ("completed", DONE, "consumed"),
        ("completed", DONE, "settled"),
        ("completed", BRANCH, "done"),
        ("compensated", UNDONE, "undone"),
        ("compensated", UNDONE, "tombstone"),
        ("compensated", {**DONE, "undo": "settled"}, "done"),
        ("compensated", NEVER, "tombstone"),
        ("compensated", {**NEVER, "forward": "rejected"}, "rejected"),
    ],
)
async def test_what_stands_as_the_saga_says_is_in_order(
    books: Books, sources: Sources, status: str, step: dict[str, str], row: str
) -> None:
    ids = books.saga(status, "ended", "gifts", [step])
    books.ledger("loyalty", *ids, step["name"], row)
    report = await audit(sources)
    assert report.findings == []
    assert (report.looked_at[Check.STEPS_AGREE], report.unaudited) == (1, {"gifts": 1})


@pytest.mark.parametrize(
    ("status", "step", "row"),
    [
        ("completed", DONE, "undone"),
        ("completed", DONE, "intent"),
        ("completed", BRANCH, "tombstone"),
        ("compensated", UNDONE, "done"),
        ("compensated", UNDONE, "reversing"),
        ("compensated", NEVER, "done"),
    ],
)
async def test_what_stands_otherwise_is_named(
    books: Books, sources: Sources, status: str, step: dict[str, str], row: str
) -> None:
    ids = books.saga(status, "ended", "gifts", [step])
    books.ledger("loyalty", *ids, step["name"], row)
    [message] = said(await audit(sources), Check.STEPS_AGREE)
    assert message.startswith(f"loyalty's ledger: {step['name']} is {row}, but its saga says ")


async def test_a_row_that_is_gone_is_missed(books: Books, sources: Sources) -> None:
    books.saga("completed", "ended", "gifts", [BRANCH])
    [message] = said(await audit(sources), Check.STEPS_AGREE)
    assert message == "its saga says that gift[2] is done, but loyalty's ledger knows nothing of it"


async def test_work_of_a_step_that_no_saga_has_is_named(books: Books, sources: Sources) -> None:
    ids = books.saga("completed", "ended", "gifts", [DONE])
    books.ledger("loyalty", *ids, "gift", "done")
    books.ledger("loyalty", *ids, "another", "done")
    [message] = said(await audit(sources), Check.STEPS_AGREE)
    assert message == "loyalty's ledger: another is done, but its saga says not done, or undone"


async def test_work_without_a_saga_is_named(books: Books, sources: Sources) -> None:
    books.ledger("loyalty", books.new_id(), uuid4(), "gift", "done")
    [message] = said(await audit(sources), Check.HAS_SAGA)
    assert "loyalty: gift is done" in message


async def test_an_order_that_uses_one_is_judged_with_it(books: Books, sources: Sources) -> None:
    books.stock(on_hand=98, delivered=100)
    ids = books.completed()
    books.ledger("loyalty", *ids, "gift", "done")
    [message] = said(await audit(sources), Check.STEPS_AGREE)
    assert message.startswith("loyalty's ledger: gift is done")


async def test_a_verdict_explains_what_differs(books: Books, sources: Sources) -> None:
    ids = books.saga("completed", "ended", "gifts", [DONE])
    verdict: dict[str, Any] = {"said": {"verdict": "settled_outside"}, "at": "now"}
    books.ledger("loyalty", *ids, "gift", "undone", verdict)
    report = await audit(sources)
    assert report.findings == []
    assert len(report.verdicts[0].explains) == 1


async def test_one_whose_database_is_not_given_is_said_to_be_unread(books: Books, sources: Sources) -> None:
    report = await audit(replace(sources, urls={**sources.urls, "loyalty": ()}))
    assert (report.ok, report.unread) == (True, ("loyalty",))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("forward_body", "'not json'::bytea"),
        ("forward_body", "'[7]'::bytea"),
        ("forward_body", "'\\xff'::bytea"),
        ("details", "'7'::json"),
        ("verdict", "'[]'::json"),
        ("verdict", "'{\"said\": 7}'::json"),
    ],
)
async def test_a_row_that_is_spoilt_is_shown_and_named(
    books: Books, sources: Sources, migrated_database_url: str, column: str, value: str
) -> None:
    from messaging.postgresql import create_engine as asynchronous

    ids = books.saga("completed", "ended", "gifts", [DONE])
    books.ledger("loyalty", *ids, "gift", "done")
    engine = create_engine(migrated_database_url)
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE loyalty.ledger SET {column} = {value}"))
    engine.dispose()
    database = asynchronous(migrated_database_url)
    try:
        [row] = (await LedgerReader("loyalty", database).read(ids[0])).steps
    finally:
        await database.dispose()
    assert (row.unreadable, row.state) == ((column,), "done")
    if column == "forward_body":
        [message] = said(await audit(sources), Check.READABLE)
        assert message == "loyalty's ledger does not say what came of gift"


def test_the_installed_participants_and_who_does_which_step_are_known() -> None:
    installed = installed_of(load_settings())
    assert installed.participants == ()
    assert installed.places["order_fulfillment"]["charge"] == "payment"
