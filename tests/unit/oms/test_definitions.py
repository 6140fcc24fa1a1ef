"""Definitions that a deployment adds: a function in any module, named by the environment (S13)."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from oms.definitions import registry
from oms.failures import Failure
from oms.settings import load_settings
from orchestrator.core.definition import SagaDefinition, StepPolicy
from orchestrator.core.registry import Registry
from orchestrator.sagas.order_fulfillment import (
    CAPTURING_VERSION,
    HOLDING_VERSION,
    NAME,
    PaymentFlow,
    order_fulfillment,
)

HERE = __name__

Refused = Callable[[str], str]


def second(policy: StepPolicy) -> SagaDefinition:
    return dataclasses.replace(order_fulfillment(policy), version=2)


def third(policy: StepPolicy) -> SagaDefinition:
    return dataclasses.replace(order_fulfillment(policy), version=3, starts_sagas=False)


def unsound(policy: StepPolicy) -> SagaDefinition:
    return dataclasses.replace(order_fulfillment(policy), version=2, course=())


def test_a_named_version_stands_beside_our_own_and_new_sagas_start_on_it() -> None:
    known = registry(load_settings(saga_definitions=f"{HERE}:second"))

    of_orders = tuple((NAME, version) for version in (1, 2, *range(100, 800, 100)))
    assert known.known == (*of_orders, ("order_return", 1))
    assert known.latest(NAME).version == 2


@pytest.mark.parametrize(
    ("given", "starts_on"),
    [
        ({}, 1),
        ({"hold_above": "none"}, HOLDING_VERSION),
        ({"payment_flow": PaymentFlow.CAPTURE}, CAPTURING_VERSION),
        ({"payment_flow": "capture", "hold_above": "EUR=1"}, HOLDING_VERSION + CAPTURING_VERSION),
        ({"shipments": "split"}, 400),
        ({"shipments": "split", "payment_flow": "capture", "hold_above": "EUR=1"}, 700),
    ],
)
def test_every_version_is_known_and_new_orders_start_on_the_one_with_what_is_set(
    given: dict[str, str], starts_on: int
) -> None:
    known = registry(load_settings(**given))

    assert known.known == (*((NAME, each) for each in (1, *range(100, 800, 100))), ("order_return", 1))
    assert known.latest(NAME).version == starts_on


def test_an_order_whose_money_is_captured_is_authorized_before_its_parcel_leaves() -> None:
    known = registry(load_settings())
    assert [step.name for step in _version(known, 1).steps] == ["reserve", "charge", "ship", "commit"]
    capturing = ["reserve", "authorize", "ship", "capture", "commit"]
    for version in (200, 300):
        assert [step.name for step in _version(known, version).steps] == capturing
    first_stages = [getattr(stage, "name", "") for stage in _version(known, 300).course[:3]]
    assert first_stages == ["reserve", "hold", "authorize"]


def _version(known: Registry, version: int) -> SagaDefinition:
    definition = known.find(NAME, version)
    assert definition is not None
    return definition


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
    with pytest.raises(Failure, match=f"OMS_SAGA_DEFINITIONS: {HERE}:unsound: .* version 2: it has no steps"):
        registry(load_settings(saga_definitions=f"{HERE}:unsound"))


# -- whatever a module may be -----------------------------------------------------------------------------

IMPORTS = """
from dataclasses import replace

from contracts.commands import *
from contracts.events import *
from orchestrator.core.definition import *
from orchestrator.sagas.order_fulfillment import OrderStatus
from orchestrator.sagas.order_fulfillment import order_fulfillment


def changed(given, at, **changes):
    own = order_fulfillment(given)
    steps = list(own.course)
    steps[at] = replace(steps[at], **changes)
    return replace(own, version=2, course=tuple(steps))
"""

MODULES: dict[str, tuple[str, str]] = {
    "a syntax error": ("def define(policy) return 1", "it cannot be loaded: SyntaxError"),
    "an exception": ("raise ValueError('broken')", "it cannot be loaded: ValueError: broken"),
    "an exit": ("raise SystemExit(3)", "it cannot be loaded: SystemExit: 3"),
    "an interrupt": ("raise KeyboardInterrupt", "it cannot be loaded: KeyboardInterrupt"),
    "an import that is not there": ("import no_such_thing", "No module named 'no_such_thing'"),
    "no function": ("define = 7", "it cannot be called with a StepPolicy: TypeError"),
    "nothing returned": ("def define(policy): pass", "it returns NoneType, not a SagaDefinition"),
    "a list returned": ("define = lambda policy: []", "it returns list, not a SagaDefinition"),
    "no argument": ("def define(): pass", "it cannot be called with a StepPolicy: TypeError"),
    "a coroutine": ("async def define(policy): pass", "it returns coroutine, not a SagaDefinition"),
    "a generator": ("def define(policy): yield 1", "it returns generator, not a SagaDefinition"),
    "a function that raises": ("def define(policy): 1 / 0", "ZeroDivisionError: division by zero"),
    "a function that exits": (
        "def define(policy): exit()",
        "with a StepPolicy: SystemExit",
    ),
}
WHOLE: dict[str, tuple[str, str]] = {
    f"version {version}": (
        f"replace(order_fulfillment(policy), version={version})",
        "whole number from 1 to 32,767",
    )
    for version in ("'2'", "0", "-5", "40000", "True", "2.0", "None", "float('nan')")
} | {
    "the same version": ("order_fulfillment(policy)", "'order_fulfillment' version 1 is there already"),
    "no name": ("replace(order_fulfillment(policy), name='')", "a name is a small letter"),
    "a name for no column": ("replace(order_fulfillment(policy), name='a' * 65)", "a name is a small letter"),
    "a name that is none": ("replace(order_fulfillment(policy), name=None)", "a name is a small letter"),
    "an odd name": ("replace(order_fulfillment(policy), name='a b#.*')", "a name is a small letter"),
    "steps that are none": ("replace(order_fulfillment(policy), course=[])", "must be a tuple of stages"),
    "no truth": (
        "replace(order_fulfillment(policy), version=2, starts_sagas='no')",
        "neither True nor False",
    ),
}
STEPS: dict[str, str] = {
    "participant='paymnt'": "step 'charge': ChargePayment is work of payment, not of 'paymnt'",
    "participant='shipping'": "step 'charge': ChargePayment is work of payment, not of 'shipping'",
    "command=SettleStep": "step 'charge': its command SettleStep does not say whose it is",
    "command=dict": "step 'charge': its command dict is no Command",
    "command='ChargePayment'": "step 'charge': its command 'ChargePayment' is no Command",
    "success=InventoryReservedEvent": "its success is InventoryReservedEvent, but ChargePayment",
    "success=dict": "its success is dict, but ChargePayment is answered by PaymentSuccessfulEvent",
    "rejection=None": "its rejection is none, but the one of ChargePayment is PaymentDeclinedEvent",
    "compensation=Compensation(ReleaseInventory, InventoryReleasedEvent)": "its compensation is Release",
    "compensation='refund'": "its compensation is",
    "kind='compensatable'": "its kind 'compensatable' is no StepKind",
    "name='Charge it'": "'Charge it': a name is a small letter",
    "name=None": "None: a name is a small letter",
    "name='reserve'": "the name 'reserve' is there more than once",
    "failure_code='No money!'": "its failure_code 'No money!' is none",
    "milestone='paid!'": "label 'paid!': a name is a small letter",
    "keeps='reference'": "what it keeps must be a tuple of names",
    "policy=None": "its policy is NoneType, not a StepPolicy",
    "policy=StepPolicy(deadline_s=float('nan'))": "deadline_s must be above 0",
    "policy=StepPolicy(deadline_s='5')": "deadline_s must be above 0",
    "policy=StepPolicy(grace_s=True)": "grace_s must be above 0",
    "policy=StepPolicy(resend_after_s=-1)": "resend_after_s must be above 0",
    "arguments=None": "its arguments cannot be taken from an example: TypeError",
    "arguments=lambda order, results: order.nothing": "an example: AttributeError",
    "arguments=lambda order, results: {}": "its arguments make no ChargePayment: customer_id: Field required",
    "arguments=lambda order, results: []": "its arguments are list, not a mapping of fields",
    "arguments=lambda order, results: {'step': 'x'}": "step is the engine's to fill in",
    "arguments=lambda order, results: {'amout': 1}": "there is no field 'amout'",
    "arguments=lambda order, results, more: {}": "an example: TypeError",
    "holds=lambda order: 7": "what it holds is told as int, not as a text",
    "holds=lambda order: order.nothing": "what it holds cannot be told of an example",
}


@pytest.fixture
def refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Refused]:
    """Writes a module, and gives the line with which the start ends."""
    monkeypatch.syspath_prepend(tmp_path)
    name = f"definitions_{abs(hash(request.node.name))}"

    def told(source: str) -> str:
        (tmp_path / f"{name}.py").write_text(source)
        with pytest.raises(Failure) as failure:
            registry(load_settings(saga_definitions=f"{name}:define"))
        assert str(failure.value).startswith(f"OMS_SAGA_DEFINITIONS: {name}:define: ")
        assert len(str(failure.value).splitlines()) == 1
        return str(failure.value)

    yield told
    sys.modules.pop(name, None)


@pytest.mark.parametrize(("source", "reason"), MODULES.values(), ids=MODULES)
def test_a_module_without_a_definition_fails_the_start(refused: Refused, source: str, reason: str) -> None:
    assert reason in refused(source)


@pytest.mark.parametrize(("made", "reason"), WHOLE.values(), ids=WHOLE)
def test_a_definition_with_impossible_words_fails_the_start(refused: Refused, made: str, reason: str) -> None:
    assert reason in refused(f"{IMPORTS}\n\ndef define(policy):\n    return {made}\n")


@pytest.mark.parametrize(("change", "reason"), STEPS.items(), ids=STEPS)
def test_a_step_that_would_never_be_done_fails_the_start(refused: Refused, change: str, reason: str) -> None:
    assert reason in refused(f"{IMPORTS}\n\ndef define(policy):\n    return changed(policy, 1, {change})\n")


def test_arguments_that_must_be_awaited_or_differ_each_time_fail_the_start(refused: Refused) -> None:
    source = """
async def later(order, results): return {}
def now(order, results, counted=iter(range(99))):
    return {'lines': [{'sku': 'A', 'quantity': 1 + next(counted)}]}
def define(policy):
    own = changed(policy, 1, arguments=later)
    return replace(own, course=(replace(own.steps[0], arguments=now), *own.steps[1:]))
"""
    told = refused(IMPORTS + source)
    assert "step 'charge': its arguments cannot be taken from an example: TypeError: it is async" in told
    assert "step 'reserve': its arguments differ from one call to the next" in told


def test_the_example_of_the_documentation_is_sound_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[3] / "docs" / "production.md").read_text()
    [example] = [each for each in page.split("```python\n")[1:] if "def payment_first" in each]
    (tmp_path / "example_of_the_page.py").write_text(example.partition("```")[0])
    monkeypatch.syspath_prepend(tmp_path)

    known = registry(load_settings(saga_definitions="example_of_the_page:payment_first"))

    assert [step.name for step in known.latest(NAME).steps] == ["charge", "reserve", "ship", "commit"]
