"""The saga definitions of a deployment: this program's own, and those that the deployment names.

A further saga, or a new version of one, is a function that takes the step policy of the settings and returns
the definition, as `order_fulfillment` does; it stands in any module that Python can import.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Final

from oms.failures import Failure
from oms.settings import Settings
from oms.variables import PREFIX
from orchestrator.core.definition import Registry, SagaDefinition, StepPolicy
from orchestrator.sagas.order_fulfillment import order_fulfillment

Define = Callable[[StepPolicy], SagaDefinition]

OWN: Final[tuple[Define, ...]] = (order_fulfillment,)
"""What this program defines itself."""


def registry(settings: Settings) -> Registry:
    """Every saga definition that this process knows, old versions beside new ones (S13).

    Raises:
        Failure: a definition that the settings name is not there.
        InvalidDefinition: a definition must not run.
    """
    named = map(_named, settings.saga_definitions)
    return Registry(define(settings.step_policy) for define in (*OWN, *named))


def _named(name: str) -> Define:
    module, _, function = name.partition(":")
    try:
        define: Define = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise Failure(f"{PREFIX}SAGA_DEFINITIONS: {name}: {error}") from None
    return define
