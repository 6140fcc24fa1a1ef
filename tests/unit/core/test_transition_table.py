"""The transition table, row by row: what has no row changes nothing, and no row leads elsewhere."""

from __future__ import annotations

from itertools import product

import pytest

from contracts.commands import Verdict
from orchestrator.core import machine
from orchestrator.core.definition import SagaDefinition
from orchestrator.core.effects import Refused, Stale, Transition
from orchestrator.core.inputs import CompensationStuck, Input, OutcomeUnknown, SagaStarted, StepOverdue
from orchestrator.core.machine import TABLE, Trigger
from orchestrator.core.state import Saga, Status
from tests.unit.core.happenings import (
    COMPENSATING,
    DEFINITION,
    FORWARD,
    NOON,
    cancel,
    declined,
    died,
    died_for_good,
    judge,
    not_settled,
    not_shippable,
    out_of_stock,
    paid,
    reduced,
    refunded,
    refused,
    released,
    reserved,
    retry,
    settled,
    shipped,
)
from tests.unit.core.scenario import Scenario, awaiting, cancelled, completed, rejected, started, undoing

STEPS = tuple(step.name for step in DEFINITION.steps)
VERDICTS = tuple(Verdict)

INPUTS: dict[Trigger, list[Input]] = {
    Trigger.SUCCEEDED: [reserved(), paid(), shipped(), reduced()],
    Trigger.REJECTED: [out_of_stock(), declined(), not_shippable()],
    Trigger.UNDONE: [answer(effect) for answer in (released, refunded) for effect in ("undone", "nothing")],
    Trigger.REFUSED: [refused(step) for step in STEPS],
    Trigger.SETTLED: [
        reply
        for step, direction, verdict in product(STEPS, (FORWARD, COMPENSATING), VERDICTS)
        for reply in (settled(step, direction, verdict), not_settled(step, direction, verdict, "no proof"))
    ],
    Trigger.UNKNOWN: [OutcomeUnknown(step) for step in STEPS],
    Trigger.OVERDUE: [StepOverdue(step) for step in STEPS],
    Trigger.STUCK: [CompensationStuck(step) for step in STEPS],
    Trigger.DEAD_LETTERED: [
        death(step, direction)
        for death, step, direction in product((died, died_for_good), STEPS, (FORWARD, COMPENSATING))
    ],
    Trigger.CANCEL: [cancel()],
    Trigger.RETRY: [retry()],
    Trigger.RESOLVE: [judge(step, verdict) for step, verdict in product(STEPS, VERDICTS)],
}
"""Every input there is, by what it means; the machine agrees (tested below)."""


def unpaid() -> Scenario:
    """A charge given up, its refund still awaited."""
    return awaiting("charge").when(OutcomeUnknown("charge"))


def orphaned(ended: Scenario) -> Scenario:
    """An ended saga with an effect that its ledger did not know."""
    return ended.when(paid())


STANDS: dict[str, Saga] = {
    **{f"awaiting {step}": awaiting(step).saga for step in STEPS},
    **{f"{step} dead": awaiting(step).when(died(step)).saga for step in STEPS},
    **{f"{step} held": awaiting(step).when(died_for_good(step)).saga for step in STEPS},
    **{f"{step} refused": awaiting(step).when(refused(step)).saga for step in STEPS},
    "ship overdue": awaiting("ship").when(StepOverdue("ship")).saga,
    "commit overdue": awaiting("commit").when(StepOverdue("commit")).saga,
    **{f"undoing {step}": undoing(step).saga for step in ("charge", "reserve")},
    "charge unknown": unpaid().saga,
    "charge succeeded late": unpaid().when(paid()).saga,
    "refund found nothing": unpaid().when(refunded("nothing")).saga,
    "refund stuck": undoing("charge").when(CompensationStuck("charge")).saga,
    "completed": completed().saga,
    "rejected": rejected().saga,
    "cancelled": cancelled().saga,
    "charge orphaned": orphaned(unpaid().when(refunded("nothing"), released())).saga,
    **{
        f"ship judged {verdict}": awaiting("ship").when(died("ship"), judge("ship", verdict)).saga
        for verdict in VERDICTS
    },
    **{
        f"undoing {step} judged {verdict}": undoing(step)
        .when(died(step, COMPENSATING), judge(step, verdict))
        .saga
        for step, verdict in product(("charge", "reserve"), VERDICTS)
    },
    "orphan judged": orphaned(rejected()).when(judge("charge", VERDICTS[2])).saga,
}
"""Sagas that stand everywhere a saga can stand."""


def test_the_collections_leave_nothing_out() -> None:
    assert set(INPUTS) == set(Trigger)
    assert {saga.status for saga in STANDS.values()} == set(Status)
    for trigger, inputs in INPUTS.items():
        assert {machine.classify(DEFINITION, happened) for happened in inputs} == {trigger}


@pytest.mark.parametrize("name", STANDS)
def test_what_has_no_row_changes_nothing(name: str) -> None:
    saga = STANDS[name]
    for trigger, inputs in INPUTS.items():
        if (saga.status, trigger) in TABLE:
            continue
        by_people = trigger in (Trigger.CANCEL, Trigger.RETRY, Trigger.RESOLVE)
        for happened in inputs:
            decision = machine.decide(DEFINITION, saga, happened, NOON)
            assert isinstance(decision, Refused if by_people else Stale), (trigger, decision)


def taken() -> dict[tuple[Status, Trigger], set[Status]]:
    """Where each row was seen to lead, over every saga and every input."""
    seen: dict[tuple[Status, Trigger], set[Status]] = {row: set() for row in TABLE}
    for saga, (trigger, inputs) in product(STANDS.values(), INPUTS.items()):
        for happened in inputs:
            decision = machine.decide(DEFINITION, saga, happened, NOON)
            if isinstance(decision, Transition):
                seen[saga.status, trigger].add(decision.saga.status)
    return seen


def test_every_row_leads_exactly_where_it_says() -> None:
    seen = taken()
    for row, leads_to in seen.items():
        assert leads_to == set(TABLE[row].leads_to) - UNREACHED.get(row, set()), row


UNREACHED: dict[tuple[Status, Trigger], set[Status]] = {
    (Status.RUNNING, Trigger.SETTLED): {Status.COMPLETED, Status.COMPENSATED},
}
"""Ends that need another definition: a pivot that comes last, and one that comes first."""


def test_a_verdict_on_a_pivot_without_neighbours_ends_the_saga() -> None:
    only_ship = SagaDefinition("only_ship", 1, (DEFINITION["ship"],))
    for verdict, status in ((Verdict.TOOK_EFFECT, Status.COMPLETED), (Verdict.NO_EFFECT, Status.COMPENSATED)):
        scenario = started(only_ship).when(died("ship"), judge("ship", verdict))
        assert scenario.when(settled("ship", FORWARD, verdict)).saga.status is status


def test_the_start_of_a_saga_means_nothing_to_one_that_has_started() -> None:
    for saga in STANDS.values():
        assert isinstance(machine.decide(DEFINITION, saga, SagaStarted(), NOON), Stale)
