"""What a world runs, and who takes part in it: saga definitions, and the participants that they name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final

from contracts.routing import ORCHESTRATOR, PARTICIPANTS
from orchestrator.core.definition import SagaDefinition, Step, StepPolicy
from orchestrator.core.registry import Registry
from orchestrator.sagas.order_fulfillment import (
    CAPTURING_VERSION,
    SPLITTING_VERSION,
    PaymentFlow,
    Shipments,
    order_fulfillment,
)
from orchestrator.sagas.order_return import order_return

POLICY: Final = StepPolicy(
    deadline_s=40, grace_s=4, resend_after_s=3, resend_cap_s=20, stuck_after_attempts=4
)
NEW_POLICY: Final = StepPolicy(
    deadline_s=60, grace_s=6, resend_after_s=4, resend_cap_s=25, stuck_after_attempts=3
)
"""Of the second version of a definition, which is deployed while sagas are under way (S13)."""


def old_definition() -> SagaDefinition:
    """The order saga as every replica knows it from the beginning."""
    return order_fulfillment(POLICY)


def new_definition() -> SagaDefinition:
    """Its second version: more patient with every step, and with another word for what is not in stock."""
    old = order_fulfillment(NEW_POLICY)
    first, *others = old.course
    assert isinstance(first, Step)
    return replace(old, version=2, course=(replace(first, failure_code="sold_out"), *others))


def capturing_definition(policy: StepPolicy = POLICY) -> SagaDefinition:
    """The order saga that takes its money after the parcel has left (S27)."""
    return order_fulfillment(policy, PaymentFlow.CAPTURE)


def splitting_definition(policy: StepPolicy = POLICY) -> SagaDefinition:
    """The order saga that ships a parcel from each location (S31)."""
    return order_fulfillment(policy, shipments=Shipments.SPLIT)


def split_and_captured_definition(policy: StepPolicy = POLICY) -> SagaDefinition:
    """The same where the money is taken afterwards."""
    return order_fulfillment(policy, PaymentFlow.CAPTURE, Shipments.SPLIT)


class Edition:
    """Whether the functions of the definitions have been edited, without a new version."""

    def __init__(self) -> None:
        self.edited = False


@dataclass(frozen=True)
class Cast:
    """Who plays.

    Attributes:
        name: of the kind of world.
        first: what every replica knows from the beginning.
        further: what is deployed while sagas are under way (S13).
        stock: what is on hand at the beginning, by SKU.
        places: of it, what is at locations that have a name, by SKU and location.
        edition: what the definitions' functions go by, where they may be edited.
    """

    name: str
    first: tuple[SagaDefinition, ...]
    further: tuple[SagaDefinition, ...] = ()
    stock: Mapping[str, int] = field(default_factory=dict)
    places: Mapping[tuple[str, str], int] = field(default_factory=dict)
    edition: Edition = field(default_factory=Edition, compare=False)

    @cached_property
    def known_first(self) -> Registry:
        """What a replica knows that has not got the further definitions."""
        return Registry(self.first)

    @cached_property
    def registry(self) -> Registry:
        """All definitions."""
        return Registry((*self.first, *self.further))

    @property
    def definitions(self) -> tuple[SagaDefinition, ...]:
        """All of them."""
        return (*self.first, *self.further)

    @cached_property
    def participants(self) -> tuple[str, ...]:
        """Whoever some definition names."""
        return self.registry.participants

    @cached_property
    def stand_ins(self) -> tuple[str, ...]:
        """Those of them that are none of our own."""
        return tuple(name for name in self.participants if name not in PARTICIPANTS)

    @cached_property
    def databases(self) -> tuple[str, ...]:
        """One a service."""
        return (ORCHESTRATOR, *self.participants)

    @property
    def is_orders(self) -> bool:
        """Whether it is the world of the order saga, whose checkers know what money and parcels are."""
        return self.name == ORDERS_NAME


ORDERS_NAME: Final = "orders"
STOCK: Final[Mapping[str, int]] = {"apple": 9, "pear": 60, "plum": 60, "rare": 2}
GOODS_COME_WITHIN_S: Final = 25.0
"""For so long a return waits for its goods."""

ORDERS: Final = Cast(
    ORDERS_NAME,
    (old_definition(), order_return(POLICY, GOODS_COME_WITHIN_S)),
    (new_definition(),),
    STOCK,
)
"""The order saga and our own participants."""

CAPTURING: Final = Cast(
    ORDERS_NAME,
    (old_definition(), capturing_definition(), order_return(POLICY, GOODS_COME_WITHIN_S)),
    (replace(capturing_definition(NEW_POLICY), version=CAPTURING_VERSION + 2),),
    STOCK,
)
"""The same where money is set aside before the parcel leaves, and taken after it."""


UNSHIPPABLE: Final = "glass"
"""What the carrier does not take."""

_PLACES: Final = {
    ("apple", "north"): 4,
    ("pear", "north"): 20,
    ("pear", "west"): 10,
    ("plum", "west"): 60,
    ("rare", "north"): 1,
    (UNSHIPPABLE, "east"): 20,
}

SPLITTING: Final = Cast(
    ORDERS_NAME,
    (old_definition(), splitting_definition(), order_return(POLICY, GOODS_COME_WITHIN_S)),
    (replace(splitting_definition(NEW_POLICY), version=SPLITTING_VERSION + 2),),
    {**STOCK, UNSHIPPABLE: 30},
    _PLACES,
)
"""Orders that are shipped in parcels, from the locations of their stock (S31)."""

SPLIT_AND_CAPTURED: Final = replace(
    SPLITTING,
    first=(old_definition(), split_and_captured_definition(), order_return(POLICY, GOODS_COME_WITHIN_S)),
    further=(
        replace(split_and_captured_definition(NEW_POLICY), version=SPLITTING_VERSION + CAPTURING_VERSION + 2),
    ),
)
"""The same where less is captured of what could not be shipped."""


def skus_in(definition: SagaDefinition) -> Iterator[str]:
    """The products that the examples of a definition speak of."""
    for example in definition.examples:
        yield from _skus(json.loads(example.model_dump_json()))


def _skus(document: Any) -> Iterator[str]:
    if isinstance(document, dict):
        if isinstance(document.get("sku"), str):
            yield document["sku"]
        for value in document.values():
            yield from _skus(value)
    elif isinstance(document, list):
        for value in document:
            yield from _skus(value)
