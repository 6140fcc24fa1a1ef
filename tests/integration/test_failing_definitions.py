"""A definition's functions may fail on an input that no example showed: it harms that saga alone (S25)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from contracts import events
from migrations.run import migrate_async
from orchestrator.core.definition import OnDeadline, Stage, StepPolicy, Wait
from orchestrator.core.registry import Registry
from orchestrator.core.state import IncidentKind, Status
from orchestrator.sagas.order_fulfillment import order_fulfillment
from tests.integration.test_orchestrator import NOBODY, World, a_deployment, an_order

pytestmark = pytest.mark.postgresql

LINES = [{"sku": "SKU-1", "quantity": 2}]
STANDS = "SELECT incident_kinds, due_at > clock_timestamp() FROM orchestrator.sagas WHERE saga_id = :id"


def picky(*between: Wait) -> Registry:
    """Orders of one customer cannot be charged."""
    own = order_fulfillment(StepPolicy())
    reserve, charge, *rest = own.steps

    def arguments(order: Any, results: Any) -> Mapping[str, Any]:
        if order.customer_id == "c-13":
            raise LookupError("nobody knows c-13")
        return charge.arguments(order, results)

    course: tuple[Stage, ...] = (reserve, *between, replace(charge, arguments=arguments), *rest)
    return Registry([replace(own, course=course)])


@pytest.fixture
async def world(database_url: str, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    await migrate_async("orchestrator", database_url)
    made = World(replace(a_deployment(database_url), registry=request.param))
    await made.start()
    yield made
    await made.stop()


@pytest.mark.parametrize("world", [picky()], indirect=True, ids=["a step"])
async def test_an_answer_that_cannot_be_decided_is_told_and_the_others_go_on(world: World) -> None:
    bad = await world.submit(an_order(customer_id="c-13"))
    _, first = await world.command("inventory")
    good = await world.submit()
    _, second = await world.command("inventory")
    assert (first.saga_id, second.saga_id) == (bad, good)
    both = [world.outcome(each, events.InventoryReservedEvent, lines=LINES) for each in (first, second)]

    for message in both:
        world.publish(message)

    _, charge = await world.command("payment")
    assert charge.saga_id == good
    await world.eventually(STANDS, ([IncidentKind.UNREADABLE.value], True), id=bad)
    assert world.service.engine.counts["unreadable"] == 1


@pytest.mark.parametrize("world", [picky()], indirect=True, ids=["a step"])
async def test_such_a_saga_can_still_be_cancelled(world: World) -> None:
    bad = await world.submit(an_order(customer_id="c-13"))
    _, reserve = await world.command("inventory")
    await world.answer(reserve, events.InventoryReservedEvent, lines=LINES)
    await world.eventually(STANDS, ([IncidentKind.UNREADABLE.value], True), id=bad)

    await world.front.operations.cancel(bad, NOBODY)

    _, release = await world.command("inventory")
    await world.answer(release, events.InventoryReleasedEvent, effect="undone")
    saga = await world.until(bad, lambda saga: saga.status is Status.COMPENSATED)
    assert saga.label == "cancelled"
    await world.eventually("SELECT incident_kinds FROM orchestrator.sagas WHERE saga_id = :id", ([],), id=bad)


PAUSE = Wait("pause", 0.2, on_deadline=OnDeadline.GO_ON)


@pytest.mark.parametrize("world", [picky(PAUSE)], indirect=True, ids=["a wait"])
async def test_a_wait_that_cannot_be_ended_is_set_aside_and_told(world: World) -> None:
    bad = await world.submit(an_order(customer_id="c-13"))
    _, reserve = await world.command("inventory")
    await world.answer(reserve, events.InventoryReservedEvent, lines=LINES)
    good = await world.submit()
    _, reserve = await world.command("inventory")
    await world.answer(reserve, events.InventoryReservedEvent, lines=LINES)

    _, charge = await world.command("payment")

    assert charge.saga_id == good
    await world.eventually(STANDS, ([IncidentKind.UNREADABLE.value], True), id=bad)
