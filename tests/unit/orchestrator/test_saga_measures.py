"""What is counted of sagas: starts, ends, results of steps, how long they took, incidents."""

from __future__ import annotations

from dataclasses import replace as changed
from datetime import timedelta

import pytest

from contracts.envelope import Direction
from messaging.measures import Distribution
from orchestrator.core.definition import StepPolicy
from orchestrator.core.inputs import (
    CommandDeadLettered,
    CompensationStuck,
    Input,
    OutcomeReceived,
    OutcomeUnknown,
    SagaStarted,
    StepOverdue,
)
from orchestrator.core.registry import Registry
from orchestrator.core.state import Awaited, Incident, IncidentKind, Saga, Status
from orchestrator.measures import SagaMeasures, ends_of
from orchestrator.sagas.order_fulfillment import NAME, OrderStatus, order_fulfillment
from tests.support.orders import NOON, a_saga

FORWARD, COMPENSATING = Direction.FORWARD, Direction.COMPENSATING


def told(measures: SagaMeasures) -> dict[tuple[str, ...], float]:
    """Counters that are not zero, and how many values each distribution has."""
    numbers = {
        (series.measure.name, *series.values): sum(value.counts) if isinstance(value, Distribution) else value
        for series, value in measures.readings()
    }
    return {name: number for name, number in numbers.items() if number}


def measuring() -> SagaMeasures:
    """What one engine counts, before anything has happened."""
    registry = Registry([order_fulfillment(StepPolicy())])
    return SagaMeasures(registry.events, ends_of(registry))


def awaiting(step: str, direction: Direction = FORWARD) -> Saga:
    return a_saga(awaited=(Awaited(step, direction, NOON),))


def test_a_start_is_counted() -> None:
    measures = measuring()
    measures.note([(None, SagaStarted(), a_saga())])
    assert told(measures) == {("oms_sagas_started_total", NAME): 1}


@pytest.mark.parametrize(
    ("event", "step", "direction", "result"),
    [
        ("PaymentSuccessfulEvent", "charge", FORWARD, "succeeded"),
        ("PaymentDeclinedEvent", "charge", FORWARD, "rejected"),
        ("PaymentRefundedEvent", "charge", COMPENSATING, "succeeded"),
        ("StepRefused", "ship", FORWARD, "refused"),
        ("StepSettled", "charge", COMPENSATING, "settled"),
    ],
)
def test_an_answer_is_counted_with_the_time_that_it_took(
    event: str, step: str, direction: Direction, result: str
) -> None:
    measures = measuring()
    before = awaiting(step, direction)
    after = changed(before, awaited=(), updated_at=NOON + timedelta(seconds=2))
    measures.note([(before, OutcomeReceived(event, step, direction), after)])
    assert told(measures) == {
        ("oms_step_attempts_total", NAME, step, direction.value, result): 1,
        ("oms_step_duration_seconds", NAME, step, direction.value): 1,
    }


@pytest.mark.parametrize(
    ("accepted", "direction", "result"),
    [
        (OutcomeUnknown("charge"), FORWARD, "unknown"),
        (StepOverdue("charge"), FORWARD, "overdue"),
        (CompensationStuck("charge"), COMPENSATING, "stuck"),
        (CommandDeadLettered("charge", FORWARD, True, "no"), FORWARD, "dead_lettered"),
    ],
)
def test_what_did_not_come_is_counted_too(accepted: Input, direction: Direction, result: str) -> None:
    measures = measuring()
    before = awaiting("charge", direction)
    measures.note([(before, accepted, before)])
    assert told(measures) == {("oms_step_attempts_total", NAME, "charge", direction.value, result): 1}


def test_an_end_is_counted_once_with_the_saga_s_duration() -> None:
    measures = measuring()
    before = awaiting("commit")
    end = NOON + timedelta(seconds=3)
    after = changed(
        before,
        awaited=(),
        status=Status.COMPLETED,
        label=OrderStatus.COMPLETED,
        ended_at=end,
        updated_at=end,
    )
    settled = OutcomeReceived("StepSettled", "charge", COMPENSATING)
    measures.note([(before, OutcomeReceived("InventoryReducedEvent", "commit", FORWARD), after)])
    measures.note([(after, settled, after)])
    numbers = told(measures)
    assert numbers["oms_sagas_ended_total", NAME, "completed"] == 1
    assert numbers["oms_saga_duration_seconds", NAME, "completed"] == 1
    assert measures.durations[NAME, "completed"].total == 3


def test_an_incident_is_counted_when_it_opens() -> None:
    measures = measuring()
    before = awaiting("ship")
    incident = Incident(IncidentKind.OVERDUE, "ship", FORWARD, NOON, "late")
    after = changed(before, incidents=(incident,))
    measures.note(
        [
            (before, StepOverdue("ship"), after),
            (after, OutcomeReceived("StepRefused", "ship", FORWARD), after),
        ]
    )
    assert told(measures)["oms_incidents_opened_total", "overdue"] == 1
