"""The saga definitions of a deployment: this program's own, and those that the deployment names.

A further saga, or a new version of one, is a function that takes the step policy of the settings and returns
the definition, as `order_fulfillment` does; it stands in any module that Python can import.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Final

from oms.failures import Failure
from oms.settings import Settings
from oms.variables import PREFIX
from orchestrator.core.definition import SagaDefinition, StepPolicy
from orchestrator.core.registry import Registry
from orchestrator.core.soundness import InvalidDefinition, validate
from orchestrator.sagas.order_fulfillment import order_fulfillment

Define = Callable[[StepPolicy], SagaDefinition]

OWN: Final[tuple[Define, ...]] = (order_fulfillment,)
"""What this program defines itself."""


def registry(settings: Settings) -> Registry:
    """Every saga definition that this process knows, old versions beside new ones (S13).

    Raises:
        Failure: a definition that the settings name is not there, or must not run.
        InvalidDefinition: one of our own must not run.
    """
    found = [define(settings.step_policy) for define in OWN]
    for name in settings.saga_definitions:
        definition = _defined(name, settings.step_policy)
        try:
            validate(definition)
            _check_unlike(found, definition)
        except InvalidDefinition as error:
            raise _failure(name, str(error)) from None
        found.append(definition)
    return Registry(found)


def rehearsed(name: str, policy: StepPolicy) -> SagaDefinition:
    """The definition that a function gives, which nothing runs on yet. Raises Failure unless it could run."""
    try:
        definition = _defined(name, policy)
        validate(definition)
    except InvalidDefinition as error:
        raise Failure(f"--definition {name}: {error}") from None
    except Failure as failure:
        raise Failure(str(failure).replace(f"{PREFIX}SAGA_DEFINITIONS:", "--definition", 1)) from None
    return definition


def _check_unlike(found: list[SagaDefinition], definition: SagaDefinition) -> None:
    if any((each.name, each.version) == (definition.name, definition.version) for each in found):
        raise InvalidDefinition(f"{definition.name!r} version {definition.version} is there already")


def _defined(name: str, policy: StepPolicy) -> SagaDefinition:
    """What a named function gives. It is somebody's code: it may do anything when loaded or called."""
    try:
        define = _function(name)
    except (ImportError, AttributeError) as error:
        raise _failure(name, _first_line(error)) from None
    except BaseException as error:
        raise _failure(name, f"it cannot be loaded: {_told(error)}") from None
    try:
        given: object = define(policy)
    except BaseException as error:
        raise _failure(name, f"it cannot be called with a StepPolicy: {_told(error)}") from None
    if inspect.iscoroutine(given):
        given.close()
    if not isinstance(given, SagaDefinition):
        raise _failure(name, f"it returns {type(given).__name__}, not a SagaDefinition")
    return given


def _function(name: str) -> Define:
    module, _, function = name.partition(":")
    define: Define = getattr(importlib.import_module(module), function)
    return define


def _failure(name: str, reason: str) -> Failure:
    return Failure(f"{PREFIX}SAGA_DEFINITIONS: {name}: {reason}")


def _told(error: BaseException) -> str:
    words = _first_line(error)
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0][:300]
