"""What a provider's answers mean for a row that may have changed meanwhile (P6, P10)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import pytest

from contracts.commands import Command
from messaging.errors import PermanentFailure, TransientFailure
from participants.commands import Received, Works
from participants.fence import State
from participants.kit.errands import StepAtProvider
from participants.ledger import LedgerRow
from participants.payment.handlers import payment
from participants.provider_decisions import Decisions
from participants.provider_plan import (
    Ask,
    Declined,
    Finding,
    NotFound,
    Plan,
    Planner,
    Question,
    Took,
)
from participants.provider_terms import ProviderMisuse, ProviderTraits, ProviderUnavailable, Voided
from tests.support.participants import NOW, Case, delivered, new_id
from tests.support.providers import Gateway

STEP = payment.declared("ChargePayment")
WORKS: Final = Works((STEP.work,))
TRAITS: Final = ProviderTraits(key_lifetime_s=3600, settling_time_s=120)
PLANNER: Final = Planner(StepAtProvider(STEP, Gateway(TRAITS)), new_id, longest_call_s=10)
PROVEN: Final = NOW + timedelta(seconds=2 * 10 + 120)
NO_ANSWER: Final = ProviderUnavailable("503")


DECISIONS: Final = Decisions([PLANNER.external], new_id, longest_call_s=10)


def received(command: Command) -> Received:
    return WORKS.decode(delivered(command))


class Work:
    """One case's charge, step by step."""

    def __init__(self) -> None:
        self.case = Case()
        self.charge = received(self.case.charge(100))
        self.refund = received(self.case.refund())
        self.row: LedgerRow | None = None

    def start(self, command: Received, now: datetime = NOW) -> Plan:
        plan = PLANNER.start(command, self.row, now)
        self.row = plan.row or self.row
        return plan

    def finish(
        self,
        command: Received,
        plan: Plan,
        asked_of: LedgerRow,
        result: Finding | Exception,
        now: datetime = NOW,
        asked_at: datetime = NOW,
    ) -> Plan:
        assert plan.ask is not None
        ended = PLANNER.finish(command, Question(plan.ask, asked_of, asked_at), result, self.row, now)
        self.row = ended.row or self.row
        return ended

    @property
    def known(self) -> LedgerRow:
        assert self.row is not None
        return self.row

    @property
    def state(self) -> State:
        return self.known.state


def types(plan: Plan) -> list[str]:
    return [answer.type for answer in plan.answers]


def test_p6_the_intent_comes_before_the_call_and_the_answer_after_it() -> None:
    work = Work()
    plan = work.start(work.charge)
    assert (plan.ask, plan.answers, work.state) == (Ask.ACT, (), State.INTENT)
    assert work.known.request == {"payment_method": "pm_card_visa"}
    ended = work.finish(work.charge, plan, work.known, Took("ch_1"))
    assert (types(ended), work.state) == (["PaymentSuccessfulEvent"], State.DONE)
    assert not work.known.request


@pytest.mark.parametrize("error", [NO_ANSWER, TransientFailure("held up"), KeyError("a bug")])
def test_p6_no_answer_leaves_the_intent_as_it_is(error: Exception) -> None:
    work = Work()
    plan = work.start(work.charge)
    before = work.known
    ended = work.finish(work.charge, plan, before, error)
    assert (ended.failure, ended.row, work.known) == (error, None, before)


def test_p8_a_request_that_can_never_succeed_fails_for_good() -> None:
    work = Work()
    ended = work.finish(work.charge, work.start(work.charge), work.known, ProviderMisuse("400"))
    assert isinstance(ended.failure, PermanentFailure)
    assert work.state is State.INTENT


def test_p6_an_answer_that_somebody_else_wrote_meanwhile_is_repeated() -> None:
    work = Work()
    plan = work.start(work.charge)
    asked_of = work.known
    first = work.finish(work.charge, plan, asked_of, Took("ch_1"))
    for result in (Took("ch_1"), NO_ANSWER):
        again = work.finish(work.charge, plan, asked_of, result)
        assert (again.answers, again.failure, again.row) == (first.answers, None, None)


def test_p6_a_late_effect_is_known_to_the_compensation_that_came_meanwhile() -> None:
    work = Work()
    charging = work.start(work.charge)
    intent = work.known
    settling = work.start(work.refund)
    assert (settling.ask, work.state) == (Ask.CLOSE, State.UNDOING)
    undoing = work.known
    late = work.finish(work.charge, charging, intent, Took("ch_1"))
    assert (types(late), work.state) == (["PaymentSuccessfulEvent"], State.REVERSING)
    closed = work.finish(work.refund, settling, undoing, Took("ch_1"))
    assert (closed.ask, closed.answers) == (Ask.REVERSE, ())
    ended = work.finish(work.refund, closed, work.known, Took("re_1"))
    assert (types(ended), work.state) == (["PaymentRefundedEvent"], State.UNDONE)


def test_s5_an_effect_behind_a_tombstone_comes_to_light() -> None:
    """The provider had confirmed that nothing would happen, and it happened: the ledger says so."""
    work = Work()
    charging = work.start(work.charge)
    intent = work.known
    settling = work.start(work.refund)
    work.finish(work.refund, settling, work.known, Voided())
    assert work.state is State.TOMBSTONE
    late = work.finish(work.charge, charging, intent, Took("ch_1"))
    assert (types(late), work.state) == (["PaymentSuccessfulEvent"], State.DONE)
    assert work.start(work.refund).ask is Ask.REVERSE


@pytest.mark.parametrize("result", [Declined("declined", ""), NO_ANSWER])
def test_p5_what_had_no_effect_is_refused_after_its_compensation(result: Finding | Exception) -> None:
    work = Work()
    charging = work.start(work.charge)
    intent = work.known
    settling = work.start(work.refund)
    work.finish(work.refund, settling, work.known, Voided())
    assert types(work.finish(work.charge, charging, intent, result)) == ["StepRefused"]


@pytest.mark.parametrize("result", [Declined("declined", ""), Voided()])
def test_p4_what_is_settled_without_effect_is_buried(result: Finding) -> None:
    work = Work()
    work.start(work.charge)
    settling = work.start(work.refund)
    ended = work.finish(work.refund, settling, work.known, result)
    assert (work.state, b'"effect":"nothing"' in ended.answers[0].body) == (State.TOMBSTONE, True)
    assert work.known.request is None


def test_p6_an_effect_found_while_settling_is_told_and_reversed() -> None:
    work = Work()
    work.start(work.charge)
    settling = work.start(work.refund)
    found = work.finish(work.refund, settling, work.known, Took("ch_1"))
    assert (types(found), found.ask, work.state) == (
        ["PaymentSuccessfulEvent"],
        Ask.REVERSE,
        State.REVERSING,
    )
    assert found.unasked is not None
    assert found.unasked.undo_intent_at is None  # P9: no call, no intent of one


def test_p6_an_old_key_is_never_called() -> None:
    work = Work()
    work.start(work.charge)
    later = NOW + timedelta(seconds=3600 - 2 * 10)
    assert work.start(work.charge, later - timedelta(seconds=1)).ask is Ask.ACT
    assert work.start(work.charge, later).ask is Ask.RECALL
    assert work.start(work.refund, later).ask is Ask.RECALL


def test_p10_not_found_is_proof_only_late_enough_and_when_nobody_called_since() -> None:
    work = Work()
    work.start(work.charge)
    intent = work.known
    question = Question(Ask.RECALL, intent, PROVEN)
    assert PLANNER.proves_nothing_happened(question, NotFound(), intent)
    early = replace(question, asked_at=PROVEN - timedelta(microseconds=1))
    assert not PLANNER.proves_nothing_happened(early, NotFound(), intent)
    called_since = replace(intent, called_at=NOW + timedelta(seconds=1))
    assert not PLANNER.proves_nothing_happened(question, NotFound(), called_since)
    assert PLANNER.proves_nothing_happened(early, Voided(), called_since)
    assert not PLANNER.proves_nothing_happened(question, Took("ch_1"), intent)


def test_p6_a_forgotten_key_without_effect_begins_anew() -> None:
    work = Work()
    work.start(work.charge)
    much_later = NOW + timedelta(days=2)
    looked_up = work.start(work.charge, much_later)
    anew = work.finish(work.charge, looked_up, work.known, NotFound(), much_later, much_later)
    assert (anew.ask, work.known.intent_at) == (Ask.ACT, much_later)
    assert anew.unasked is None


def test_p6_a_lookup_without_proof_waits() -> None:
    work = Work()
    work.start(work.charge)
    old = replace(work.known, intent_at=NOW - timedelta(days=2))
    work.row = old
    looked_up = work.start(work.charge)
    waits = work.finish(work.charge, looked_up, old, NotFound())
    assert isinstance(waits.failure, TransientFailure)


def test_p3_the_refund_is_what_the_ledger_says() -> None:
    work = Work()
    work.finish(work.charge, work.start(work.charge), work.known, Took("ch_1"))
    undoing = work.start(work.refund)
    ended = work.finish(work.refund, undoing, work.known, Took("re_1"))
    assert b'"amount":100' in ended.answers[0].body
    assert work.start(work.refund).answers == ended.answers
    assert types(work.start(work.charge)) == ["StepRefused"]


def test_what_costs_nothing_is_done_and_undone_without_a_question() -> None:
    """P6: so no circuit breaker hears of it either."""
    case = Case()
    charge, refund = received(case.charge(0)), received(case.refund())
    done = DECISIONS.start(charge, None, None, NOW)
    assert (done.ask, types(done)) == (None, ["PaymentSuccessfulEvent"])
    undone = DECISIONS.start(refund, done.row, None, NOW)
    assert (undone.ask, types(undone)) == (None, ["PaymentRefundedEvent"])
    assert undone.row is not None
    assert (undone.row.state, undone.row.details["reversal_reference"]) == (State.UNDONE, "nothing")


@pytest.mark.parametrize("days", [0, 2])
def test_an_intent_of_an_earlier_release_that_costs_nothing_is_settled_without_a_question(days: int) -> None:
    """It may have been asked for and refused: its copy and its compensation end it, however old it is."""
    case, later = Case(), NOW + timedelta(days=days)
    charge, refund = received(case.charge(0)), received(case.refund())
    intent = PLANNER.start(charge, None, NOW).row
    again = DECISIONS.start(charge, intent, None, later)
    assert (again.ask, types(again)) == (None, ["PaymentSuccessfulEvent"])
    undone = DECISIONS.start(refund, intent, None, later)
    assert undone.row is not None
    assert (undone.ask, undone.row.state) == (None, State.UNDONE)
    assert types(undone) == ["PaymentSuccessfulEvent", "PaymentRefundedEvent"]
