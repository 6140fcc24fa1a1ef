"""The audit against real tables: it finds nothing where nothing is wrong, and everything that is."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import make_url

from migrations.run import SERVICES, migrate
from oms.audit import AuditImpossible, Report, Sources, audit, sources_of, sources_or_embedded
from oms.audit.checklist import Check
from oms.audit.sources import NEEDED, SANDBOX
from oms.cli import main
from oms.embedded.child import ServerError
from oms.embedded.postgresql import EmbeddedPostgres
from tests.integration.audited_orders import QUANTITY, SKU, TOTAL, Books


@pytest.fixture
def books(migrated_database_url: str) -> Iterator[Books]:
    """A shop that sold one order and undid another."""
    made = Books(migrated_database_url)
    made.stock(on_hand=100 - QUANTITY, delivered=100)
    made.completed()
    made.compensated()
    yield made
    made.engine.dispose()


@pytest.fixture
def sources(migrated_database_url: str) -> Sources:
    return Sources(dict.fromkeys((*NEEDED, SANDBOX), (migrated_database_url,)))


def found(report: Report) -> list[tuple[Check, UUID | str | None]]:
    return [(each.check, each.saga_id or each.order_id or each.sku) for each in report.findings]


async def test_nothing_is_found_where_everything_adds_up(books: Books, sources: Sources) -> None:
    seen: list[tuple[int, int]] = []
    report = await audit(sources, lambda done, total: seen.append((done, total)))
    assert report.ok
    assert report.ended == 2
    assert report.looked_at[Check.RESERVED_ONCE] == report.looked_at[Check.MONEY_BACK] == 1
    assert report.sources == {"money": "the sandbox's books", "parcels": "the sandbox's books"}
    assert (seen[0], seen[-1]) == ((0, 2), (2, 2))


async def test_an_empty_database_is_in_order(migrated_database_url: str, sources: Sources) -> None:
    assert (await audit(sources)).ok


async def test_more_orders_than_fit_into_one_batch_are_all_looked_at(books: Books, sources: Sources) -> None:
    for _ in range(30):
        books.compensated()
    books.engine.dispose()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("oms.audit.reading.BATCH", 4)
        patch.setattr("oms.audit.run.GROUP", 7)
        report = await audit(sources)
    assert report.ok
    assert report.ended == 32


async def test_an_order_that_has_not_ended_is_not_judged(books: Books, sources: Sources) -> None:
    saga_id, order_id = books.saga("running", "paid")
    books.ledger("inventory", saga_id, order_id, "reserve", "done")
    books.execute("UPDATE inventory.stock SET reserved = %(held)s", held=QUANTITY)
    books.charge(order_id)
    report = await audit(sources)
    assert report.ok
    assert report.sagas == {"completed": 1, "compensated": 1, "running": 1}


async def test_a_second_charge_is_found(books: Books, sources: Sources) -> None:
    saga_id, order_id = books.completed()
    books.execute(
        "UPDATE inventory.stock SET on_hand = on_hand - %(sold)s",
        sold=QUANTITY,
    )
    books.charge(order_id)
    assert found(await audit(sources)) == [(Check.CHARGED_ONCE, saga_id)]


async def test_money_that_was_not_given_back_is_found(books: Books, sources: Sources) -> None:
    saga_id, order_id = books.saga("compensated", "cancelled")
    books.charge(order_id)
    assert found(await audit(sources)) == [(Check.MONEY_BACK, saga_id)] * 2


async def test_a_parcel_of_a_cancelled_order_is_found(books: Books, sources: Sources) -> None:
    saga_id, order_id = books.saga("compensated", "cancelled")
    books.shipment(order_id)
    assert found(await audit(sources)) == [(Check.NOTHING_SHIPPED, saga_id)]


async def test_a_reservation_that_is_still_held_is_found(books: Books, sources: Sources) -> None:
    saga_id, order_id = books.saga("compensated", "rejected")
    books.ledger("inventory", saga_id, order_id, "reserve", "done")
    books.execute("UPDATE inventory.stock SET reserved = %(held)s", held=QUANTITY)
    assert found(await audit(sources)) == [(Check.NOTHING_RESERVED, saga_id)]


async def test_stock_that_was_reduced_twice_is_found(books: Books, sources: Sources) -> None:
    saga_id, _ = books.completed()
    books.reduction(saga_id)
    books.execute("UPDATE inventory.stock SET on_hand = on_hand - %(sold)s", sold=2 * QUANTITY)
    assert found(await audit(sources)) == [(Check.REDUCED_ONCE, saga_id)] * 2


async def test_stock_that_does_not_add_up_is_found(books: Books, sources: Sources) -> None:
    books.execute("UPDATE inventory.stock SET on_hand = on_hand - 1")
    books.execute("UPDATE inventory.stock SET reserved = 3")
    checks = [(Check.STOCK_ADDS_UP, SKU), (Check.RESERVED_AGREES, SKU)]
    assert found(await audit(sources)) == checks


async def test_work_without_a_saga_is_found(books: Books, sources: Sources) -> None:
    nobody = uuid4()
    books.ledger("shipping", nobody, uuid4(), "ship", "rejected")
    report = await audit(sources)
    assert found(report) == [(Check.HAS_SAGA, nobody)]
    assert "shipping: ship is rejected" in report.findings[0].message


async def test_a_charge_for_an_order_that_there_is_not_is_found(books: Books, sources: Sources) -> None:
    nobody = uuid4()
    books.charge(nobody, refunded=TOTAL)
    assert found(await audit(sources)) == [(Check.HAS_SAGA, str(nobody))]


async def test_others_may_use_the_sandbox_too(books: Books, sources: Sources) -> None:
    books.charge("an order of somebody else's system")
    assert (await audit(sources)).ok


async def test_a_saga_that_began_while_the_audit_was_reading_is_no_finding(
    books: Books, sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    from oms.audit import sources as module

    really_open = module._open
    orchestrators_snapshot: list[str] = []

    async def with_a_late_saga(schema: str, *others: Any) -> None:
        if orchestrators_snapshot == ["orchestrator"]:
            saga_id, order_id = books.saga("running", "pending")
            books.ledger("inventory", saga_id, order_id, "reserve", "done")
            books.execute("UPDATE inventory.stock SET reserved = %(held)s", held=QUANTITY)
            books.charge(order_id)
        orchestrators_snapshot.append(schema)
        await really_open(schema, *others)

    monkeypatch.setattr(module, "_open", with_a_late_saga)
    report = await audit(each_by_itself(sources))
    assert report.ok
    assert report.sagas.total() == 2
    assert report.looked_at[Check.HAS_SAGA] == 4 + 3 + 1 + 3


def each_by_itself(sources: Sources) -> Sources:
    """The same databases, as if each schema had one of its own."""
    return Sources(
        {
            schema: tuple(f"{url}?application_name={schema}" for url in urls)
            for schema, urls in sources.urls.items()
        }
    )


async def test_without_a_sandbox_the_ledgers_are_counted(books: Books, sources: Sources) -> None:
    books.execute("DROP SCHEMA sandbox CASCADE")
    saga_id, order_id = books.saga("compensated", "cancelled")
    books.ledger("payment", saga_id, order_id, "charge", "done")
    report = await audit(sources)
    assert report.sources == {"money": "payment's ledger alone", "parcels": "shipping's ledger alone"}
    assert found(report) == [(Check.MONEY_BACK, saga_id)]


async def test_a_verdict_is_listed_with_what_it_explains(books: Books, sources: Sources) -> None:
    saga_id, order_id = books.saga("compensated", "rejected")
    said = {"direction": "compensating", "verdict": "settled_outside", "reference": "bank", "amount": TOTAL}
    books.ledger("payment", saga_id, order_id, "charge", "settled", {"said": said, "answer": {}})
    books.charge(order_id)
    report = await audit(sources)
    assert report.ok
    (verdict,) = report.verdicts
    assert (verdict.saga_id, verdict.participant, verdict.said) == (saga_id, "payment", said)
    assert verdict.explains


async def test_what_came_back_of_an_order_is_as_its_returns_say(books: Books, sources: Sources) -> None:
    _, order_id = books.completed()
    books.execute("UPDATE inventory.stock SET on_hand = on_hand - %(sold)s", sold=QUANTITY)
    books.returned(order_id)
    books.returned(order_id, "compensated")
    books.returned(order_id, "running")
    report = await audit(sources)
    assert found(report) == []
    assert report.looked_at[Check.TAKEN_IN_ONCE] == report.looked_at[Check.NOTHING_RETURNED] == 1
    assert report.unaudited == {}


@pytest.mark.parametrize(
    ("bend", "check"),
    [
        ("UPDATE sandbox.charges SET refunded = 0", Check.CHARGED_ONCE),
        (
            'UPDATE payment.ledger SET forward_body = \'{"amount": 1, "currency": "EUR"}\' '
            "WHERE step = 'refund'",
            Check.REFUNDED_IN_PART,
        ),
        ("DELETE FROM inventory.ledger WHERE step = 'restock'", Check.TAKEN_IN_ONCE),
        (
            "UPDATE inventory.stock_movements SET quantity = 2 WHERE kind = 'restocking'",
            Check.TAKEN_IN_ONCE,
        ),
        (
            "UPDATE orchestrator.sagas SET status = 'compensated', ended_as = 'expired' "
            "WHERE definition = 'order_return'",
            Check.NOTHING_RETURNED,
        ),
        (
            "UPDATE orchestrator.orders SET document = json_build_object('currency', 'EUR', 'lines', "
            '\'[{"sku": "SKU-1", "quantity": 3, "unit_price": 433}]\'::json) '
            "WHERE order_id IN (SELECT order_id FROM orchestrator.sagas WHERE definition = 'order_return')",
            Check.RETURNED_ONCE,
        ),
    ],
)
async def test_a_return_that_does_not_add_up_is_found(
    books: Books, sources: Sources, bend: str, check: Check
) -> None:
    _, order_id = books.completed()
    books.execute("UPDATE inventory.stock SET on_hand = on_hand - %(sold)s", sold=QUANTITY)
    books.returned(order_id)
    books.execute(bend)
    assert check in {each.check for each in (await audit(sources)).findings}


async def test_sagas_of_other_definitions_are_said_not_to_be_judged(books: Books, sources: Sources) -> None:
    saga_id, _ = books.saga("completed", "completed")
    books.execute("UPDATE orchestrator.sagas SET definition = 'returns' WHERE saga_id = %(id)s", id=saga_id)
    report = await audit(sources)
    assert report.ok
    assert report.unaudited == {"returns": 1}


async def test_a_role_that_may_only_select_is_enough(books: Books, migrated_database_url: str) -> None:
    name = f"auditor_{secrets.token_hex(4)}"
    books.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'audit'")
    try:
        for schema in (*NEEDED, SANDBOX):
            books.execute(f"GRANT USAGE ON SCHEMA {schema} TO {name}")
            books.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {name}")
        url = make_url(migrated_database_url).set(username=name, password="audit")
        shown = url.render_as_string(hide_password=False)
        assert (await audit(Sources(dict.fromkeys((*NEEDED, SANDBOX), (shown,))))).ok
        books.execute(f"REVOKE USAGE ON SCHEMA payment FROM {name}")
        with pytest.raises(AuditImpossible, match="may not read schema payment"):
            await audit(Sources(dict.fromkeys((*NEEDED, SANDBOX), (shown,))))
    finally:
        books.execute(f"DROP OWNED BY {name}")
        books.execute(f"DROP ROLE {name}")


async def test_a_database_without_the_schemas_is_said(database_url: str) -> None:
    with pytest.raises(AuditImpossible, match="oms migrate"):
        await audit(Sources(dict.fromkeys((*NEEDED, SANDBOX), (database_url,))))


async def test_each_schema_may_be_in_a_database_of_its_own(
    books: Books, migrated_database_url: str, database_url: str
) -> None:
    """The first URL is the auditor's own; a schema that is not there is at its service's."""
    urls = dict.fromkeys((*NEEDED, SANDBOX), (database_url, migrated_database_url))
    assert (await audit(Sources(urls))).ok


@dataclass
class _Settings:
    urls: dict[str, str]

    def database_url_of(self, service: str) -> str | None:
        return self.urls.get(service)


def test_the_auditors_own_url_comes_before_the_services() -> None:
    services = {name: f"postgresql+psycopg://{name}/db" for name in NEEDED}
    own = "postgresql+psycopg://auditor/db"
    assert sources_of(_Settings({**services, "audit": own})).urls["payment"] == (own, services["payment"])
    assert sources_of(_Settings(services)).urls[SANDBOX] == ()
    with pytest.raises(AuditImpossible, match="OMS_DATABASE_URL"):
        sources_of(_Settings({}))


async def test_the_database_of_oms_run_is_used_where_no_other_is_named(tmp_path: Path) -> None:
    """Whether `oms run` runs or not."""
    folder = tmp_path / "postgres"
    nothing = _Settings({})
    with pytest.raises(AuditImpossible):
        async with sources_or_embedded(nothing, folder):
            pass
    with EmbeddedPostgres(folder) as server:
        for service in SERVICES:
            migrate(service, server.url)
        async with sources_or_embedded(nothing, folder) as sources:
            assert (await audit(sources)).ok
        assert server.pid is not None
    async with sources_or_embedded(nothing, folder) as sources:
        assert (await audit(sources)).ok
    with pytest.raises(ServerError, match="no PostgreSQL is ready"):
        EmbeddedPostgres(folder).attach()


def test_the_command_exits_with_1_and_the_offending_ids(
    books: Books,
    migrated_database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("OMS_DATABASE_URL", migrated_database_url)
    assert main(["audit"]) == 0
    assert "everything adds up" in capsys.readouterr().out
    saga_id, order_id = books.saga("completed", "completed")
    assert main(["audit"]) == 1
    shown = capsys.readouterr().out
    assert str(saga_id) in shown
    assert str(order_id) in shown
    assert main(["audit", "--json"]) == 1
    assert str(saga_id) in capsys.readouterr().out
