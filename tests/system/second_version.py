"""Version 2 of order fulfilment, as a deployment adds one: an order is paid before anything is reserved."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.core.definition import SagaDefinition, StepPolicy
from orchestrator.sagas.order_fulfillment import order_fulfillment


def payment_first(policy: StepPolicy) -> SagaDefinition:
    """The same steps in another order; version 1 stays beside it for the sagas that began on it."""
    first = order_fulfillment(policy)
    reserve, charge, *rest = first.steps
    return replace(first, version=2, course=(charge, replace(reserve, milestone=None), *rest))
