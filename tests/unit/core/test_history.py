"""S15: the history is the saga. Folding it through the machine gives the state again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from contracts.commands import Verdict
from orchestrator.core.inputs import Input, OutcomeUnknown, SagaStarted, StepOverdue
from orchestrator.core.machine import fold
from orchestrator.core.state import Saga
from tests.unit.core.expectations import accepted, stale
from tests.unit.core.happenings import (
    COMPENSATING,
    DEFINITION,
    FORWARD,
    NOON,
    ORDER,
    ORDER_ID,
    SAGA_ID,
    cancel,
    died,
    died_for_good,
    judge,
    paid,
    refunded,
    released,
    reserved,
    retry,
    settled,
)
from tests.unit.core.laws import replayed, without_timers
from tests.unit.core.scenario import Scenario, awaiting, cancelled, completed, rejected, started, undoing


def judged_and_orphaned() -> Scenario:
    """A saga with a bit of everything in its history."""
    scenario = awaiting("charge").after(3).when(died("charge"), retry(), died_for_good("charge"))
    scenario.after(4).when(cancel()).after(5).when(died("charge", COMPENSATING))
    scenario.when(judge("charge", Verdict.NO_EFFECT))
    scenario.after(6).when(settled("charge", COMPENSATING, Verdict.NO_EFFECT), paid(), released())
    return scenario


@pytest.mark.parametrize("lived", [started, completed, rejected, cancelled, judged_and_orphaned])
def test_folding_the_history_reproduces_the_saga(lived: Callable[[], Scenario]) -> None:
    scenario = lived()
    again = replayed(DEFINITION, scenario.saga, scenario.history)
    assert without_timers(again) == without_timers(scenario.saga)
    assert again.version == len(scenario.history) == scenario.saga.version


def test_re_sends_and_looks_write_no_history() -> None:
    scenario = undoing("charge")
    entries = len(scenario.history)
    for _ in range(2):
        scenario.until_due().looked_at()
    assert len(scenario.history) == entries
    again = replayed(DEFINITION, scenario.saga, scenario.history)
    assert without_timers(again) == without_timers(scenario.saga)


def test_what_time_tells_is_in_the_history_as_an_input_of_its_own() -> None:
    scenario = awaiting("charge").after(1).when(OutcomeUnknown("charge"))
    assert scenario.history[-1] == (scenario.now, OutcomeUnknown("charge"))
    scenario = awaiting("ship").when(StepOverdue("ship"))
    assert scenario.history[-1] == (scenario.now, StepOverdue("ship"))


def test_every_accepted_input_is_one_version_and_stale_ones_are_none() -> None:
    scenario = started().when(reserved()).then(accepted)
    assert scenario.saga.version == 2
    scenario.when(reserved(), refunded()).then(stale)
    assert scenario.saga.version == 2


def test_times_come_from_the_history_alone() -> None:
    scenario = started().after(5).when(reserved()).after(7).when(paid())
    again = replayed(DEFINITION, scenario.saga, scenario.history)
    assert (again.created_at, again.updated_at) == (NOON, NOON + timedelta(seconds=12))


def folded(*inputs: Input) -> Saga:
    return fold(DEFINITION, SAGA_ID, ORDER_ID, ORDER, [(NOON, happened) for happened in inputs])


def test_a_history_that_does_not_begin_at_the_beginning_is_refused() -> None:
    with pytest.raises(ValueError, match="begins with SagaStarted"):
        folded(reserved())
    with pytest.raises(ValueError, match="begins with SagaStarted"):
        folded()


def test_a_history_with_an_input_that_was_never_accepted_is_refused() -> None:
    with pytest.raises(ValueError, match=r"entry 3 \(OutcomeReceived\) is not accepted"):
        folded(SagaStarted(), reserved(), reserved())


def test_a_fold_stands_where_its_entries_end() -> None:
    assert folded(SagaStarted(), reserved()).awaits("charge", FORWARD)
