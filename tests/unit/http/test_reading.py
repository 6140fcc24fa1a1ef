"""Masks and cursors of the read side."""

from __future__ import annotations

import json
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.commands import ChargePayment, ShipOrder
from contracts.envelope import Direction
from contracts.sensitive import MASK, SENSITIVE_NAMES
from orchestrator.core.state import Forward, StepState, Undo
from orchestrator.queries.masking import masked, masked_body
from orchestrator.queries.paging import InvalidCursor, Page, _cursor
from orchestrator.queries.pieces import step_status
from tests.support.orders import an_order


def test_what_the_contracts_mark_is_masked() -> None:
    assert {"payment_method", "shipping_address"} == SENSITIVE_NAMES


def test_commands_are_shown_masked() -> None:
    order = an_order()
    identities = {"saga_id": uuid4(), "order_id": uuid4(), "direction": Direction.FORWARD}
    charge = ChargePayment(
        step="charge",
        customer_id="c-1",
        amount=1,
        currency="EUR",
        payment_method=order.payment_method,
        **identities,
    )
    ship = ShipOrder(
        step="ship",
        lines=[{"sku": "SKU-1", "quantity": 1}],
        shipping_address=order.shipping_address,
        **identities,
    )
    for command, name in ((charge, "payment_method"), (ship, "shipping_address")):
        form, body = masked_body(command.model_dump_json().encode())
        assert (form, body[name]) == ("json", MASK)


def test_masks_reach_any_depth() -> None:
    assert masked({"a": [{"payment_method": {"x": 1}}, 7]}) == {"a": [{"payment_method": MASK}, 7]}


def test_any_text_can_be_encoded_after_masking() -> None:
    json.dumps(masked({"\ud800": "\udfff"}), ensure_ascii=False).encode()


@given(st.binary(max_size=300))
def test_any_body_can_be_shown(body: bytes) -> None:
    form, shown = masked_body(body)
    assert form in ("json", "text", "withheld")
    json.dumps(shown, ensure_ascii=False, allow_nan=False).encode()


@given(st.uuids())
def test_a_cursor_leads_back_to_its_key(key: UUID) -> None:
    cursor = _cursor("s", key)
    assert Page(1, cursor).before("s") == key
    with pytest.raises(InvalidCursor):
        Page(1, cursor).before("o")


@given(st.text(max_size=40))
def test_anything_else_is_no_cursor(text: str) -> None:
    with pytest.raises(InvalidCursor):
        Page(1, text).before("s")


@pytest.mark.parametrize(
    ("step", "status"),
    [
        (StepState("s"), "pending"),
        (StepState("s", Forward.SUCCEEDED), "succeeded"),
        (StepState("s", Forward.UNKNOWN, Undo.AWAITED), "compensating"),
        (StepState("s", Forward.SUCCEEDED, Undo.UNDONE), "compensated"),
        (StepState("s", Forward.UNKNOWN, Undo.NOTHING), "nothing_to_undo"),
        (StepState("s", Forward.SUCCEEDED, Undo.SETTLED), "settled"),
    ],
)
def test_a_step_has_one_status(step: StepState, status: str) -> None:
    assert step_status(step) == status
