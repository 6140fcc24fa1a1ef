"""What the contracts mark as sensitive, taken out of what others say."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel, ValidationError

from contracts.failures import ERROR_MESSAGE
from contracts.sensitive import SENSITIVE_NAMES, without_sensitive
from messaging.errors import PermanentFailure
from messaging.retries import RetryPolicy, after_failure
from messaging.transport import Delivery
from orchestrator.dead_letters.collector import dead_letter
from tests.support.orders import NOON

ADDRESS = {"name": "Zoë Quux", "line1": '7 "Alley"', "city": "Ely", "postal_code": "9", "country": "DE"}
COMMAND: dict[str, Any] = {"step": "ship", "payment_method": "pm_secret", "shipping_address": ADDRESS}


_ID = UUID(int=7)
_ENVELOPE: dict[str, Any] = {
    "queue": "shipping.commands",
    "message_id": str(_ID),
    "type": "ShipOrder",
    "correlation_id": str(_ID),
    "exchange": "",
    "routing_key": "shipping.commands",
    "redelivered": False,
}


def test_the_contracts_say_what_is_sensitive() -> None:
    assert {"payment_method", "shipping_address"} == SENSITIVE_NAMES


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("PM_SECRET was refused", "*** was refused"),
        ("no Zoë Quux in Ely, DE 9", "no *** in ***, DE 9"),
        (f"cannot read {json.dumps(ADDRESS['line1'])}", 'cannot read "***"'),
        (f"cannot read {json.dumps(ADDRESS['name'])}", 'cannot read "***"'),
        ("step ship failed", "step ship failed"),
        ("", ""),
    ],
)
def test_words_lose_what_the_message_holds(said: str, shown: str) -> None:
    assert without_sensitive(said, COMMAND) == shown
    assert without_sensitive(said, json.dumps(COMMAND).encode()) == shown


@pytest.mark.parametrize(
    "document", [b"", b"\xff", b"[" * 100_000, b"null", None, 1, {"payment_method": None}]
)
def test_any_message_leaves_the_words_readable(document: Any) -> None:
    assert without_sensitive("it failed", document) == "it failed"


def test_a_value_within_another_is_hidden_with_it() -> None:
    order = {"shipping_address": {"name": "Anna", "line1": "Anna Street"}}
    assert without_sensitive("Anna Street, Anna", order) == "***, ***"


def test_a_dead_letter_repeats_nothing_whoever_has_written_its_headers() -> None:
    body = json.dumps(COMMAND).encode()
    headers = {ERROR_MESSAGE: "cannot charge pm_secret", "error-stack": "charge('pm_secret')"}
    delivery = Delivery(body=body, headers=headers, **_ENVELOPE)
    dead = dead_letter(delivery, _ID, NOON)
    assert dead.error_message == "cannot charge ***"
    assert "pm_secret" not in f"{dead.error_stack}{dead.headers}"
    assert dead.body == body


def test_a_failing_message_takes_no_secret_along_in_its_headers() -> None:
    delivery = Delivery(body=json.dumps(COMMAND).encode(), headers={}, **_ENVELOPE)
    error = PermanentFailure("provider_misuse", "400 Zoë Quux")
    assert after_failure(delivery, error, RetryPolicy(), _ID, NOON, "t").headers[ERROR_MESSAGE] == "400 ***"


class Transfer(BaseModel):
    iban: str
    pin: int


def test_words_lose_the_values_of_the_fields_that_somebody_else_marks() -> None:
    body, names = b'{"iban": "DE44 5001", "pin": 4711, "amount": 4712}', {"iban", "pin"}
    error = PermanentFailure("bad_iban", "DE44 5001 with pin 4711 for 4712")
    shown = "*** with pin *** for 4712"
    delivery = Delivery(body=body, headers={}, **_ENVELOPE)
    hop = after_failure(delivery, error, RetryPolicy(), _ID, NOON, "t", names)
    assert hop.headers[ERROR_MESSAGE] == shown
    strange = Delivery(body=body, headers={ERROR_MESSAGE: str(error)}, **_ENVELOPE)
    assert dead_letter(strange, _ID, NOON, names).error_message == shown


def test_what_a_model_refuses_is_told_without_the_value_that_it_shortens() -> None:
    with pytest.raises(ValidationError) as refused:
        Transfer.model_validate({"iban": 1, "pin": "DE44500105175407324931" * 4})
    delivery = Delivery(body=b"{}", headers={}, **_ENVELOPE)
    said = after_failure(delivery, refused.value, RetryPolicy(), _ID, NOON, "t").headers[ERROR_MESSAGE]
    assert said.startswith("Transfer: iban: Input should be a valid string; pin: Input should be")
    assert "DE44" not in said
