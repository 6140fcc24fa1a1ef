"""The contracts' edges: what an order may be, what a message may be, and what is masked."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from contracts.commands import COMMANDS, ChargePayment, Command, ReserveInventory, ShipOrder
from contracts.currencies import MINOR_UNIT_EXPONENTS, format_amount
from contracts.envelope import Body, Direction
from contracts.events import EVENTS, OUTCOMES, Event, InventoryRejectedEvent, PaymentSuccessfulEvent
from contracts.limits import MAX_AMOUNT, MAX_LINES, MAX_QUANTITY
from contracts.orders import Order, OrderLine, ShippingAddress

LINE = {"sku": "SKU-1", "quantity": 2, "unit_price": 1299}
ADDRESS = {"name": "A. Person", "line1": "1 Street", "city": "Town", "postal_code": "12345", "country": "DE"}
ORDER: dict[str, Any] = {
    "customer_id": "c-42",
    "currency": "EUR",
    "lines": [LINE],
    "payment_method": "pm_card_visa",
    "shipping_address": ADDRESS,
}
IDENTITIES = {"saga_id": UUID(int=1), "order_id": UUID(int=2), "step": "charge", "direction": "forward"}


def order(**changes: Any) -> Order:
    """The order above as JSON from outside, with some fields changed."""
    return Order.model_validate_json(json.dumps({**ORDER, **changes}))


def line(**changes: Any) -> list[dict[str, Any]]:
    return [{**LINE, **changes}]


def address(**changes: Any) -> dict[str, Any]:
    return {**ADDRESS, **changes}


def refusals(raised: pytest.ExceptionInfo[ValidationError]) -> set[tuple[str, str]]:
    """What was refused: where, and the kind of error."""
    return {(".".join(map(str, each["loc"])), each["type"]) for each in raised.value.errors()}


# -- orders -----------------------------------------------------------------------------------------------


def test_an_order_has_a_total_in_minor_units() -> None:
    lines = [LINE, {"sku": "SKU-2", "quantity": 1, "unit_price": 500}]
    assert order(lines=lines).total == 2 * 1299 + 500


@pytest.mark.parametrize(
    "changes",
    [
        {"lines": line(quantity=MAX_QUANTITY)},
        {"lines": line(unit_price=0)},
        {"lines": line(quantity=1, unit_price=MAX_AMOUNT)},
        {"lines": [{**LINE, "sku": f"SKU-{at}"} for at in range(MAX_LINES)]},
        {"lines": line(sku="a" * 64)},
        {"customer_id": "c" * 128},
        {"customer_id": "someone@example.org"},
        {"currency": "JPY"},
        {"shipping_address": address(name="Ø" * 200, line2="Hinterhaus", postal_code="1" * 20)},
    ],
    ids=str,
)
def test_what_lies_on_the_limit_is_accepted(changes: dict[str, Any]) -> None:
    order(**changes)


@pytest.mark.parametrize(
    ("changes", "where", "kind"),
    [
        ({"lines": []}, "lines", "too_short"),
        ({"lines": [{**LINE, "sku": f"S{at}"} for at in range(MAX_LINES + 1)]}, "lines", "too_long"),
        ({"lines": [LINE, LINE]}, "", "duplicate_sku"),
        ({"lines": line(quantity=0)}, "lines.0.quantity", "greater_than_equal"),
        ({"lines": line(quantity=-1)}, "lines.0.quantity", "greater_than_equal"),
        ({"lines": line(quantity=MAX_QUANTITY + 1)}, "lines.0.quantity", "less_than_equal"),
        ({"lines": line(quantity=True)}, "lines.0.quantity", "int_type"),
        ({"lines": line(quantity="2")}, "lines.0.quantity", "int_type"),
        ({"lines": line(quantity=2.0)}, "lines.0.quantity", "int_type"),
        ({"lines": line(quantity=1e400)}, "lines.0.quantity", "int_type"),
        ({"lines": line(quantity=float("nan"))}, "lines.0.quantity", "int_type"),
        ({"lines": line(quantity=None)}, "lines.0.quantity", "int_type"),
        ({"lines": line(quantity=10**30)}, "lines.0.quantity", "less_than_equal"),
        ({"lines": line(unit_price=-1)}, "lines.0.unit_price", "greater_than_equal"),
        ({"lines": line(unit_price=MAX_AMOUNT + 1)}, "lines.0.unit_price", "less_than_equal"),
        ({"lines": line(unit_price=False)}, "lines.0.unit_price", "int_type"),
        ({"lines": line(unit_price=12.99)}, "lines.0.unit_price", "int_type"),
        ({"lines": line(quantity=2, unit_price=MAX_AMOUNT)}, "", "total_too_large"),
        ({"lines": line(sku="")}, "lines.0.sku", "string_pattern_mismatch"),
        ({"lines": line(sku="a" * 65)}, "lines.0.sku", "string_pattern_mismatch"),
        ({"lines": line(sku="SKU 1")}, "lines.0.sku", "string_pattern_mismatch"),
        ({"lines": line(sku="SKU\n")}, "lines.0.sku", "string_pattern_mismatch"),
        ({"lines": line(sku="SKU\x00")}, "lines.0.sku", "string_pattern_mismatch"),
        ({"lines": line(sku=7)}, "lines.0.sku", "string_type"),
        ({"customer_id": "c" * 129}, "customer_id", "string_pattern_mismatch"),
        ({"customer_id": "; DROP"}, "customer_id", "string_pattern_mismatch"),
        ({"currency": "EURO"}, "currency", "value_error"),
        ({"currency": "eur"}, "currency", "value_error"),
        ({"currency": "XXX"}, "currency", "value_error"),
        ({"currency": 978}, "currency", "string_type"),
        ({"payment_method": "pm card"}, "payment_method", "string_pattern_mismatch"),
        ({"shipping_address": None}, "shipping_address", "model_type"),
        ({"note": "hurry"}, "note", "extra_forbidden"),
        ({"lines": line(discount=5)}, "lines.0.discount", "extra_forbidden"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_lies_beyond_is_refused_where_it_stands(changes: dict[str, Any], where: str, kind: str) -> None:
    with pytest.raises(ValidationError) as raised:
        order(**changes)
    assert refusals(raised) == {(where, kind)}


@pytest.mark.parametrize(
    ("field", "value", "kind"),
    [
        ("name", "", "string_too_short"),
        ("name", "n" * 201, "string_too_long"),
        ("line1", "1\x1b[31m", "string_pattern_mismatch"),
        ("line2", "", "string_too_short"),
        ("city", "To\x00wn", "string_pattern_mismatch"),
        ("postal_code", "1" * 21, "string_too_long"),
        ("country", "Germany", "string_pattern_mismatch"),
        ("country", "de", "string_pattern_mismatch"),
        ("planet", "Earth", "extra_forbidden"),
    ],
)
def test_so_is_what_lies_beyond_in_an_address(field: str, value: str, kind: str) -> None:
    with pytest.raises(ValidationError) as raised:
        order(shipping_address=address(**{field: value}))
    assert refusals(raised) == {(f"shipping_address.{field}", kind)}


def test_a_total_is_checked_over_all_lines() -> None:
    halves = [{"sku": sku, "quantity": 1, "unit_price": MAX_AMOUNT // 2 + 1} for sku in ("A", "B")]
    with pytest.raises(ValidationError, match="total"):
        order(lines=halves)


def test_a_lone_surrogate_is_refused_in_any_guise() -> None:
    as_json = json.dumps({**ORDER, "shipping_address": address(name="\ud800")})
    with pytest.raises(ValidationError):
        Order.model_validate_json(as_json)
    with pytest.raises(ValidationError):
        Order.model_validate({**ORDER, "shipping_address": address(name="\ud800")})


def test_a_missing_field_is_named() -> None:
    with pytest.raises(ValidationError) as raised:
        Order.model_validate({field: ORDER[field] for field in ORDER if field != "currency"})
    assert refusals(raised) == {("currency", "missing")}


def test_an_order_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        order().currency = "USD"  # type: ignore[misc]


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*ORDER, "x"]), ANY_JSON))
def test_whatever_comes_is_an_order_or_refused(changes: dict[str, Any]) -> None:
    try:
        accepted = Order.model_validate({**ORDER, **changes})
    except ValidationError:
        return
    assert Order.model_validate_json(accepted.model_dump_json()) == accepted


# -- currencies -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "currency", "written"),
    [
        (1299, "EUR", "12.99 EUR"),
        (5, "EUR", "0.05 EUR"),
        (0, "EUR", "0.00 EUR"),
        (1299, "JPY", "1299 JPY"),
        (1299, "KWD", "1.299 KWD"),
        (1299, "CLF", "0.1299 CLF"),
        (MAX_AMOUNT, "EUR", "90071992547409.91 EUR"),
    ],
)
def test_amounts_are_written_with_their_currencys_decimals(amount: int, currency: str, written: str) -> None:
    assert format_amount(amount, currency) == written


def test_every_currency_code_has_three_capital_letters() -> None:
    assert all(len(code) == 3 and code.isupper() for code in MINOR_UNIT_EXPONENTS)


# -- messages ---------------------------------------------------------------------------------------------

CHARGE: dict[str, Any] = {
    **IDENTITIES,
    "customer_id": "c-42",
    "amount": 2598,
    "currency": "EUR",
    "payment_method": "pm_card_visa",
}


def test_a_message_with_a_field_that_is_not_known_here_is_read_without_it() -> None:
    read = ChargePayment.model_validate({**CHARGE, "risk_score": 7})
    assert read == ChargePayment.model_validate(CHARGE)


def test_also_deep_inside() -> None:
    lines = [{"sku": "SKU-1", "quantity": 2, "batch": "B7"}]
    reserve = ReserveInventory.model_validate({**IDENTITIES, "lines": lines})
    ship = ShipOrder.model_validate({**IDENTITIES, "lines": lines, "shipping_address": address(floor=3)})
    assert reserve.lines == ship.lines
    assert ship.shipping_address.model_dump(exclude_none=True) == ADDRESS


def test_a_customers_address_goes_into_a_command_as_it_is() -> None:
    submitted = ShippingAddress.model_validate(ADDRESS)
    ship = ShipOrder.model_validate(
        {**IDENTITIES, "lines": [{"sku": "A", "quantity": 1}], "shipping_address": submitted}
    )
    assert ShipOrder.model_validate_json(ship.model_dump_json()).shipping_address.model_dump() == (
        submitted.model_dump()
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"saga_id": "7"},
        {"order_id": None},
        {"direction": "sideways"},
        {"step": ""},
        {"step": "char\x00ge"},
        {"step": "s" * 65},
        {"amount": True},
        {"amount": -1},
        {"amount": MAX_AMOUNT + 1},
        {"amount": float("nan")},
        {"currency": ""},
        {"currency": 978},
        {"currency": "EU\x00"},
    ],
    ids=str,
)
def test_a_message_that_says_something_impossible_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ChargePayment.model_validate({**CHARGE, **changes})


def test_words_for_people_lose_what_cannot_be_stored() -> None:
    told = InventoryRejectedEvent.model_validate(
        {**IDENTITIES, "code": "out_of_stock", "message": "no\x00ne"}
    )
    assert told.message == "no\ufffdne"


def test_directions_and_types_are_words_on_the_wire() -> None:
    written = json.loads(ChargePayment.model_validate(CHARGE).model_dump_json())
    assert written["direction"] == Direction.FORWARD.value == "forward"
    assert written["saga_id"] == "00000000-0000-0000-0000-000000000001"


def subclasses(of: type[Body]) -> Iterator[type[Body]]:
    for each in of.__subclasses__():
        yield each
        yield from subclasses(each)


def test_every_command_and_event_is_listed_by_its_name() -> None:
    bases = {"OutcomeEvent", "Rejection", "CompensationOutcome", "OrderEnded", "ReturnEvent"}
    ours = [each for each in subclasses(Command) if each.__module__ == "contracts.commands"]
    assert {each.__name__ for each in ours} == set(COMMANDS)
    ours = [each for each in subclasses(Event) if each.__module__ == "contracts.events"]
    assert {each.__name__ for each in ours} - bases == set(EVENTS)
    assert set(OUTCOMES) < set(EVENTS)


def test_every_event_has_a_routing_key_of_its_own() -> None:
    keys = [event.key for event in EVENTS.values()]
    assert len(set(keys)) == len(keys)
    assert all(len(key.split(".")) == 2 for key in keys)


def test_bodies_survive_being_copied_between_processes() -> None:
    charge = ChargePayment.model_validate(CHARGE)
    assert pickle.loads(pickle.dumps(charge)) == charge
    assert PaymentSuccessfulEvent.model_fields.keys() > {"reference"}


# -- what is masked ---------------------------------------------------------------------------------------


def sensitive(model: type[BaseModel]) -> set[str]:
    """The fields that every view and log masks."""
    properties = model.model_json_schema()["properties"]
    return {name for name, schema in properties.items() if schema.get("sensitive") is True}


def test_payment_method_and_address_are_sensitive_wherever_they_stand() -> None:
    assert sensitive(Order) == {"payment_method", "shipping_address"}
    assert sensitive(ChargePayment) == {"payment_method"}
    assert sensitive(ShipOrder) == {"shipping_address"}
    models: tuple[type[BaseModel], ...] = (*COMMANDS.values(), *EVENTS.values(), Order)
    for model in models:
        kept = {"payment_method", "shipping_address"} & set(model.model_fields)
        assert sensitive(model) == kept, model


def test_a_line_is_a_value_of_its_own() -> None:
    assert TypeAdapter(OrderLine).validate_python(LINE).unit_price == 1299
