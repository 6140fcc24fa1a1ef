"""The worlds in which stories are told: one for each flow, with weather that changes no ending."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from contracts.routing import ORCHESTRATOR, PARTICIPANTS
from orchestrator.core.definition import SagaDefinition, StepPolicy
from orchestrator.sagas.order_fulfillment import (
    Holds,
    PaymentFlow,
    Shipments,
    held_order_fulfillment,
    order_fulfillment,
)
from orchestrator.sagas.order_return import order_return
from simulation.cast import ORDERS_NAME, Cast
from simulation.plan import API, Plan
from simulation.stories.simulated import LONGER_THAN_ANY_WAIT_S
from simulation.stories.story import HELD_ABOVE, Flow, Story
from simulation.weather import Fault

PATIENT: Final = StepPolicy(
    deadline_s=2000, grace_s=4, resend_after_s=300, resend_cap_s=300, stuck_after_attempts=4
)
"""So patient that whatever an order meets is met by its participant: nothing is given up, or asked again."""

WAITS_S: Final = LONGER_THAN_ANY_WAIT_S - 100

HARMLESS: Final = {
    Fault.REORDERED: 0.3,
    Fault.MESSAGE_DELAYED: 0.2,
    Fault.DATABASE_SLOW: 0.05,
}
"""Faults that lose nothing, by how likely they are: each story must end as without them."""


def definition_of(flow: Flow) -> SagaDefinition:
    """The course that a flow's orders take."""
    payment = PaymentFlow.CAPTURE if flow.captures else PaymentFlow.CHARGE
    if flow.holds:
        return held_order_fulfillment(PATIENT, Holds({"EUR": HELD_ABOVE}, WAITS_S), payment)
    shipments = Shipments.SPLIT if flow.splits else Shipments.SINGLE
    return order_fulfillment(PATIENT, payment, shipments)


def plan_of(seed: int, flow: Flow, stories: Sequence[Story]) -> Plan:
    """The world of one flow, in which these stories are told at once.

    Args:
        seed: 0 for good weather.
    """
    rates = HARMLESS if seed else {}
    return Plan(
        seed=seed,
        orders=(),
        replicas=dict.fromkeys((API, ORCHESTRATOR, *PARTICIPANTS), 2),
        rates=rates,
        storms=(),
        offers_void=True,
        garbage=0,
        strangers=0,
        meddling=0,
        new_version_at_s=None,
        stock_changes=0,
        cast=Cast(ORDERS_NAME, (definition_of(flow), order_return(PATIENT, WAITS_S))),
        stories=tuple(stories),
        faults=frozenset(rates),
    )
