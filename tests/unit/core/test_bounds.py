"""What one saga may hold is bounded: beyond it an input cannot be decided, which harms that saga alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.core.definition import MAX_PIECES, MAX_RESULTS, ForEach, Group, Stage
from orchestrator.core.moment import DefinitionFault
from orchestrator.core.soundness import validate
from orchestrator.core.state import Saga
from tests.unit.core.courses import Journey, approval, booked, of, signal, step
from tests.unit.core.expectations import accepted, awaits, refuses
from tests.unit.core.scenario import started

PEOPLE = Journey(travellers=tuple(f"t-{number}" for number in range(100)))


def numbered(name: str, count: int) -> ForEach:
    """So many branches."""
    return ForEach(f"each_{name}", lambda *_: list(range(count)), step(name))


def test_a_course_may_have_two_for_eaches_as_long_as_they_find_little() -> None:
    course = of(numbered("a", 90), numbered("b", 90), step("last"))
    validate(course)
    scenario = started(course).when(*(booked(f"a[{number}]") for number in range(1, 91)))
    assert len(scenario.saga.steps) == 181


def test_pieces_beyond_the_bound_are_a_fault_of_the_definition() -> None:
    fixed: list[Stage] = [Group(tuple(step(f"s{at}") for at in range(MAX_PIECES - 150)))]
    course = of(*fixed, numbered("a", 100), numbered("b", 51))
    validate(course)
    scenario = started(course).when(*(booked(f"s{at}") for at in range(MAX_PIECES - 150)))
    scenario.when(*(booked(f"a[{number}]") for number in range(1, 100)))
    with pytest.raises(DefinitionFault, match="each_b: 51 branches"):
        scenario.when(booked("a[100]"))
    scenario.then(awaits("a[100]"))


def test_results_beyond_the_bound_are_a_fault_however_small_the_last_one_is() -> None:
    scenario = started(of(step("s0"), step("s1"), step("s2"))).when(booked("s0"))
    scenario.saga = with_results_of(scenario.saga, MAX_RESULTS - 100)
    with pytest.raises(DefinitionFault, match="more than 100,000 characters"):
        scenario.when(booked("s1", "y" * 200))


def with_results_of(saga: Saga, characters: int) -> Saga:
    """A saga that remembers so much already."""
    first = replace(saga.steps[0], result={"reference": "x" * characters})
    return replace(saga, steps=(first, *saga.steps[1:]))


def test_a_signal_that_is_too_long_is_refused_early_or_not() -> None:
    long = signal(reason="x" * MAX_RESULTS)
    scenario = started(of(step("seat"), approval(), step("guide")))
    scenario.when(long).then(refuses("too_long"), awaits("seat"))
    scenario.when(booked("seat"), long).then(refuses("too_long"), awaits("approval"))
    scenario.when(signal()).then(awaits("guide"))


def test_signals_that_are_kept_for_later_count_like_results() -> None:
    half = "x" * (MAX_RESULTS * 2 // 3)
    scenario = started(of(step("seat"), approval(), approval(name="second")))
    scenario.when(signal(reason=half)).then(accepted)
    scenario.when(signal("second", reason=half)).then(refuses("too_long"))


def test_what_branches_are_about_counts_too() -> None:
    wordy = ForEach("each", lambda journey, _: ["x" * 2000] * len(journey.travellers), step("a"))
    with pytest.raises(DefinitionFault, match="more than 100,000 characters"):
        started(of(step("seat"), wordy), PEOPLE).when(booked("seat"))
