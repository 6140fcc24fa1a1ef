"""Definitions that a deployment adds: a function in any module, named by the environment (S13)."""

from __future__ import annotations

import dataclasses

import pytest

from oms.definitions import registry
from oms.failures import Failure
from oms.settings import load_settings
from orchestrator.core.definition import InvalidDefinition, SagaDefinition, StepPolicy
from orchestrator.sagas.order_fulfillment import NAME, order_fulfillment

HERE = __name__


def second(policy: StepPolicy) -> SagaDefinition:
    return dataclasses.replace(order_fulfillment(policy), version=2)


def third(policy: StepPolicy) -> SagaDefinition:
    return dataclasses.replace(order_fulfillment(policy), version=3, starts_sagas=False)


def unsound(policy: StepPolicy) -> SagaDefinition:
    return dataclasses.replace(order_fulfillment(policy), version=2, steps=())


def test_a_named_version_stands_beside_our_own_and_new_sagas_start_on_it() -> None:
    known = registry(load_settings(saga_definitions=f"{HERE}:second"))

    assert known.known == ((NAME, 1), (NAME, 2))
    assert known.latest(NAME).version == 2


def test_several_are_named_with_commas_and_the_policy_is_that_of_the_settings() -> None:
    known = registry(load_settings(saga_definitions=f"{HERE}:second, {HERE}:third", step_deadline_s=7))

    assert known.latest(NAME).version == 2
    added = known.find(NAME, 3)
    assert added is not None
    assert {step.policy.deadline_s for step in added.steps} == {7}


@pytest.mark.parametrize("name", ["no_such_module:second", f"{HERE}:no_such_function"])
def test_what_is_not_there_fails_the_start_by_its_name(name: str) -> None:
    with pytest.raises(Failure, match=f"OMS_SAGA_DEFINITIONS: {name}"):
        registry(load_settings(saga_definitions=name))


def test_a_definition_that_must_not_run_fails_the_start() -> None:
    with pytest.raises(InvalidDefinition, match="'order_fulfillment' version 2: it has no steps"):
        registry(load_settings(saga_definitions=f"{HERE}:unsound"))
