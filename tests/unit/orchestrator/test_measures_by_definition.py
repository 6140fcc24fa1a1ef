"""Numbers of sagas of several definitions stand apart, and branches count for their step."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from contracts.envelope import Direction
from messaging.measures import Distribution
from orchestrator.core.definition import StepPolicy
from orchestrator.core.inputs import OutcomeReceived, SagaStarted, SignalReceived
from orchestrator.core.registry import Registry
from orchestrator.core.state import Awaited, Saga, Status
from orchestrator.measures import SagaMeasures, ends_of
from orchestrator.sagas.order_fulfillment import order_fulfillment
from tests.support.enrolment import enrolment

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
REGISTRY = Registry([order_fulfillment(StepPolicy()), enrolment(StepPolicy())])


def a_saga(definition: str, *awaited: str) -> Saga:
    return Saga(
        saga_id=uuid4(),
        subject_id=uuid4(),
        definition=definition,
        definition_version=1,
        input=None,
        created_at=NOON,
        updated_at=NOON,
        awaited=tuple(Awaited(step, Direction.FORWARD, NOON) for step in awaited),
    )


def told(measures: SagaMeasures) -> dict[tuple[str, ...], float]:
    numbers = {
        (series.measure.name, *series.values): sum(value.counts) if isinstance(value, Distribution) else value
        for series, value in measures.readings()
    }
    return {name: number for name, number in numbers.items() if number}


def test_every_definition_and_end_is_told_from_the_start() -> None:
    series = {(each.measure.name, *each.values) for each, _ in SagaMeasures({}, ends_of(REGISTRY)).readings()}
    assert {
        ("oms_sagas_started_total", "enrolment"),
        ("oms_sagas_started_total", "order_fulfillment"),
        ("oms_sagas_ended_total", "enrolment", "withdrawn"),
        ("oms_sagas_ended_total", "order_fulfillment", "cancelled"),
    } <= series
    assert ("oms_sagas_ended_total", "order_fulfillment", "withdrawn") not in series


def test_starts_and_ends_are_counted_by_definition() -> None:
    measures = SagaMeasures({}, ends_of(REGISTRY))
    before = a_saga("enrolment")
    after = replace(before, status=Status.COMPLETED, label="enrolled", ended_at=NOON)
    measures.note([(None, SagaStarted(), before), (None, SagaStarted(), a_saga("order_fulfillment"))])
    measures.note([(before, SagaStarted(), after)])

    assert told(measures) == {
        ("oms_sagas_started_total", "enrolment"): 1,
        ("oms_sagas_started_total", "order_fulfillment"): 1,
        ("oms_sagas_ended_total", "enrolment", "enrolled"): 1,
        ("oms_saga_duration_seconds", "enrolment", "enrolled"): 1,
    }


def test_the_branches_of_a_step_are_one_series() -> None:
    measures = SagaMeasures(REGISTRY.events, ())
    before = a_saga("enrolment", "join[1]", "join[2]")
    after = replace(before, updated_at=NOON + timedelta(seconds=1))
    answers = [
        OutcomeReceived(event="CourseJoined", step=f"join[{n}]", direction=Direction.FORWARD) for n in (1, 2)
    ]
    measures.note([(before, answer, after) for answer in answers])

    assert told(measures) == {
        ("oms_step_attempts_total", "enrolment", "join", "forward", "succeeded"): 2,
        ("oms_step_duration_seconds", "enrolment", "join", "forward"): 2,
    }


def test_a_signal_is_no_answer_of_a_step() -> None:
    measures = SagaMeasures(REGISTRY.events, ())
    before = a_saga("enrolment", "approval")
    measures.note([(before, SignalReceived(actor=None, wait="approval"), before)])  # type: ignore[arg-type]
    assert told(measures) == {}
