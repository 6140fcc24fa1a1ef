"""However much there is: every list, detail and count reads few rows, by indexes (checked in the plans).

The statements are those that the read side really sends; each is explained as it was executed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, LiteralString
from uuid import UUID

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from messaging.connecting import connect
from messaging.transport import QueueDepth
from oms.definitions import registry
from oms.settings import load_settings
from orchestrator.core.state import Status
from orchestrator.dead_letters.rows import KNOWN_DEATHS
from orchestrator.dead_letters.selection import DeadLetterFilter, Group
from orchestrator.explanation import Explainer
from orchestrator.postgresql import LOCK_DUE
from orchestrator.queries import Queries, endings, gauges
from orchestrator.queries import dead_letters as dead_letter_queries
from orchestrator.queries.audit import AuditFilter
from orchestrator.queries.feed import SCANNED, FeedFilter
from orchestrator.queries.feed_position import BEGINNING, Position
from orchestrator.queries.orders import OrderFilter
from orchestrator.queries.paging import Page
from orchestrator.reconciler import BATCH
from orchestrator.sagas.order_fulfillment import OrderStatus
from orchestrator.selection import FoundBy, SagaFilter
from orchestrator.storage import DeadLetterStatus
from tests.conftest import migrate_all
from tests.integration.a_long_past import BEGINS_S, SPACING_S, add_a_past, saga_ids
from tests.support.servers import Databases

pytestmark = pytest.mark.postgresql

SAGAS: Final = 50_000
LETTERS: Final = 5_000
LIMIT: Final = 50
MOST_ROWS: Final = 12 * LIMIT
"""Rows that one look may read from a table, those that a filter leaves out included."""

COUNTED: Final = 1_000
"""What each count may read in this test; a smaller past than the real one needs a smaller bound."""

MOST_BLOCKS: Final = 4_000
"""Pages of 8 kB, of tables and indexes, found in memory or not."""

GROWING: Final = frozenset(
    {"sagas", "orders", "history", "dead_letters", "audit_log", "saga_references", "saga_metadata"}
)
OPEN: Final = (DeadLetterStatus.OPEN, DeadLetterStatus.REPLAYING)
LATER: Final = datetime(2030, 1, 1, tzinfo=UTC)
LONG_AGO: Final = datetime(2023, 11, 15, tzinfo=UTC)
"""When some sagas had begun."""


@dataclass
class Past:
    """A database with a long past, and what is read of it."""

    queries: Queries
    explainer: Explainer
    ended: UUID
    stuck: UUID
    order: UUID
    until: datetime
    places: Mapping[int, Position]
    statements: list[tuple[str, Any]] = field(default_factory=list)

    async def dead_letter(self) -> UUID:
        """One of the open ones."""
        found = await self.queries.dead_letters.page(DeadLetterFilter(OPEN), Page(1))
        return found.items[0].dead_letter_id


Look = Callable[[Past], Awaitable[object]]


def sagas(**wanted: Any) -> Look:
    return lambda past: past.queries.sagas.page(SagaFilter(**wanted), Page(LIMIT))


def letters(**wanted: Any) -> Look:
    return lambda past: past.queries.dead_letters.page(DeadLetterFilter(**wanted), Page(LIMIT))


def orders(**wanted: Any) -> Look:
    return lambda past: past.queries.orders.page(OrderFilter(**wanted), Page(LIMIT))


def audit(**wanted: Any) -> Look:
    return lambda past: past.queries.audit_log.page(AuditFilter(**wanted), Page(LIMIT))


def groups(**wanted: Any) -> Look:
    return lambda past: past.queries.dead_letters.groups(DeadLetterFilter(**wanted))


async def second_page(past: Past) -> None:
    """Far behind, by the cursor of the page before."""
    first = await past.queries.sagas.page(SagaFilter(), Page(LIMIT))
    past.statements.clear()
    await past.queries.sagas.page(SagaFilter(), Page(LIMIT, first.next_cursor))


def the_feed(of: int | None = None, **wanted: Any) -> Look:
    """From behind an entry of the saga of this number, or from the beginning."""

    async def look(past: Past) -> None:
        after = BEGINNING if of is None else past.places[of]
        await past.queries.feed.page(after, FeedFilter(**wanted), LIMIT)

    return look


async def one_dead_letter(past: Past) -> None:
    dead_letter_id = await past.dead_letter()
    past.statements.clear()
    await past.queries.dead_letters.detail(dead_letter_id)


async def changes(past: Past) -> None:
    dead_letter_id = await past.dead_letter()
    past.statements.clear()
    await past.queries.changes.tables(["sagas", "dead_letters", "audit_log"])
    await past.queries.changes.sagas([past.ended, past.stuck])
    await past.queries.changes.dead_letters([dead_letter_id])


PAYMENTS: Final = {"queues": ("payment.commands",), "error_types": ("ProviderUnavailable",)}
RARE: Final = {"queues": ("shipping.commands",), "error_types": ("CarrierRefused",)}

NAMED: Final = FoundBy(("R-5002",))
OFTEN: Final = FoundBy(metadata=(("channel", ("web",)),))
SELDOM: Final = FoundBy(metadata=(("channel", ("shop",)),))
NEVER: Final = FoundBy(metadata=(("channel", ("phone",)),))

LISTS: Final[Mapping[str, Look]] = {
    "the feed from its beginning": the_feed(),
    "the feed from far behind": the_feed(of=7),
    "the feed from its middle": the_feed(of=25_000),
    "the feed at its end": the_feed(of=SAGAS),
    "the feed of one order": lambda past: the_feed(order_id=past.order)(past),
    "where the feed ends": lambda past: past.queries.feed.latest(),
    "sagas of a reference": sagas(found_by=NAMED),
    "sagas with common metadata": sagas(found_by=OFTEN),
    "sagas with rare metadata": sagas(found_by=SELDOM),
    "sagas with metadata that none has": sagas(found_by=NEVER),
    "completed sagas with common metadata": sagas(found_by=OFTEN, statuses=(Status.COMPLETED,)),
    "orders of a reference": orders(found_by=NAMED),
    "orders with common metadata": orders(found_by=OFTEN),
    "orders with rare metadata": orders(found_by=SELDOM),
    "orders of a customer with rare metadata": orders(customer_ids=("c-5",), found_by=SELDOM),
    "sagas": sagas(),
    "sagas, second page": second_page,
    "sagas that run": sagas(statuses=(Status.RUNNING,)),
    "sagas that are compensated": sagas(statuses=(Status.COMPENSATED,)),
    "sagas that completed": sagas(statuses=(Status.COMPLETED,)),
    "sagas that run or completed": sagas(statuses=(Status.RUNNING, Status.COMPLETED)),
    "stuck sagas": sagas(incidents=("any",)),
    "overdue sagas": sagas(incidents=("overdue",)),
    "completed and yet stuck sagas": sagas(statuses=(Status.COMPLETED,), incidents=("any",)),
    "sagas without incidents": sagas(incidents=("none",)),
    "sagas at a step": sagas(steps=("charge",)),
    "sagas at no step": sagas(steps=("nowhere",)),
    "sagas of the usual definition": sagas(definitions=("order_fulfillment",)),
    "sagas of a rare definition": sagas(definitions=("enrolment",)),
    "sagas of a rare definition that completed": sagas(
        definitions=("enrolment",), statuses=(Status.COMPLETED,)
    ),
    "the saga of an order": lambda past: sagas(order_ids=(past.order,))(past),
    "the newest sagas": sagas(created_after=LATER),
    "the oldest sagas": sagas(created_before=LONG_AGO),
    "the oldest completed sagas": sagas(created_before=LONG_AGO, statuses=(Status.COMPLETED,)),
    "the oldest sagas without incidents": sagas(created_before=LONG_AGO, incidents=("none",)),
    "dead letters": letters(),
    "open dead letters": letters(statuses=OPEN),
    "replaying dead letters": letters(statuses=(DeadLetterStatus.REPLAYING,)),
    "dead letters of the largest group": letters(statuses=OPEN, **PAYMENTS),
    "dead letters of a small group": letters(statuses=OPEN, **RARE),
    "dead letters of a group that is gone": letters(statuses=OPEN, queues=("x",), error_types=("Y",)),
    "dead letters of a group, by name": letters(
        statuses=OPEN, groups=(Group("shipping.commands", "CarrierRefused"),)
    ),
    "dead letters of a queue": letters(queues=("shipping.commands",)),
    "dead letters of no queue": letters(queues=("nothing",)),
    "dead letters of an error": letters(error_types=("CarrierRefused",)),
    "dead letters of a step": letters(steps=("shipping",)),
    "dead letters of a saga": lambda past: letters(saga_ids=(past.stuck,))(past),
    "open dead letters of a saga": lambda past: past.queries.dead_letters.open_of(past.stuck),
    "old dead letters": letters(created_before=LONG_AGO),
    "orders": orders(),
    "orders of a customer": orders(customer_ids=("c-5",)),
    "orders of the largest customer": orders(customer_ids=("c-large",)),
    "orders that completed": orders(statuses=(OrderStatus.COMPLETED,)),
    "orders that were cancelled": orders(statuses=(OrderStatus.CANCELLED,)),
    "orders that go on": orders(statuses=(OrderStatus.RESERVED, OrderStatus.PENDING)),
    "completed orders of a customer": orders(customer_ids=("c-5",), statuses=(OrderStatus.COMPLETED,)),
    "completed orders of the largest customer": orders(
        customer_ids=("c-large",), statuses=(OrderStatus.COMPLETED,)
    ),
    "orders that go on of the largest customer": orders(
        customer_ids=("c-large",), statuses=(OrderStatus.PENDING,)
    ),
    "audit log": audit(),
    "audit log of a person": audit(actors=("jane",)),
    "audit log of an action": audit(actions=("saga.cancel",)),
    "audit log of one saga": lambda past: audit(subjects=(f"saga:{past.stuck}",))(past),
}
DETAILS: Final[Mapping[str, Look]] = {
    "an ended saga": lambda past: past.queries.sagas.detail(past.ended, lambda _: ()),
    "a stuck saga": lambda past: past.queries.sagas.detail(past.stuck, lambda _: ()),
    "why a saga stands where it stands": lambda past: past.explainer.explain(past.stuck),
    "an order": lambda past: past.queries.orders.saga_of(past.order),
    "which saga an order has": lambda past: past.queries.orders.saga_id_of(past.order),
    "how far orders are": lambda past: past.queries.orders.standings([past.order]),
    "a dead letter": one_dead_letter,
    "whether anything has changed": changes,
}


async def metrics(past: Past) -> None:
    assert [reading async for reading in past.queries.gauges.readings(["payment"])]


COUNTS: Final[Mapping[str, tuple[Look, int]]] = {
    "gauges": (lambda past: past.queries.gauges.read(COUNTED), 2 * COUNTED),
    "metrics": (metrics, 3 * COUNTED),
    "what ended lately": (lambda past: past.queries.endings.by_minute(past.until), COUNTED),
    "groups of dead letters": (groups(), 3 * COUNTED),
    "groups of one queue": (groups(queues=("payment.commands",)), 3 * COUNTED),
}
"""What is read, and how many rows of a table it may read for that."""


@dataclass(frozen=True)
class Plan:
    """What PostgreSQL did for a statement: rows read of each growing table, pages touched."""

    read: Mapping[str, int]
    scanned: list[str]
    blocks: int

    @property
    def most_rows(self) -> int:
        """Of one table."""
        return max(self.read.values(), default=0)


async def explained(url: str, text: str, values: Any, before: LiteralString = "SELECT") -> Plan:
    """Run a statement again, and see how; what it changes, and what is done ``before``, is undone."""
    async with await connect(url) as connection:
        await connection.execute(before)
        cursor = await connection.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {text}", values)
        row = await cursor.fetchone()
        await connection.rollback()
    assert row is not None
    top = row[0][0]["Plan"]
    read: dict[str, int] = {}
    scanned = []
    for node in _nodes(top):
        table = node.get("Relation Name")
        if table not in GROWING:
            continue
        left_out = sum(int(node.get(f"Rows Removed by {why}", 0)) for why in ("Filter", "Index Recheck"))
        rows = (node["Actual Rows"] + left_out) * node["Actual Loops"]
        read[table] = read.get(table, 0) + round(rows)
        if node["Node Type"] == "Seq Scan":
            scanned.append(table)
    return Plan(read, scanned, top["Shared Hit Blocks"] + top["Shared Read Blocks"])


def _nodes(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield node
    for below in node.get("Plans", ()):
        yield from _nodes(below)


@pytest.fixture(scope="module")
def past_url(databases: Databases) -> Iterator[str]:
    url = databases.copy_of("migrated", migrate_all)
    add_a_past(url, SAGAS, LETTERS)
    yield url
    databases.drop(url)


@pytest.fixture
async def past(past_url: str) -> AsyncIterator[Past]:
    engine = create_async_engine(past_url, async_creator=lambda: connect(past_url))
    made = await a_past(engine, past_url)
    event.listen(
        engine.sync_engine,
        "before_cursor_execute",
        lambda _connection, _cursor, text, values, *_: made.statements.append((text, values)),
    )
    yield made
    await engine.dispose()


async def a_past(engine: AsyncEngine, url: str) -> Past:
    known = registry(load_settings())
    queries = Queries(engine, known)
    ended, stuck = saga_ids(url, (5_002, 8_007))
    ends = datetime.fromtimestamp(BEGINS_S + SAGAS * SPACING_S, UTC)
    saga = await queries.sagas.saga(ended)
    assert saga is not None
    explainer = Explainer(queries, known, _depth, lambda _: ())
    return Past(queries, explainer, ended, stuck, saga.subject_id, ends, await places_in(url))


async def places_in(url: str) -> dict[int, Position]:
    """Of some entries in the feed, by the numbers of their sagas."""
    numbers = (7, 25_000, SAGAS)
    async with await connect(url, autocommit=True) as connection:
        query = "SELECT transaction_id::text::bigint FROM orchestrator.history WHERE saga_id = %s LIMIT 1"
        found = {}
        for number, saga_id in zip(numbers, saga_ids(url, numbers), strict=True):
            [(transaction,)] = await (await connection.execute(query, [saga_id])).fetchall()
            found[number] = Position(transaction, saga_id, 3)
    return found


async def _depth(_: str) -> QueueDepth:
    return QueueDepth(0, 1)


@pytest.mark.parametrize("look", [*LISTS, *DETAILS])
async def test_a_look_reads_a_bounded_number_of_rows_by_index(past: Past, past_url: str, look: str) -> None:
    await {**LISTS, **DETAILS}[look](past)
    assert past.statements
    for text, values in past.statements:
        plan = await explained(past_url, text, values)
        assert plan.scanned == []
        assert plan.most_rows <= MOST_ROWS, plan.read
        assert plan.blocks <= MOST_BLOCKS


async def test_the_feed_of_one_type_looks_through_so_many_entries_at_once(past: Past, past_url: str) -> None:
    """However rare it is, and however far behind the reader is."""
    await the_feed(of=7, types=frozenset({"OrderRejectedEvent"}))(past)
    for text, values in past.statements:
        plan = await explained(past_url, text, values)
        assert plan.scanned == []
        assert plan.most_rows <= SCANNED


async def test_a_death_finds_its_work_by_index(past: Past, past_url: str) -> None:
    plan = await explained(past_url, KNOWN_DEATHS, [["command:none", "message:none"], ["m-1", "m-2"]])
    assert (plan.scanned, plan.most_rows) == ([], 0)


async def test_of_many_due_sagas_only_those_are_read_that_are_looked_at_together(past_url: str) -> None:
    """Also where a planner that thinks otherwise of how many they are would not go along the index."""
    many_are_due = (
        "UPDATE orchestrator.sagas SET due_at = now() - interval '1 s' WHERE saga_id IN "
        "(SELECT saga_id FROM orchestrator.sagas ORDER BY saga_id LIMIT 5000);"
        "ANALYZE orchestrator.sagas; SET LOCAL enable_nestloop = off"
    )
    known = [["order_fulfillment", "order_fulfillment"], [1, 2]]
    plan = await explained(past_url, LOCK_DUE, [*known, BATCH], before=many_are_due)
    assert (plan.scanned, plan.most_rows) == ([], BATCH)


@pytest.mark.parametrize("look", COUNTS)
async def test_a_count_stops_at_its_bound(
    past: Past, past_url: str, look: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letter_queries, "GROUP_COUNTED_TO", COUNTED)
    monkeypatch.setattr(gauges, "KIND_COUNTED_TO", COUNTED)
    monkeypatch.setattr(gauges.GaugeQueries.read, "__defaults__", (COUNTED,))
    monkeypatch.setattr(endings, "LOOKED_AT", COUNTED)
    count, most_rows = COUNTS[look]
    await count(past)
    for text, values in past.statements:
        plan = await explained(past_url, text, values)
        assert plan.scanned == []
        assert plan.most_rows <= most_rows, plan.read


async def test_a_group_that_is_larger_than_what_is_counted_says_so(
    past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letter_queries, "GROUP_COUNTED_TO", COUNTED)
    found = (await past.queries.dead_letters.groups(DeadLetterFilter())).items

    assert [(each.queue, each.error_type, each.count, each.at_least) for each in found] == [
        ("payment.commands", "ProviderUnavailable", COUNTED, True),
        ("payment.commands", "CarrierRefused", 5, False),
        ("shipping.commands", "CarrierRefused", 5, False),
    ]
