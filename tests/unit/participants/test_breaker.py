"""The circuit breaker (P9), driven by hand: time is a number."""

from __future__ import annotations

import pytest

from participants.breaker import Admission, BreakerPolicy, BreakerState, CallResult, CircuitBreaker
from participants.provider_terms import CallUnderWay, ProviderMisuse, ProviderUnavailable, judge

POLICY = BreakerPolicy(
    failure_share=0.5, minimum_calls=4, window_s=10.0, cool_down_s=5.0, probe_patience_s=60.0
)
ANSWERED, FAILED, ABANDONED = CallResult.ANSWERED, CallResult.FAILED, CallResult.ABANDONED


@pytest.fixture
def breaker() -> CircuitBreaker:
    return CircuitBreaker(POLICY)


def call(breaker: CircuitBreaker, result: CallResult, now: float) -> None:
    breaker.record(admitted(breaker, now), result, now)


def admitted(breaker: CircuitBreaker, now: float) -> Admission:
    admission = breaker.admit(now)
    assert admission is not None
    return admission


def opened(breaker: CircuitBreaker, now: float = 0.0) -> CircuitBreaker:
    for _ in range(POLICY.minimum_calls):
        call(breaker, FAILED, now)
    assert breaker.state(now) is BreakerState.OPEN
    return breaker


def test_starts_closed_and_admits_any_number_of_calls_at_once(breaker: CircuitBreaker) -> None:
    assert all(breaker.admit(0.0) for _ in range(100))
    assert breaker.state(0.0) is BreakerState.CLOSED
    assert breaker.next_admission_at(0.0) == 0.0


def test_few_failures_do_not_open_it(breaker: CircuitBreaker) -> None:
    for _ in range(POLICY.minimum_calls - 1):
        call(breaker, FAILED, 0.0)
    assert breaker.state(0.0) is BreakerState.CLOSED


def test_the_share_of_failures_opens_it(breaker: CircuitBreaker) -> None:
    for result in (ANSWERED, ANSWERED, FAILED):
        call(breaker, result, 0.0)
    assert breaker.state(0.0) is BreakerState.CLOSED
    call(breaker, FAILED, 0.0)
    assert breaker.state(0.0) is BreakerState.OPEN


def test_below_the_share_it_stays_closed(breaker: CircuitBreaker) -> None:
    for result in (ANSWERED, ANSWERED, ANSWERED, FAILED, FAILED):
        call(breaker, result, 0.0)
    assert breaker.state(0.0) is BreakerState.CLOSED


def test_failures_older_than_the_window_are_forgotten(breaker: CircuitBreaker) -> None:
    for _ in range(3):
        call(breaker, FAILED, 0.0)
    call(breaker, FAILED, 10.0)
    assert breaker.state(10.0) is BreakerState.CLOSED


def test_failures_spread_over_the_window_count_together(breaker: CircuitBreaker) -> None:
    for now in (0.0, 3.0, 6.0, 9.0):
        call(breaker, FAILED, now)
    assert breaker.state(9.0) is BreakerState.OPEN


def test_the_window_holds_a_bounded_number_of_parts(breaker: CircuitBreaker) -> None:
    for tenth in range(10_000):
        call(breaker, ANSWERED, tenth / 10)
    assert len(breaker._window) <= 11


def test_cancellations_count_neither_way(breaker: CircuitBreaker) -> None:
    for _ in range(100):
        call(breaker, ABANDONED, 0.0)
    for _ in range(POLICY.minimum_calls - 1):
        call(breaker, FAILED, 0.0)
    assert breaker.state(0.0) is BreakerState.CLOSED


def test_open_it_admits_nothing_until_the_cool_down_is_over(breaker: CircuitBreaker) -> None:
    opened(breaker)
    assert breaker.admit(4.9) is None
    assert breaker.next_admission_at(1.0) == 5.0
    assert breaker.state(5.0) is BreakerState.HALF_OPEN
    assert breaker.admit(5.0)


def test_half_open_it_admits_one_probe_at_a_time(breaker: CircuitBreaker) -> None:
    opened(breaker)
    admitted(breaker, 5.0)
    assert breaker.admit(5.1) is None
    assert breaker.state(5.1) is BreakerState.HALF_OPEN


def test_an_answered_probe_closes_it_with_a_clean_slate(breaker: CircuitBreaker) -> None:
    opened(breaker)
    call(breaker, ANSWERED, 5.0)
    assert breaker.state(5.0) is BreakerState.CLOSED
    for _ in range(POLICY.minimum_calls - 1):
        call(breaker, FAILED, 5.0)
    assert breaker.state(5.0) is BreakerState.CLOSED


def test_a_failed_probe_opens_it_for_another_cool_down(breaker: CircuitBreaker) -> None:
    opened(breaker)
    probe = admitted(breaker, 5.0)
    breaker.record(probe, FAILED, 8.0)
    assert breaker.admit(12.9) is None
    assert breaker.admit(13.0)


def test_a_cancelled_probe_makes_room_for_the_next(breaker: CircuitBreaker) -> None:
    opened(breaker)
    call(breaker, ABANDONED, 5.0)
    assert breaker.state(5.0) is BreakerState.HALF_OPEN
    assert breaker.admit(5.0)


def test_a_probe_never_heard_of_counts_as_failed(breaker: CircuitBreaker) -> None:
    opened(breaker)
    lost = admitted(breaker, 5.0)
    assert breaker.next_admission_at(6.0) == 70.0
    assert breaker.state(65.0) is BreakerState.OPEN
    assert breaker.admit(70.0)
    breaker.record(lost, ANSWERED, 70.0)
    assert breaker.state(70.0) is BreakerState.HALF_OPEN


@pytest.mark.parametrize("late", [ANSWERED, FAILED, ABANDONED])
def test_late_results_of_calls_begun_while_closed_change_nothing(
    breaker: CircuitBreaker, late: CallResult
) -> None:
    slow = admitted(breaker, 0.0)
    opened(breaker)
    breaker.record(slow, late, 1.0)
    assert breaker.state(1.0) is BreakerState.OPEN
    admitted(breaker, 5.0)
    breaker.record(slow, late, 5.0)
    assert breaker.state(5.0) is BreakerState.HALF_OPEN
    assert breaker.admit(5.0) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"failure_share": 0.0},
        {"failure_share": 1.1},
        {"minimum_calls": 0},
        {"window_s": 0.0},
        {"cool_down_s": -1.0},
        {"probe_patience_s": 0.0},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        BreakerPolicy(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (None, ANSWERED),
        (ProviderUnavailable(), FAILED),
        (CallUnderWay(), ANSWERED),
        (ProviderMisuse(), ANSWERED),
        (KeyboardInterrupt(), ABANDONED),
        (RuntimeError(), ABANDONED),
    ],
)
def test_only_a_provider_that_does_not_answer_counts_against_it(
    error: BaseException | None, result: CallResult
) -> None:
    assert judge(error) is result
