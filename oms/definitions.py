"""The saga definitions of a deployment: our own, those installed, and those that the settings name.

A further saga, or a new version of one, is a definition, or a function that takes the step policy of the
settings and returns one, as `order_fulfillment` does.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import product

from contracts.commands import Command
from contracts.events import Event
from contracts.one_line import first_line, kind_and_line
from contracts.routing import ORCHESTRATOR
from contracts.traffic import OURS, Traffic
from oms import extensions
from oms.failures import Failure
from oms.settings import Settings
from oms.variables import PREFIX
from orchestrator.core.definition import SagaDefinition, Step, StepPolicy
from orchestrator.core.registry import Registry
from orchestrator.core.soundness import InvalidDefinition, validate
from orchestrator.sagas.order_fulfillment import (
    Holds,
    PaymentFlow,
    Shipments,
    held_order_fulfillment,
    order_fulfillment,
)
from orchestrator.sagas.order_return import order_return

Define = Callable[[StepPolicy], SagaDefinition]


def own(settings: Settings) -> tuple[SagaDefinition, ...]:
    """What this program defines itself: orders start on the version with what is set, and nothing else."""
    return (*_of_orders(settings), order_return(settings.step_policy, settings.return_within_s))


def _of_orders(settings: Settings) -> Iterator[SagaDefinition]:
    """Every version; the first one is what orders start on where no other is set."""
    policy, above = settings.step_policy, settings.hold_above
    holds = None if above is None else Holds(above)
    plain = (PaymentFlow.CHARGE, Shipments.SINGLE)
    for flow in product(PaymentFlow, Shipments):
        chosen = flow == (settings.payment_flow, settings.shipments)
        yield order_fulfillment(policy, *flow, starts_sagas=chosen or flow == plain)
        yield held_order_fulfillment(policy, holds if chosen else None, *flow)


def registry(settings: Settings) -> Registry:
    """Every saga definition that this process knows, old versions beside new ones (S13).

    Raises:
        Failure: a definition that is installed, or that the settings name, is not there or must not run.
        InvalidDefinition: one of our own must not run.
    """
    found = list(own(settings))
    for fail, given in _given(settings):
        found.append(_sound(given, settings.step_policy, fail, found))
    return Registry(found)


def _given(settings: Settings) -> Iterator[tuple[Callable[[str], Failure], Callable[[], object]]]:
    """What others have defined: how to tell that it is wrong, and how to get it."""
    for extension in extensions.installed(extensions.SAGAS, settings.extensions_off):
        yield partial(_wrong, extension), partial(extensions.load, extension)
    for name in settings.saga_definitions:
        yield partial(_failure, name), partial(_loaded, name)


def traffic_of(definitions: Iterable[SagaDefinition]) -> Traffic:
    """What travels for orders and all these sagas; a participant need not be installed, nor be in Python."""
    asked = {name: dict.fromkeys(commands) for name, commands in OURS.asked.items()}
    events = dict(OURS.events)
    for definition in definitions:
        for step in definition.steps:
            asked.setdefault(step.participant, {}).update(dict.fromkeys(_commands(step)))
            for answer in step.events():
                events.setdefault(answer, step.participant)
        for told in _told(definition):
            events.setdefault(told, ORCHESTRATOR)
    return Traffic({name: tuple(commands) for name, commands in asked.items()}, events)


def definition_of(extension: extensions.Extension, policy: StepPolicy) -> SagaDefinition:
    """The definition that an extension gives, by itself. Raises Failure where it must not run."""
    return _sound(partial(extensions.load, extension), policy, partial(_wrong, extension), ())


def rehearsed(name: str, policy: StepPolicy) -> SagaDefinition:
    """The definition that a function gives, which nothing runs on yet. Raises Failure unless it could run."""
    return _sound(
        partial(_loaded, name), policy, lambda reason: Failure(f"--definition {name}: {reason}"), ()
    )


def _sound(
    given: Callable[[], object],
    policy: StepPolicy,
    fail: Callable[[str], Failure],
    found: Sequence[SagaDefinition],
) -> SagaDefinition:
    """What was given, if it may run beside what was found before."""
    try:
        definition = _definition(given(), policy)
        validate(definition)
        _check_unlike(found, definition)
    except (_Unusable, InvalidDefinition) as error:
        raise fail(str(error)) from None
    return definition


def _wrong(extension: extensions.Extension, reason: str) -> Failure:
    return extensions.failure(extension, f"cannot be used: {reason}")


def _commands(step: Step) -> Iterator[type[Command]]:
    yield step.command
    if step.compensation is not None:
        yield step.compensation.command


def _told(definition: SagaDefinition) -> Iterator[type[Event]]:
    """What it announces."""
    announced = [*definition.announces.values(), *(step.announces for step in definition.steps)]
    return (each.event for each in announced if each is not None)


class _Unusable(Exception):
    """What was given is no definition; the message says why."""


def _check_unlike(found: Sequence[SagaDefinition], definition: SagaDefinition) -> None:
    if any((each.name, each.version) == (definition.name, definition.version) for each in found):
        raise InvalidDefinition(f"{definition.name!r} version {definition.version} is there already")


def _loaded(name: str) -> object:
    """What is called so. It is somebody's code: it may do anything when loaded."""
    module, _, function = name.partition(":")
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise _Unusable(first_line(error)) from None
    except BaseException as error:
        raise _Unusable(f"it cannot be loaded: {kind_and_line(error)}") from None


def _definition(given: object, policy: StepPolicy) -> SagaDefinition:
    """A definition, or what a function of the step policy gives."""
    if isinstance(given, SagaDefinition):
        return given
    try:
        made: object = given(policy)  # type: ignore[operator]
    except BaseException as error:
        raise _Unusable(f"it cannot be called with a StepPolicy: {kind_and_line(error)}") from None
    if inspect.iscoroutine(made):
        made.close()
    if not isinstance(made, SagaDefinition):
        raise _Unusable(f"it returns {type(made).__name__}, not a SagaDefinition")
    return made


def _failure(name: str, reason: str) -> Failure:
    return Failure(f"{PREFIX}SAGA_DEFINITIONS: {name}: {reason}")
