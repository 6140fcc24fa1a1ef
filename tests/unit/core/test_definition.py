"""Saga definitions: every complaint of the validator, and the registry of versions (S13)."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from contracts.commands import RefundPayment
from contracts.events import PaymentDeclinedEvent, PaymentRefundedEvent
from contracts.orders import Order
from orchestrator.core.definition import Compensation, SagaDefinition, Stage, Step, StepPolicy, no_arguments
from orchestrator.core.registry import Registry
from orchestrator.core.soundness import InvalidDefinition, validate
from orchestrator.sagas.order_fulfillment import OrderStatus, order_fulfillment
from tests.unit.core.expectations import refuses
from tests.unit.core.happenings import DEFINITION, ORDER, POLICY, cancel, reserved
from tests.unit.core.scenario import started

RESERVE, CHARGE, SHIP, COMMIT = DEFINITION.steps


def but(step: Step, **changes: Any) -> Step:
    """A step of the real saga with something changed."""
    return replace(step, **changes)


def of(*course: Stage, **changes: Any) -> SagaDefinition:
    """A definition of these stages, about orders."""
    given: dict[str, Any] = {"name": "test_saga", "version": 1, "input": Order, "examples": (ORDER,)}
    return SagaDefinition(course=course, **{**given, **changes})


def test_the_order_fulfilment_saga_is_sound() -> None:
    validate(DEFINITION)


REFUND = Compensation(RefundPayment, PaymentRefundedEvent)

COMPLAINTS: list[tuple[SagaDefinition, str]] = [
    (of(), "it has no steps"),
    (of(RESERVE, but(CHARGE, name="reserve")), "the name 'reserve' is there more than once"),
    (of(but(SHIP, name="Ship it")), "'Ship it': a name is a small letter"),
    (of(SHIP, but(SHIP, name="ship_again")), "it has more than one pivot"),
    (of(SHIP, CHARGE), "compensatable step 'charge' comes after 'ship', which cannot be undone"),
    (of(COMMIT, CHARGE), "compensatable step 'charge' comes after 'commit', which cannot be undone"),
    (of(COMMIT, SHIP), "pivot 'ship' comes after 'commit', which cannot be undone"),
    (of(but(CHARGE, compensation=None)), "step 'charge': it is compensatable but has no compensation"),
    (of(but(SHIP, compensation=REFUND)), "step 'ship': it is pivot but has a compensation"),
    (of(but(COMMIT, compensation=REFUND)), "step 'commit': it is retriable but has a compensation"),
    (of(but(COMMIT, rejection=PaymentDeclinedEvent)), "step 'commit': it is retriable but can be rejected"),
    (
        of(but(CHARGE, milestone=OrderStatus.COMPLETED)),
        "step 'charge': its milestone completed is an end, not a way station",
    ),
    (
        of(but(CHARGE, keeps=("iban",))),
        "step 'charge': it keeps 'iban', which PaymentSuccessfulEvent does not have",
    ),
]


@pytest.mark.parametrize(("definition", "complaint"), COMPLAINTS, ids=[words for _, words in COMPLAINTS])
def test_a_bad_definition_is_refused_with_what_is_wrong(definition: SagaDefinition, complaint: str) -> None:
    with pytest.raises(InvalidDefinition) as refused:
        validate(definition)
    assert str(refused.value).startswith("saga definition 'test_saga' version 1: ")
    assert complaint in str(refused.value)


@pytest.mark.parametrize("name", [each.name for each in fields(StepPolicy)])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), 10**9])
def test_a_policy_has_times_that_a_clock_can_add(name: str, value: Any) -> None:
    policy = StepPolicy(**{name: value})
    with pytest.raises(InvalidDefinition, match=f"step 'charge': {name} must be above 0 and at most"):
        validate(of(but(CHARGE, policy=policy)))


def test_all_that_is_wrong_is_said_at_once() -> None:
    worst = of(but(COMMIT, rejection=PaymentDeclinedEvent), but(CHARGE, compensation=None))
    with pytest.raises(InvalidDefinition, match=r"comes after.*can be rejected.*no compensation"):
        validate(worst)


@pytest.mark.parametrize("steps", [(RESERVE, CHARGE), (SHIP,), (COMMIT,), (RESERVE, COMMIT), (SHIP, COMMIT)])
def test_a_saga_may_lack_a_pivot_or_a_way_back(steps: tuple[Step, ...]) -> None:
    validate(of(*steps))


def test_the_point_of_no_return_is_the_first_step_that_cannot_be_undone() -> None:
    assert DEFINITION.point_of_no_return == 2
    assert of(RESERVE, COMMIT).point_of_no_return == 1
    assert of(RESERVE, CHARGE).point_of_no_return == 2


def test_s9_without_a_pivot_a_retriable_step_is_the_point_of_no_return() -> None:
    scenario = started(of(RESERVE, COMMIT))
    scenario.when(reserved(), cancel()).then(refuses("too_late"))


def test_steps_are_found_by_name() -> None:
    assert "charge" in DEFINITION
    assert "nowhere" not in DEFINITION
    assert DEFINITION["charge"] is CHARGE
    assert DEFINITION.stage_index("charge") == 1
    with pytest.raises(KeyError):
        DEFINITION["nowhere"]


def test_every_answer_to_a_command_of_the_saga_has_its_routing_key() -> None:
    assert DEFINITION.outcome_keys == {
        "inventory.reserved",
        "inventory.rejected",
        "inventory.released",
        "inventory.reduced",
        "payment.successful",
        "payment.declined",
        "payment.refunded",
        "shipping.fulfilled",
        "shipping.rejected",
        "step.refused",
        "step.settled",
    }


def test_a_step_without_words_for_it_holds_its_own_name() -> None:
    assert CHARGE.held(ORDER) == "charged 30.98 EUR"
    assert but(CHARGE, holds=None).held(ORDER) == "charge"
    assert no_arguments(ORDER, {}) == {}


# -- registry ---------------------------------------------------------------------------------------------


def version(number: int, **changes: Any) -> SagaDefinition:
    """The order saga at a version."""
    return replace(order_fulfillment(POLICY), version=number, **changes)


def test_s13_an_instance_keeps_its_version_and_new_sagas_take_the_latest() -> None:
    old, new = version(1), version(2)
    for registry in (Registry([old, new]), Registry([new, old])):
        assert registry.find("order_fulfillment", 1) is old
        assert registry.latest("order_fulfillment") is new


def test_s13_a_version_that_is_only_being_deployed_starts_no_saga() -> None:
    registry = Registry([version(1), version(2, starts_sagas=False)])
    assert registry.latest("order_fulfillment").version == 1
    assert registry.find("order_fulfillment", 2) is not None


def test_s13_what_a_replica_lacks_is_not_found() -> None:
    registry = Registry([version(1)])
    assert registry.find("order_fulfillment", 2) is None
    assert registry.find("returns", 1) is None
    with pytest.raises(KeyError):
        registry.latest("returns")


def test_a_registry_knows_its_versions_participants_and_routing_keys() -> None:
    other = of(RESERVE, CHARGE, name="returns")
    registry = Registry([version(2), version(1), other])
    assert registry.known == (("order_fulfillment", 1), ("order_fulfillment", 2), ("returns", 1))
    assert registry.participants == ("inventory", "payment", "shipping")
    assert registry.outcome_keys == DEFINITION.outcome_keys


def test_a_registry_refuses_the_same_version_twice_and_a_bad_definition() -> None:
    with pytest.raises(InvalidDefinition, match="registered twice"):
        Registry([version(1), version(1)])
    with pytest.raises(InvalidDefinition, match="no steps"):
        Registry([of(name="empty")])
