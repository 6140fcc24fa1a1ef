"""S17: the connection is lost while the server is still busy with the COMMIT, on real PostgreSQL.

What was written is there, and nobody sees it yet: whoever looks for it finds nothing, and whoever writes it
again waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar
from uuid import UUID

import pytest
from psycopg import OperationalError
from sqlalchemy import text

from contracts.returns import Return
from messaging.round_trip import COMMIT, Connection, Statement
from messaging.sqlstates import is_transient
from messaging.unit_of_work import PatientUnitOfWork, StorageUnavailable
from oms.definitions import registry
from oms.settings import load_settings
from orchestrator.core.inputs import Actor
from orchestrator.dead_letters.selection import DeadLetterFilter
from orchestrator.disclosure import Disclosures
from orchestrator.intake import Accepted, Intake, KeyReused, Submission
from orchestrator.jobs.job import JobKind
from orchestrator.jobs.operations import JobOperations
from orchestrator.jobs.postgresql import JobPostgresTransaction
from orchestrator.jobs.tasks import Assignment, Tasks
from orchestrator.operations import Operations
from orchestrator.postgresql import PostgresTransaction
from orchestrator.sagas import order_return
from orchestrator.service import Pace
from orchestrator.webhooks.operations import WebhookOperations, Wish
from orchestrator.webhooks.storage import WebhookTransaction
from tests.integration.test_http_admin import store_poison
from tests.integration.test_returns import completed
from tests.support.api import Api, an_api
from tests.support.orders import an_order

pytestmark = pytest.mark.postgresql

R = TypeVar("R")

ADA = Actor("ada", "has to be")

WAITS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock' AND state = 'active'
"""


@pytest.fixture
async def api(migrated_database_url: str) -> AsyncIterator[Api]:
    known = registry(load_settings())
    async with an_api(migrated_database_url, registry=known, pace=Pace(jobs_s=None)) as made:
        yield made


class InDoubt:
    """Transactions of which the first loses its connection in its COMMIT, which the server does later."""

    def __init__(self, api: Api, kind: type[PostgresTransaction] = PostgresTransaction) -> None:
        self._api = api
        self._kind = kind
        self._busy: Connection | None = None
        self._exits = AsyncExitStack()

    def unit_of_work(self, patience_s: float | None = None) -> PatientUnitOfWork[Any]:
        rng = self._api.deployment.rng
        return PatientUnitOfWork(self._begin, is_transient, self._api.front.outbox, rng, patience_s)

    async def ends(self, work: Awaitable[R]) -> R:
        """What comes of work whose next run waits for the commit, once that is done."""
        running = asyncio.ensure_future(work)
        async with asyncio.timeout(20):
            while not running.done() and await self._nobody_waits():
                await asyncio.sleep(0.01)
        await self.commit()
        return await running

    async def commit(self) -> None:
        """The server gets it done."""
        assert self._busy is not None
        await self._busy.ask([COMMIT])
        await self._exits.aclose()

    async def _nobody_waits(self) -> bool:
        async with self._api.deployment.database.connect() as connection:
            return not (await connection.execute(text(WAITS))).scalar_one()

    @asynccontextmanager
    async def _begin(self) -> AsyncIterator[PostgresTransaction]:
        async with AsyncExitStack() as exits:
            is_first = self._busy is None
            connected = self._api.deployment.database.connect()
            connection = await (self._exits if is_first else exits).enter_async_context(connected)
            driver: Any = (await connection.get_raw_connection()).driver_connection
            kind = _loses_its_connection(self._kind) if is_first else self._kind
            self._busy = self._busy or driver
            yield kind(connection, driver, self._api.deployment.registry)


def _loses_its_connection(kind: type[PostgresTransaction]) -> type[PostgresTransaction]:
    class Losing(kind):  # type: ignore[valid-type, misc]
        async def _execute_and_commit(self, statements: Sequence[Statement]) -> None:
            await self._driver.ask(statements)
            raise OperationalError("server closed the connection unexpectedly")

    return Losing


def intake_on(api: Api, doubt: InDoubt, patience_s: float | None = None) -> Intake:
    return Intake(doubt.unit_of_work(patience_s), api.front.engine, 86400)


async def count(api: Api, table: str) -> int:
    found: int = (await api.row(f"SELECT count(*) FROM orchestrator.{table}"))[0]
    return found


@pytest.mark.parametrize("key", [None, "key-1"], ids=["without a key", "with a key"])
@pytest.mark.parametrize("reference", [None, "R-1"], ids=["without a reference", "with a reference"])
async def test_s17_orders_whose_commit_is_still_under_way_are_accepted_once(
    api: Api, key: str | None, reference: str | None
) -> None:
    named = api.submission(an_order(reference=reference), key)
    another, other_input = api.submission(an_order()), api.submission(an_order(payment_method="pm_2"), key)
    group = [named, another, *([other_input] if key else [])]
    doubt = InDoubt(api)

    answers = await doubt.ends(intake_on(api, doubt).store(group))

    accepted = [Accepted(each.subject_id, replayed=False) for each in (named, another)]
    assert answers == [*accepted, *([KeyReused(named.subject_id)] if key else [])]
    assert await count(api, "sagas") == 2


@pytest.mark.parametrize("key", [None, "key-1"], ids=["without a key", "with a key"])
async def test_s17_one_that_is_tried_alone_waits_for_the_commit_of_its_group(
    api: Api, key: str | None
) -> None:
    tried = api.submission(an_order(), key)
    doubt = InDoubt(api)
    intake = intake_on(api, doubt, patience_s=0)
    with pytest.raises(StorageUnavailable):
        await intake.store([tried])

    answers = await doubt.ends(intake_on(api, doubt).store([tried], runs=1))

    assert answers == [Accepted(tried.subject_id, replayed=False)]
    assert await count(api, "sagas") == 1


async def test_s17_a_return_is_not_refused_for_itself(api: Api) -> None:
    order = UUID((await completed(api))["order_id"])
    given = Return.model_validate(
        {"order_id": order, "lines": [{"sku": "SKU-1", "quantity": 2}], "reason": "too small"}
    )
    new_id = api.deployment.new_id()
    submission = Submission(order_return.NAME, given, "c-1", new_id, new_id, "key-1", None, f"{order}")
    doubt = InDoubt(api)

    answers = await doubt.ends(intake_on(api, doubt).store([submission]))

    assert answers == [Accepted(new_id, replayed=False)]
    assert await count(api, "sagas") == 2


async def test_s17_a_form_whose_job_is_still_being_written_begins_it_once(api: Api) -> None:
    await store_poison(api, b"?")
    tasks = Tasks(api.front.dead_letters, api.front.operations)
    for form_id in (None, api.deployment.new_id()):
        doubt = InDoubt(api, JobPostgresTransaction)
        jobs = JobOperations(doubt.unit_of_work(), tasks, api.deployment.new_id)
        wanted = Assignment(JobKind.DISCARD, DeadLetterFilter(), form_id=form_id)
        before = await count(api, "jobs")

        begun = await doubt.ends(jobs.start(wanted, ADA))

        assert (begun.total, await count(api, "jobs")) == (1, before + 1)


async def test_s17_the_secret_of_a_webhook_that_is_still_being_written_is_shown(api: Api) -> None:
    doubt = InDoubt(api, WebhookTransaction)
    hooks = WebhookOperations(
        doubt.unit_of_work(), api.deployment.new_id, api.deployment.random_bytes, api.front.webhooks.reach
    )

    made = await doubt.ends(hooks.add(Wish("https://shop.example.org/", (), None, 0), ADA))

    stored = (await api.row("SELECT secret FROM orchestrator.webhooks"))[0]
    assert made.secret == stored


async def test_s17_actions_that_are_still_being_written_are_done_once(api: Api) -> None:
    saga_id = await api.submit()
    await store_poison(api, b"?")
    [dead_letter_id] = await api.row("SELECT dead_letter_id FROM orchestrator.dead_letters")
    new_id = api.deployment.new_id

    async def cancelled(unit_of_work: PatientUnitOfWork[Any]) -> None:
        assert (await Operations(unit_of_work, api.front.engine, new_id).cancel(saga_id, ADA)).changed

    async def disclosed(unit_of_work: PatientUnitOfWork[Any]) -> None:
        await Disclosures(unit_of_work, new_id).dead_letter(dead_letter_id, ADA)

    actions: dict[str, Callable[[PatientUnitOfWork[Any]], Awaitable[None]]] = {
        "saga.cancel": cancelled,
        "dead_letter.disclose": disclosed,
    }
    for action, act in actions.items():
        doubt = InDoubt(api)
        await doubt.ends(act(doubt.unit_of_work()))
        audited = "SELECT count(*) FROM orchestrator.audit_log WHERE action = :action"
        assert tuple(await api.row(audited, action=action)) == (1,), action
