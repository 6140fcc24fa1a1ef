"""Example commands for the participants of this project, so that a name alone is enough."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from contracts.commands import (
    AuthorizePayment,
    CapturePayment,
    ChargePayment,
    ClaimRefund,
    ClaimUnshipped,
    Command,
    CommitInventory,
    RefundPart,
    RefundUnshipped,
    ReserveInventory,
    RestockItems,
    ShipOrder,
    VoidRemainder,
)
from contracts.examples import EXAMPLES
from contracts.works import WORKS, KindOfWork
from oms.conformance.repertoire import IDENTITIES, Answer, Compensation, Example, Rejection, Repertoire
from oms.failures import Failure

UNKNOWN_SKU: Final = "CONFORMANCE-UNKNOWN"
"""A product that no shop has, as a rule: asking for it is refused."""

_REJECTED: Final[Mapping[type[Command], dict[str, Any]]] = {
    ReserveInventory: {"lines": [{"sku": UNKNOWN_SKU, "quantity": 1}]},
    ChargePayment: {"payment_method": "pm_card_declined"},
    AuthorizePayment: {"payment_method": "pm_card_declined"},
    ShipOrder: {"shipping_address": {"postal_code": "00000"}},
}
"""What is changed in an example so that it is refused."""

_OTHERWISE: Final[Mapping[type[Command], dict[str, Any]]] = {
    ReserveInventory: {"lines": [{"sku": "SKU-1", "quantity": 3}]},
    ChargePayment: {"amount": 1299},
    AuthorizePayment: {"amount": 1299},
    ShipOrder: {"shipping_address": {"line1": "2 Street"}},
}
"""What is changed in an example so that it asks for something else."""

_AFTER: Final[Mapping[type[Command], tuple[str, ...]]] = {CommitInventory: ("reserve",)}

OF_RETURNS: Final = (ClaimRefund, RefundPart, RestockItems)
"""A participant in the place of one of ours may do without: then no order is returned by a saga."""

OF_SPLIT_ORDERS: Final = (ClaimUnshipped, RefundUnshipped, VoidRemainder)
"""The same, where orders are not shipped in several parcels."""

_NEEDS: Final[Mapping[type[Command], str]] = {
    ReserveInventory: "stock of SKU-1: oms stock set SKU-1 1000000",
    AuthorizePayment: "a gateway that authorizes for pm_card_visa, as the sandbox does",
    ChargePayment: "a gateway that pays for pm_card_visa, as the sandbox does",
    ShipOrder: "a carrier that ships to postal code 12345, as the sandbox does",
}


_NOT_ALONE: Final = frozenset({CapturePayment})
"""What no example can be given of: the reference that is captured is the gateway's own."""


def built_in(participant: str) -> Repertoire:
    """The examples of a participant of this project. Raises Failure for any other."""
    works = [
        (command, work)
        for command, work in WORKS.items()
        if work.participant == participant and command not in (*OF_RETURNS, *OF_SPLIT_ORDERS)
    ]
    if not works:
        known = ", ".join(dict.fromkeys(work.participant for work in WORKS.values()))
        raise Failure(f"example commands are built in for {known}; for {participant} give --commands FILE")
    alone = [(command, work) for command, work in works if command not in _NOT_ALONE]
    return Repertoire(works=tuple(_example(command, work) for command, work in alone))


def _example(command: type[Command], work: KindOfWork) -> Example:
    body = _body(command)
    rejection = compensation = None
    if work.rejection is not None:
        changed = _merged(body, _REJECTED[command])
        rejection = Rejection(type=work.rejection.__name__, key=work.rejection.key, body=changed)
    if work.compensation is not None and work.undone is not None:
        answer = Answer(type=work.undone.__name__, key=work.undone.key)
        undoing = work.compensation
        compensation = Compensation(command=undoing.__name__, body=_body(undoing), answer=answer)
    return Example(
        step=EXAMPLES[command.__name__].model_dump()["step"],
        command=command.__name__,
        body=body,
        success=Answer(type=work.success.__name__, key=work.success.key),
        other_body=_merged(body, _OTHERWISE[command]) if command in _OTHERWISE else None,
        rejection=rejection,
        compensation=compensation,
        after=_AFTER.get(command, ()),
        needs=_NEEDS.get(command, ""),
    )


def _body(command: type[Command]) -> dict[str, Any]:
    example = EXAMPLES[command.__name__]
    return example.model_dump(mode="json", exclude_none=True, exclude=set(IDENTITIES))


def _merged(body: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The body with some fields changed, those within a field too."""
    merged = dict(body)
    for name, value in changes.items():
        inner = merged.get(name)
        merged[name] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged
