"""What a seed stands for in a world of courses: random definitions, or given ones with stand-ins."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from contracts.routing import PARTICIPANTS
from contracts.samples import sample
from orchestrator.core.definition import SagaDefinition, Wait
from simulation.cast import NEW_POLICY, POLICY, Cast, Edition, skus_in
from simulation.courses.generator import definition_of, job_of, second_version_of, with_policy
from simulation.courses.intentions import SignalPlan, StartPlan
from simulation.courses.trades import Approval
from simulation.plan import (
    API,
    ORDERS_COME_WITHIN_S,
    RATES,
    STORMS,
    Plan,
    batches_of,
    late_commits_of,
    spoils_of,
    storms_of,
)
from simulation.weather import Chance, Fault

COURSES: Final = "courses"
"""The kind of world whose definitions are made from the seed."""

OF_PROVIDERS: Final = frozenset({Fault.ANSWER_LOST, Fault.EFFECT_LATE, Fault.VOID_LIES})
"""Faults of calls to a provider: stand-ins have none."""

NEVER: Final = frozenset({Fault.VOID_LIES})
"""Only the checkers of orders know what nobody may be blamed for when a provider breaks its word."""

LONGEST_WAIT_S: Final = 30.0
"""Longest deadline of a wait here, in seconds; a definition's own may be months."""

EDITED: Final = 0.35
"""The share of seeds in which the functions of the definitions are edited while sagas are under way."""


def plan_of(seed: int) -> Plan:
    """The plan of a seed: one or two random definitions."""
    rng = Chance(seed).stream("courses")
    edition = Edition()
    names = [("course_one", "a"), ("course_two", "b")][: rng.choice((1, 1, 2))]
    first = tuple(definition_of(rng, name, letter, edition) for name, letter in names)
    cast = Cast(COURSES, first, tuple(map(second_version_of, first)), edition=edition)
    starts = tuple(
        _start(rng, first, number, lambda definition, who: job_of(rng, definition, who))
        for number in range(rng.randrange(5, 9))
    )
    plan = _plan(seed, rng, cast, starts)
    if rng.random() >= EDITED:
        return plan
    return replace(plan, edited_at_s=rng.uniform(3, 60), faults=plan.faults | {Fault.DEFINITION_EDITED})


def plan_for(seed: int, definitions: Sequence[SagaDefinition]) -> Plan:
    """The plan of a seed for the versions of one definition; of a single one a second version is made up."""
    rng = Chance(seed).stream("given courses")
    versions = sorted((_hastened(each) for each in definitions), key=lambda each: each.version)
    latest = versions[-1]
    further: SagaDefinition = latest
    if len(versions) == 1:
        course = tuple(with_policy(stage, NEW_POLICY) for stage in latest.course)
        further = replace(latest, version=latest.version + 1, course=course)
    first = tuple(each for each in versions if each is not further)
    stock = {sku: 40 for each in versions for sku in skus_in(each)}
    cast = Cast(latest.name, first, (further,), stock)
    starts = tuple(
        _start(rng, first[-1:], number, lambda definition, who: rng.choice(definition.examples))
        for number in range(rng.randrange(5, 9))
    )
    return _plan(seed, rng, cast, starts)


def _hastened(definition: SagaDefinition) -> SagaDefinition:
    """With the simulation's own patience: what lasts for days would be millions of looks."""
    course = tuple(with_policy(stage, POLICY) for stage in definition.course)
    waits = (
        replace(stage, deadline_s=min(stage.deadline_s, LONGEST_WAIT_S)) if isinstance(stage, Wait) else stage
        for stage in course
    )
    return replace(definition, course=tuple(waits), starts_sagas=True)


def _plan(seed: int, rng: random.Random, cast: Cast, starts: tuple[StartPlan, ...]) -> Plan:
    possible = frozenset(RATES) - (NEVER if _has_providers(cast) else OF_PROVIDERS)
    mood = rng.random()
    eagerness = 0.0 if mood < 0.06 else 1.0 if mood > 0.94 else 0.35
    rates = {
        fault: RATES[fault] * rng.uniform(0.3, 2.0)
        for fault in RATES
        if fault in possible and rng.random() < eagerness
    }
    kinds = [fault for fault in STORMS if rng.random() < eagerness]
    storms = storms_of(rng, kinds)
    replicas = {name: rng.choice((1, 2, 2)) for name in (API, "orchestrator", *cast.participants)}
    strays = 0
    if eagerness == 0.0 and rng.random() < 0.7:
        # Only where nothing overtakes anything is it certain that the compensation comes first.
        strays, replicas = 2, {**replicas, **dict.fromkeys(cast.participants, 1)}
    if eagerness:
        rates |= late_commits_of(Chance(seed).stream("late commits"))
    spoils = spoils_of(Chance(seed).stream("spoilt rows"))
    spoilt = {Fault.ROW_SPOILT} if spoils else set()
    return Plan(
        seed=seed,
        batches=batches_of(seed),
        orders=(),
        replicas=replicas,
        rates=rates,
        storms=tuple(sorted(storms, key=lambda storm: storm.at_s)),
        offers_void=True,
        garbage=rng.choice((0, 0, 0, 2, 5)),
        meddling=rng.choice((0, 0, 3, 8)),
        new_version_at_s=rng.uniform(5, 60) if rng.random() < 0.3 else None,
        stock_changes=0,
        strays=strays,
        is_pruned=rng.random() < 0.2,
        spoils=spoils,
        strangers=0,
        faults=frozenset(rates) | {storm.fault for storm in storms} | spoilt,
        cast=cast,
        starts=starts,
    )


def _has_providers(cast: Cast) -> bool:
    return any(name in PARTICIPANTS for name in cast.participants)


def _start(rng: random.Random, definitions: Sequence[SagaDefinition], number: int, given: Any) -> StartPlan:
    """Callers and their keys are the same for each definition: no key stands in another's way (S24)."""
    round_, which = divmod(number, len(definitions))
    definition = definitions[which]
    owner = f"caller-{round_}"
    other = given(definition, owner) if rng.random() < 0.15 else None
    started = given(definition, owner)
    return StartPlan(
        definition=definition.name,
        given=started,
        owner=owner,
        idempotency_key=f"key-{round_}",
        at_s=rng.uniform(0, ORDERS_COME_WITHIN_S),
        submits_twice=rng.random() < 0.2,
        repeats_after_s=rng.uniform(0, 40) if rng.random() < 0.2 else None,
        other=other if other != started else None,
        cancels_after_s=rng.choice((rng.uniform(0, 0.5), rng.uniform(0, 40)))
        if rng.random() < 0.25
        else None,
        signals=tuple(_signals(rng, definition)),
        fails_for_good=rng.random() < 0.3,
    )


def _signals(rng: random.Random, definition: SagaDefinition) -> Iterator[SignalPlan]:
    """For each wait none, one or several signals, at any time: early, late, again, with another body."""
    for wait in definition.waits.values():
        if wait.signal is None:
            continue
        for _ in range(rng.choice((0, 1, 1, 1, 2))):
            after_s = rng.choice((rng.uniform(0, 2), rng.uniform(0, 15), rng.uniform(0, 60)))
            yield SignalPlan(wait.name, after_s, _body(rng, wait), twice=rng.random() < 0.3)


def _body(rng: random.Random, wait: Wait) -> Mapping[str, Any]:
    assert wait.signal is not None
    if wait.signal is Approval:
        said = Approval(yes=rng.random() < 0.7, by=rng.choice(("anna", "bert")))
        return said.model_dump(mode="json")
    made: Mapping[str, Any] = sample(wait.signal).model_dump(mode="json")
    return made
