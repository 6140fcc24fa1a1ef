"""S20: a saga awaits a set of pieces of work, and what is about one of them disturbs no other."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from contracts.commands import Verdict
from orchestrator.core.asking import awaited_command
from orchestrator.core.definition import Group, StepPolicy
from orchestrator.core.inputs import (
    CommandDeadLettered,
    CompensationStuck,
    OutcomeReceived,
    OutcomeUnknown,
    RetryRequested,
    StepOverdue,
)
from orchestrator.core.state import IncidentKind
from orchestrator.core.timers import Resend, StayAsItIs
from tests.unit.core.courses import GROUP, JOURNEY, Book, booked, not_booked, of, signal, step
from tests.unit.core.expectations import (
    accepted,
    asked,
    awaits,
    closes_dead_letters,
    may,
    no_incident,
    opens,
    order_is,
    refuses,
    stale,
    undoes_exactly,
)
from tests.unit.core.happenings import (
    COMPENSATING,
    FORWARD,
    POLICY,
    SOMEBODY,
    died,
    died_for_good,
    judge,
    not_settled,
    refused,
    retry,
    settled,
)
from tests.unit.core.scenario import Scenario, started

TO_THE_TICKETS = (booked("seat"), booked("flight"), booked("hotel"), signal())


def side_by_side() -> Scenario:
    """A flight and a hotel are asked for, and awaited."""
    return started(JOURNEY).when(booked("seat"))


def at_the_tickets() -> Scenario:
    """Three tickets are asked for; they are what cannot be undone."""
    return started(JOURNEY).when(*TO_THE_TICKETS)


# -- asking and being answered ----------------------------------------------------------------------------


def test_the_steps_of_a_group_are_asked_for_at_once() -> None:
    side_by_side().then(asked("flight", "hotel"), awaits("flight", "hotel"), order_is("planned"))


def test_the_course_goes_on_when_all_have_succeeded_and_not_before() -> None:
    scenario = side_by_side().when(booked("hotel")).then(accepted, asked(), awaits("flight"))
    scenario.then(order_is("planned")).when(booked("flight")).then(awaits("approval"))


@pytest.mark.parametrize("order", [("flight", "hotel"), ("hotel", "flight")])
def test_the_answers_may_come_in_any_order(order: tuple[str, str]) -> None:
    side_by_side().when(*(booked(piece) for piece in order)).then(awaits("approval"), no_incident)


def test_each_piece_has_its_own_copies_and_deadline() -> None:
    scenario = side_by_side()
    flight, hotel = scenario.awaited("flight"), scenario.awaited("hotel")
    assert flight.sending.message_id != hotel.sending.message_id
    assert scenario.saga.attempts == {"seat": 1, "flight": 1, "hotel": 1}


def test_s1_an_answer_to_a_piece_that_has_answered_is_stale_while_others_are_awaited() -> None:
    scenario = side_by_side().when(booked("flight"), booked("flight")).then(stale, awaits("hotel"))
    scenario.when(not_booked("flight")).then(stale, awaits("hotel"))


def test_s1_a_branch_that_there_is_not_answers_nothing() -> None:
    scenario = at_the_tickets()
    for name in ("ticket[4]", "ticket[0]", "ticket", "ticket[]", "seat[1]", "ticket[1][1]"):
        scenario.when(_raw(name)).then(stale, awaits("ticket[1]", "ticket[2]", "ticket[3]"))


def _raw(name: str) -> OutcomeReceived:
    return replace(booked("ticket[1]"), step=name)


# -- trouble of one piece ---------------------------------------------------------------------------------


def test_a_dead_letter_of_one_piece_is_an_incident_of_that_piece_alone() -> None:
    scenario = side_by_side()
    hotel = scenario.awaited("hotel")
    scenario.when(died_for_good("flight")).then(opens(IncidentKind.DEAD_LETTER, "permanent"))
    assert scenario.incident.step == "flight"
    assert scenario.awaited("flight").held
    assert scenario.awaited("hotel") == hotel


def test_while_one_piece_is_held_the_others_are_sent_again_and_given_up() -> None:
    scenario = side_by_side().when(died_for_good("flight")).until_due().looked_at()
    assert scenario.findings == {"flight": StayAsItIs(), "hotel": Resend(final=False)}
    scenario.after(POLICY.deadline_s).looked_at().looked_at().after(POLICY.grace_s).looked_at()
    assert scenario.findings["hotel"] == OutcomeUnknown("hotel")
    scenario.then(undoes_exactly("flight", "hotel"))


def test_an_answer_to_a_held_piece_closes_its_incident_and_its_dead_letters() -> None:
    scenario = side_by_side().when(died_for_good("flight"), died("hotel"))
    scenario.when(booked("flight")).then(closes_dead_letters("flight"), awaits("hotel"))
    assert scenario.incident.step == "hotel"


def test_a_retry_of_one_piece_sends_that_piece_alone() -> None:
    scenario = side_by_side().when(died_for_good("flight"), died_for_good("hotel")).after(100)
    scenario.when(RetryRequested(SOMEBODY, "hotel")).then(accepted, asked("hotel"))
    assert scenario.awaited("flight").held
    assert not scenario.awaited("hotel").held
    assert scenario.awaited("hotel").since == scenario.now
    assert scenario.incident.step == "flight"


def test_a_retry_of_no_piece_in_particular_sends_all() -> None:
    scenario = side_by_side().when(died_for_good("flight")).when(retry())
    scenario.then(asked("flight", "hotel"), no_incident)


def test_a_retry_of_what_is_not_awaited_is_refused() -> None:
    scenario = side_by_side().when(booked("flight"))
    for piece in ("flight", "seat", "nowhere"):
        scenario.when(RetryRequested(SOMEBODY, piece)).then(refuses("not_allowed"))


def test_each_overdue_branch_has_its_own_incident() -> None:
    scenario = at_the_tickets().when(booked("ticket[2]")).after(POLICY.deadline_s).looked_at()
    assert scenario.findings == {
        "ticket[1]": StepOverdue("ticket[1]"),
        "ticket[3]": StepOverdue("ticket[3]"),
    }
    assert [each.step for each in scenario.saga.incidents] == ["ticket[1]", "ticket[3]"]
    scenario.when(booked("ticket[1]"))
    assert scenario.incident.step == "ticket[3]"


def test_each_stuck_compensation_has_its_own_incident() -> None:
    scenario = started(of(GROUP, step("more"))).when(booked("flight"), booked("hotel"), not_booked("more"))
    scenario.when(CompensationStuck("hotel")).then(opens(IncidentKind.COMPENSATION_STUCK, "hotel"))
    scenario.when(CompensationStuck("hotel")).then(stale)
    scenario.when(CompensationStuck("flight")).then(accepted)
    assert [each.step for each in scenario.saga.incidents] == ["hotel", "flight"]


def test_p5_one_refused_branch_is_an_incident_and_the_others_go_on() -> None:
    scenario = at_the_tickets().when(refused("ticket[2]"), booked("ticket[1]"), booked("ticket[3]"))
    scenario.then(awaits("ticket[2]"), opens(IncidentKind.STEP_REFUSED))


@pytest.mark.parametrize("piece", ["approval", "rest", "nowhere", "ticket[7]"])
def test_what_is_no_command_neither_dies_nor_is_overdue(piece: str) -> None:
    scenario = started(JOURNEY).when(*TO_THE_TICKETS[:-1]).then(awaits("approval"))
    for happened in (
        CommandDeadLettered(piece, scenario.waiting.direction, permanent=True, error="?"),
        OutcomeUnknown(piece),
        StepOverdue(piece),
        CompensationStuck(piece),
    ):
        scenario.when(happened).then(stale, awaits("approval"), no_incident)


# -- verdicts on one piece --------------------------------------------------------------------------------


def test_s19_a_verdict_on_one_branch_settles_that_branch_alone() -> None:
    scenario = at_the_tickets().when(died("ticket[1]"), died("ticket[2]")).then(may("retry", "resolve"))
    scenario.when(judge("ticket[2]", Verdict.TOOK_EFFECT, "t-2")).then(asked("ticket[2]"))
    scenario.when(settled("ticket[2]", FORWARD, Verdict.TOOK_EFFECT, reference="t-2"))
    scenario.then(awaits("ticket[1]", "ticket[3]"))
    assert scenario.saga.step("ticket[2]").result == {"reference": "t-2"}
    assert scenario.incident.step == "ticket[1]"


def test_s19_a_branch_that_is_not_stuck_cannot_be_judged_because_another_is() -> None:
    scenario = at_the_tickets().when(died("ticket[1]"))
    scenario.when(judge("ticket[2]", Verdict.NO_EFFECT)).then(refuses("not_stuck"))


def test_s19_two_verdicts_may_be_on_their_way_at_once() -> None:
    scenario = at_the_tickets().when(died("ticket[1]"), died("ticket[2]"))
    scenario.when(judge("ticket[1]", Verdict.NO_EFFECT), judge("ticket[2]", Verdict.TOOK_EFFECT))
    scenario.when(settled("ticket[1]", FORWARD, Verdict.TOOK_EFFECT)).then(stale)
    scenario.when(not_settled("ticket[1]", FORWARD, Verdict.NO_EFFECT, "no proof"))
    scenario.then(opens(IncidentKind.VERDICT_REFUSED, "no proof"))
    assert scenario.awaited("ticket[2]").settling is not None
    scenario.when(settled("ticket[2]", FORWARD, Verdict.TOOK_EFFECT)).then(awaits("ticket[1]", "ticket[3]"))


def test_s19_a_stuck_compensation_beside_others_is_judged_alone() -> None:
    scenario = started(of(GROUP, step("more"))).when(booked("flight"), booked("hotel"), not_booked("more"))
    scenario.when(died("flight", COMPENSATING), judge("flight", Verdict.SETTLED_OUTSIDE))
    scenario.when(settled("flight", COMPENSATING, Verdict.SETTLED_OUTSIDE)).then(undoes_exactly("hotel"))


# -- when to look -----------------------------------------------------------------------------------------


def test_s11_a_saga_is_due_when_the_earliest_of_its_pieces_is() -> None:
    quick = step("quick", policy=StepPolicy(resend_after_s=2))
    slow = step("slow", policy=StepPolicy(resend_after_s=50))
    scenario = started(of(Group((slow, quick))))
    assert scenario.saga.due_at == scenario.now + timedelta(seconds=2)
    scenario.when(booked("quick"))
    assert scenario.saga.due_at == scenario.now + timedelta(seconds=50)


def test_s11_what_is_held_asks_for_no_look_and_keeps_none_from_the_others() -> None:
    scenario = side_by_side().when(died_for_good("flight"))
    assert scenario.saga.due_at == scenario.now + timedelta(seconds=POLICY.resend_after_s)
    scenario.when(died_for_good("hotel"))
    assert scenario.saga.due_at is None


def test_s4_pieces_are_sent_again_each_by_its_own_clock() -> None:
    scenario = side_by_side().after(4).when(RetryRequested(SOMEBODY, "hotel"))
    scenario.until_due().looked_at()
    assert scenario.findings == {"flight": Resend(final=False), "hotel": StayAsItIs()}
    assert scenario.saga.attempts == {"seat": 1, "flight": 2, "hotel": 2}


def test_s4_one_copy_in_the_outbox_does_not_keep_the_others_back() -> None:
    scenario = side_by_side().after(POLICY.resend_after_s)
    scenario.looked_at(left_behind="flight")
    assert scenario.findings == {"flight": StayAsItIs(), "hotel": Resend(final=False)}


# -- what a command is made of ----------------------------------------------------------------------------


def test_p2_a_command_sent_again_after_a_sibling_has_answered_is_the_same_to_the_byte() -> None:
    scenario = at_the_tickets()
    first = {command.step: command.model_dump_json() for command in scenario.commands}
    scenario.when(booked("ticket[3]"), not_booked("ticket[1]"), retry()).then(asked("ticket[2]"))
    assert scenario.command.model_dump_json() == first["ticket[2]"]


def books(scenario: Scenario) -> list[Book]:
    """What the agency was asked last."""
    return [command for command in scenario.commands if isinstance(command, Book)]


def test_results_given_to_a_command_are_those_of_earlier_stages() -> None:
    flight, hotel = books(side_by_side())
    assert flight.seen == hotel.seen == {"seat": {"reference": "r-seat"}}
    ticket = books(at_the_tickets())[0]
    assert set(ticket.seen) == {"seat", "flight", "hotel", "approval"}


def test_each_branch_is_told_its_own_item() -> None:
    assert [(each.step, each.item) for each in books(at_the_tickets())] == [
        ("ticket[1]", "ann"),
        ("ticket[2]", "bob"),
        ("ticket[3]", "cy"),
    ]


def test_a_look_builds_the_command_of_a_branch_as_it_was_first_sent() -> None:
    scenario = at_the_tickets()
    for command in scenario.commands:
        awaited = scenario.awaited(command.step)
        assert awaited_command(JOURNEY, scenario.saga, awaited).command == command
