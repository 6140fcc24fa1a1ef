"""The growing, jittered delay between copies (S4), as numbers."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core import timers
from orchestrator.core.definition import StepPolicy
from orchestrator.core.state import Saga, Sending
from orchestrator.core.values import replace
from orchestrator.sagas.order_fulfillment import order_fulfillment
from tests.unit.core.happenings import DEFINITION, NOON, POLICY, died_for_good
from tests.unit.core.scenario import awaiting, completed, undoing

COPY = UUID(int=9)
CHANCE = st.floats(min_value=0, max_value=1, exclude_max=True)


def delay_s(copies_before: int, jitter: float, policy: StepPolicy = POLICY) -> float:
    """Seconds between a copy and the next one."""
    saga = asked(awaiting("charge").saga, Sending(attempts=copies_before))
    sent = timers.sent(order_fulfillment(policy), saga, saga.awaited[0], COPY, NOON, jitter, final=False)
    resend_at = sent.awaited[0].sending.resend_at
    assert resend_at is not None
    return (resend_at - NOON) / timedelta(seconds=1)


def asked(saga: Saga, sending: Sending) -> Saga:
    """A saga with other timers of the one piece that it awaits."""
    (awaited,) = saga.awaited
    return replace(saga, awaited=(replace(awaited, sending=sending),))


def test_s4_the_delay_doubles_up_to_the_cap() -> None:
    assert [delay_s(copies, 0.0) for copies in range(6)] == [5, 10, 20, 40, 60, 60]


def test_s4_thousands_of_copies_later_it_is_still_the_cap() -> None:
    assert delay_s(1_000_000, 0.0) == POLICY.resend_cap_s


@given(copies=st.integers(0, 100), jitter=CHANCE)
def test_s4_jitter_takes_up_to_a_quarter_and_adds_nothing(copies: int, jitter: float) -> None:
    whole = delay_s(copies, 0.0)
    assert whole * 0.75 <= delay_s(copies, jitter) <= whole <= POLICY.resend_cap_s


@given(copies=st.integers(0, 3), first=CHANCE, second=CHANCE)
def test_s4_below_the_cap_it_grows_whatever_the_jitter(copies: int, first: float, second: float) -> None:
    assert delay_s(copies, first) < delay_s(copies + 1, second)


def test_a_cap_below_the_first_delay_holds_from_the_start() -> None:
    assert delay_s(0, 0.0, replace_cap(POLICY, 2)) == 2


def replace_cap(policy: StepPolicy, cap_s: float) -> StepPolicy:
    return StepPolicy(policy.deadline_s, policy.grace_s, policy.resend_after_s, cap_s)


def test_the_final_copy_is_remembered() -> None:
    before = awaiting("charge").saga
    saga = timers.sent(DEFINITION, before, before.awaited[0], COPY, NOON, 0.5, final=True)
    assert (saga.awaited[0].sending.final_at, saga.awaited[0].sending.grace_since) == (NOON, None)


def test_nothing_can_be_sent_for_a_saga_that_does_not_await_it() -> None:
    answered = awaiting("charge").saga.awaited[0]
    for saga in (completed().saga, awaiting("ship").saga):
        with pytest.raises(ValueError, match="charge is not awaited"):
            timers.sent(DEFINITION, saga, answered, COPY, NOON, 0.0, final=False)


@given(elapsed_s=st.floats(0, 10_000_000), resend_in_s=st.floats(-10_000, 10_000))
def test_s11_a_look_always_lies_ahead(elapsed_s: float, resend_in_s: float) -> None:
    now = NOON + timedelta(seconds=elapsed_s)
    for saga in (awaiting("charge").saga, awaiting("ship").saga, undoing("charge").saga):
        again = asked(saga, Sending(3, COPY, now + timedelta(seconds=resend_in_s)))
        due = timers.due_at(DEFINITION, again, now)
        assert due is not None
        assert now < due <= now + timedelta(seconds=10_000)


def looked_at_next(saga: Saga, in_s: float) -> float:
    """Seconds until the look, after a transition that finds one standing in so many seconds."""
    due = timers.moved_lazily(DEFINITION, saga, NOON + timedelta(seconds=in_s), NOON)
    assert due is not None
    return (due - NOON) / timedelta(seconds=1)


def test_s11_a_look_that_stands_is_left_unless_it_is_near_and_would_find_nothing() -> None:
    saga = asked(awaiting("charge").saga, Sending(1, COPY, NOON + timedelta(seconds=40)))
    assert [looked_at_next(saga, in_s) for in_s in (-5, 0, 9, 10, 39, 41)] == [40, 40, 40, 10, 39, 40]


@given(stands_in_s=st.floats(-100, 100), resend_in_s=st.floats(-100, 0))
def test_s4_what_can_be_done_already_is_never_put_off(stands_in_s: float, resend_in_s: float) -> None:
    saga = asked(awaiting("charge").saga, Sending(1, COPY, NOON + timedelta(seconds=resend_in_s)))
    assert looked_at_next(saga, stands_in_s) <= max(stands_in_s, 0) + 1e-6


@given(stands_in_s=st.floats(-100, 100), resend_in_s=st.floats(-100, 100))
def test_s11_a_look_is_never_later_than_it_is_wanted(stands_in_s: float, resend_in_s: float) -> None:
    saga = asked(awaiting("charge").saga, Sending(1, COPY, NOON + timedelta(seconds=resend_in_s)))
    wanted = timers.due_at(DEFINITION, saga, NOON)
    assert wanted is not None
    assert looked_at_next(saga, stands_in_s) <= (wanted - NOON) / timedelta(seconds=1)


def test_copies_are_counted_by_what_they_are_for() -> None:
    held = awaiting("ship").when(died_for_good("ship")).saga
    assert keys(held) == ["ship"]
    assert keys(undoing("charge").saga) == ["charge:compensating"]


def keys(saga: Saga) -> list[str]:
    sent = timers.sent(DEFINITION, replace(saga, attempts={}), saga.awaited[0], COPY, NOON, 0.0, final=False)
    return list(sent.attempts)
