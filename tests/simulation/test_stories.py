"""The table of stories, told in simulated worlds: in good weather, and in such as changes no ending."""

from __future__ import annotations

from dataclasses import replace

import pytest

from oms.sandbox import CARRIER_TRIGGERS, PAYMENT_TRIGGERS
from oms.sandbox.triggers import NEVER, REFUSED, Behaviour
from simulation.facts import Acted
from simulation.run import Run
from simulation.stories.acts import ReplayUntilDone
from simulation.stories.hands import NotAsTold
from simulation.stories.story import Ending, Flow
from simulation.stories.table import STORIES
from simulation.stories.world import plan_of
from simulation.triggers import FOR_EVER, MOODS, Mood

GOOD_WEATHER = 0


def told(flow: Flow, seed: int) -> Run:
    """The world of a flow in which all of its stories were told."""
    run = Run(plan_of(seed, flow, [story for story in STORIES if story.flow is flow]))
    run.execute()
    assert [str(each) for each in run.violations] == []
    return run


@pytest.mark.parametrize("flow", Flow, ids=lambda flow: flow.name.lower())
def test_every_story_ends_as_written(flow: Flow) -> None:
    run = told(flow, GOOD_WEATHER)
    assert run.world.told == {story.name: story.ending for story in run.plan.stories}


def test_what_is_to_be_replayed_is_replayed() -> None:
    replayed = [
        story.slug for story in STORIES if any(isinstance(act, ReplayUntilDone) for act in story.acts)
    ]
    assert replayed
    for flow in {story.flow for story in STORIES if story.slug in replayed}:
        run = told(flow, GOOD_WEATHER)
        done = {fact.saga_id for _, fact in run.facts if isinstance(fact, Acted) and fact.action == "replay"}
        customers = {saga.input.customer_id for saga_id, saga in run.sagas.items() if saga_id in done}
        assert customers == {story.slug for story in run.plan.stories} & set(replayed)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("flow", Flow, ids=lambda flow: flow.name.lower())
def test_every_story_ends_the_same_where_messages_are_late_and_overtake_each_other(
    flow: Flow, seed: int
) -> None:
    """But for the events: what a person settles, a late copy of its command may answer first."""
    run = told(flow, seed)
    assert {name: without_events(found) for name, found in run.world.told.items()} == {
        story.name: without_events(story.ending) for story in run.plan.stories
    }


def without_events(found: Ending | NotAsTold) -> Ending | NotAsTold:
    if isinstance(found, NotAsTold):
        return found
    returns = tuple(replace(each, events=()) for each in found.returns)
    return replace(found, events=(), returns=returns)


def test_names_and_products_of_stories_are_their_own() -> None:
    names = {story.name for story in STORIES}
    slugs = {story.slug for story in STORIES}
    assert len(names) == len(slugs) == len(STORIES) >= 30


@pytest.mark.parametrize("word", MOODS)
def test_simulated_providers_fail_as_the_sandbox_does(word: str) -> None:
    sandbox = {**PAYMENT_TRIGGERS, **CARRIER_TRIGGERS}[word]
    refused = sandbox.refunds_answer_from_call == REFUSED
    assert wrong_calls(MOODS[word]) == (fails(sandbox), sandbox.silent_calls, refused)


def wrong_calls(mood: Mood) -> tuple[int, int, bool]:
    return NEVER if mood.fails == FOR_EVER else mood.fails, mood.silent, mood.refused


def fails(behaviour: Behaviour) -> int:
    """So many calls of the kind that goes wrong."""
    answers = (
        behaviour.answers_from_call,
        behaviour.refunds_answer_from_call,
        behaviour.captures_answer_from_call,
    )
    return NEVER if NEVER in answers else max(answers) - 1
