"""A provider step reads what it noted of a command, and what earlier releases noted."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from pydantic_core import to_json

from contracts.commands import ChargePayment, Command, ShipOrder
from participants.fence import State
from participants.gate import opened
from participants.kit.errands import StepAtProvider
from participants.kit.participant import Participant
from participants.ledger import LedgerRow
from participants.payment.handlers import payment
from participants.provider_plan import Declined, NotFound, Took
from participants.provider_terms import ProviderMisuse
from participants.shipping.handlers import shipping
from tests.support.participants import NOW, Case, delivered

EARLIER_ADDRESS = {
    "name": "A. Person",
    "line1": "1 Street",
    "city": "Town",
    "postal_code": "12345",
    "country": "DE",
}


class Asked:
    """A client that remembers what it was asked and answers the same always."""

    def __init__(self, answer: object = None) -> None:
        self.answer = answer
        self.asked: tuple[Any, ...] = ()

    async def charge(self, *asked: Any) -> object:
        self.asked = asked
        return self.answer

    async def find_charge(self, key: str) -> object:
        return self.answer

    async def void(self, key: str) -> object:
        return self.answer

    ship = charge


def assert_parcel(client: Asked, case: Case) -> None:
    """The carrier was asked for what the command says."""
    lines, address = client.asked[2:]
    assert lines == case.ship().lines
    assert address.model_dump() == case.ship().shipping_address.model_dump()


def row_of(participant: Participant, command: Command, **noted: Any) -> LedgerRow:
    step = participant.steps[0]
    received = participant.works.decode(delivered(command, participant.name))
    return replace(opened(received, step.work, State.INTENT, NOW), **noted)


async def test_a_charge_noted_by_the_last_release_is_repeated_as_it_was_asked() -> None:
    case, client = Case(), Asked(Took("ch_1"))
    earlier = {"amount": 2598, "currency": "EUR"}
    noted = row_of(payment, case.charge(), details=earlier, request={"payment_method": "pm_card_visa"})
    assert await StepAtProvider(payment.steps[0], client).act("key", noted) == Took("ch_1")
    assert client.asked == ("key", str(case.order_id), 2598, "EUR", "pm_card_visa")


async def test_a_shipment_noted_by_the_last_release_is_repeated_as_it_was_asked() -> None:
    case, client = Case(), Asked(Took("sh_1"))
    lines = [{"sku": "SKU-1", "quantity": 2}]
    noted = row_of(
        shipping, case.ship(), details={"lines": lines}, request={"shipping_address": EARLIER_ADDRESS}
    )
    assert await StepAtProvider(shipping.steps[0], client).act("key", noted) == Took("sh_1")
    assert_parcel(client, case)


@pytest.mark.parametrize(
    ("participant", "command", "details", "request_"),
    [
        (payment, Case().charge(), ["amount", "currency"], ["payment_method"]),
        (shipping, Case().ship(), ["lines"], ["shipping_address"]),
    ],
)
def test_what_is_noted_is_what_the_last_release_can_read(
    participant: Participant, command: ChargePayment | ShipOrder, details: list[str], request_: list[str]
) -> None:
    step = StepAtProvider(participant.steps[0], Asked())
    noted = (step.details(command), step.request(command))
    assert [sorted(each) for each in noted] == [details, request_]
    assert json.loads(to_json(noted)) == json.loads(json.dumps([dict(each) for each in noted]))


async def test_a_command_read_back_is_the_one_that_was_noted() -> None:
    case, client = Case(), Asked(Took("sh_1"))
    step = StepAtProvider(shipping.steps[0], client)
    noted = row_of(
        shipping,
        case.ship(),
        details=json.loads(to_json(step.details(case.ship()))),
        request=json.loads(to_json(step.request(case.ship()))),
    )
    await step.act("key", noted)
    assert_parcel(client, case)


@pytest.mark.parametrize("answer", [7, "yes", object(), None])
async def test_a_client_that_answers_a_call_with_no_answer_is_told_so(answer: object) -> None:
    case = Case()
    step = StepAtProvider(payment.steps[0], Asked(answer))
    noted = row_of(payment, case.charge(), details=step.details(case.charge()))
    with pytest.raises(ProviderMisuse):
        await step.act("key", replace(noted, request=step.request(case.charge())))


async def test_closing_a_key_must_be_answered() -> None:
    case = Case()
    step = StepAtProvider(payment.steps[0], Asked(None))
    noted = row_of(payment, case.charge())
    assert await step.find("key", noted) == NotFound()
    with pytest.raises(ProviderMisuse, match="says nothing of a key"):
        await step.close("key", noted)


async def test_a_refusal_is_read_off_its_code_and_message() -> None:
    step = StepAtProvider(payment.steps[0], Asked(Declined("no_cover", "No.")))
    assert await step.find("key", row_of(payment, Case().charge())) == Declined("no_cover", "No.")
