"""The transition table, row by row: what has no row changes nothing, and no row leads elsewhere."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from contracts.commands import Verdict
from orchestrator.core import machine
from orchestrator.core.definition import SagaDefinition
from orchestrator.core.effects import Refused, Stale, Transition
from orchestrator.core.inputs import (
    CompensationStuck,
    Input,
    OutcomeUnknown,
    SagaStarted,
    StepOverdue,
    WaitElapsed,
)
from orchestrator.core.machine import TABLE, Trigger
from orchestrator.core.state import Saga, Status
from tests.unit.core.courses import (
    JOURNEY,
    REST,
    TICKETS,
    Journey,
    approval,
    booked,
    not_booked,
    of,
    signal,
    step,
)
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
from tests.unit.core.random_courses import BESIDE, about
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
    Trigger.SIGNAL: [signal(yes=True), signal(yes=False), signal("nowhere")],
    Trigger.ELAPSED: [WaitElapsed(wait=name) for name in ("approval", "rest", "nowhere")],
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


def journey(*happened: Input, definition: SagaDefinition = JOURNEY) -> Scenario:
    """A journey of two after all of this."""
    return started(definition, Journey(travellers=("ann", "bob"))).when(*happened)


TICKETED = (booked("seat"), booked("flight"), booked("hotel"), signal())
ONE_OF_TWO = (*TICKETED, not_booked("ticket[1]"), booked("ticket[2]"))
OVER = (*ONE_OF_TWO, WaitElapsed(wait="rest"), booked("tell"))
JUDGED = (booked("ticket[1]"), judge("ticket[1]", Verdict.SETTLED_OUTSIDE))
WAITS_FIRST, WAITS_LAST = of(approval(), step("seat")), of(step("seat"), approval(refuses=None))
RESTS_LAST, ONLY_TICKETS = of(step("seat"), REST), of(TICKETS)

JOURNEYS: dict[str, Scenario] = {
    "beside each other": journey(booked("seat")),
    "one of them booked": journey(booked("seat"), booked("flight")),
    "a no came early": journey(booked("seat"), booked("flight"), signal(yes=False)),
    "in approval": journey(*TICKETED[:-1]),
    "turned beside each other": journey(booked("seat"), booked("flight"), not_booked("hotel")),
    "at the tickets": journey(*TICKETED),
    "one ticket refused": journey(*TICKETED, not_booked("ticket[1]")),
    "at rest": journey(*ONE_OF_TWO),
    "told": journey(*ONE_OF_TWO, WaitElapsed(wait="rest")),
    "over": journey(*OVER),
    "over, and a ticket was there after all": journey(*OVER, booked("ticket[1]")),
    "over, and that ticket is judged": journey(*OVER, *JUDGED),
    "over, and that verdict is dead": journey(*OVER, *JUDGED, died("ticket[1]", COMPENSATING)),
    "waits first": journey(definition=WAITS_FIRST),
    "waits last": journey(booked("seat"), definition=WAITS_LAST),
    "rests last": journey(booked("seat"), definition=RESTS_LAST),
    "one ticket to come": journey(booked("ticket[1]"), definition=ONLY_TICKETS),
}
"""Sagas with a group, waits and a for-each that is the pivot."""


def everything(scenario: Scenario) -> list[Input]:
    """All that can happen to such a saga."""
    pieces = [piece.name for piece in scenario.saga.steps]
    return [*BESIDE, *(each for piece in pieces for each in about(scenario.definition, piece))]


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
        for happened in inputs:
            decision = machine.decide(DEFINITION, saga, happened, NOON)
            assert isinstance(decision, Refused if trigger in BY_PEOPLE else Stale), (trigger, decision)


BY_PEOPLE = (Trigger.CANCEL, Trigger.RETRY, Trigger.RESOLVE, Trigger.SIGNAL)


@pytest.mark.parametrize("name", JOURNEYS)
def test_what_has_no_row_changes_nothing_with_sets_and_waits_either(name: str) -> None:
    scenario = JOURNEYS[name]
    for happened in everything(scenario):
        trigger = machine.classify(scenario.definition, happened)
        if trigger is not None and (scenario.saga.status, trigger) in TABLE:
            continue
        decision = machine.decide(scenario.definition, scenario.saga, happened, NOON)
        assert isinstance(decision, Refused if trigger in BY_PEOPLE else Stale), (happened, decision)


def taken() -> dict[tuple[Status, Trigger], set[Status]]:
    """Where each row was seen to lead, over every saga and every input."""
    seen: dict[tuple[Status, Trigger], set[Status]] = {row: set() for row in TABLE}
    for saga, (trigger, inputs) in product(STANDS.values(), INPUTS.items()):
        for happened in inputs:
            decision = machine.decide(DEFINITION, saga, happened, NOON)
            if isinstance(decision, Transition):
                seen[saga.status, trigger].add(decision.saga.status)
    for scenario in JOURNEYS.values():
        for happened in everything(scenario):
            decision = machine.decide(scenario.definition, scenario.saga, happened, NOON)
            of_it = machine.classify(scenario.definition, happened)
            if isinstance(decision, Transition) and of_it is not None:
                seen[scenario.saga.status, of_it].add(decision.saga.status)
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
    only_ship = replace(DEFINITION, course=(DEFINITION["ship"],))
    for verdict, status in ((Verdict.TOOK_EFFECT, Status.COMPLETED), (Verdict.NO_EFFECT, Status.COMPENSATED)):
        scenario = started(only_ship).when(died("ship"), judge("ship", verdict))
        assert scenario.when(settled("ship", FORWARD, verdict)).saga.status is status


def test_the_start_of_a_saga_means_nothing_to_one_that_has_started() -> None:
    for saga in STANDS.values():
        assert isinstance(machine.decide(DEFINITION, saga, SagaStarted(), NOON), Stale)
