"""A provider step reads what it noted of a command, and what earlier releases noted."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
from pydantic import ConfigDict, Field, PlainSerializer, field_validator
from pydantic_core import to_json

from contracts.commands import CapturePayment, ChargePayment, Command, ShipOrder, Verdict
from contracts.envelope import Direction
from oms.kit import SENSITIVE, Errand, OutcomeEvent, PermanentFailure, Reference, Rejection
from participants.fence import State
from participants.gate import opened
from participants.kit.errands import StepAtProvider
from participants.kit.participant import Participant
from participants.ledger import LedgerRow
from participants.payment.gateway import HttpPaymentGateway
from participants.payment.handlers import payment
from participants.provider_http import HttpExchange
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


class Capturing(HttpPaymentGateway):
    """A gateway that says the same of every capture."""

    def __init__(self, answer: Declined) -> None:
        super().__init__(HttpExchange("http://127.0.0.1:1"))
        self._answer = answer

    async def capture(self, key: str, reference: str, amount: int) -> Declined:
        return self._answer

    async def find_charge(self, key: str) -> Declined:
        return self._answer

    async def void(self, key: str) -> Declined:
        return self._answer


CAPTURE = CapturePayment(
    saga_id=Case().saga_id,
    order_id=Case().order_id,
    step="capture",
    direction=Direction.FORWARD,
    authorization="au_1",
    amount=2598,
    currency="EUR",
)


def assert_parcel(client: Asked, case: Case) -> None:
    """The carrier was asked for what the command says."""
    lines, address = client.asked[2:]
    assert lines == case.ship().lines
    assert address.model_dump() == case.ship().shipping_address.model_dump()


def row_of(participant: Participant, command: Command, **noted: Any) -> LedgerRow:
    step = participant.declared(type(command).__name__)
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


async def test_a_step_without_a_rejection_is_refused_for_good_with_its_providers_own_code() -> None:
    step = StepAtProvider(
        payment.declared("CapturePayment"), Capturing(Declined("too_late", "pm-1 is closed"))
    )
    noted = row_of(payment, CAPTURE, details=step.details(CAPTURE), request=step.request(CAPTURE))
    with pytest.raises(ProviderMisuse, match=r"^too_late: its provider refuses CapturePayment for good"):
        await step.act("key", noted)


async def test_such_a_refusal_proves_that_nothing_happened() -> None:
    declined = Declined("too_late", "It is closed.")
    step = StepAtProvider(payment.declared("CapturePayment"), Capturing(declined))
    assert await step.find("key", row_of(payment, CAPTURE)) == declined
    assert await step.close("key", row_of(payment, CAPTURE)) == declined


class Stamped(Command):
    """A command that may be read strictly, and writes itself in its own way."""

    model_config = ConfigDict(strict=True, extra="forbid", validate_by_name=True)

    participant = "stamps"
    at: datetime
    until: timedelta
    parts: tuple[int, ...]
    kinds: tuple[Verdict, ...]
    price: Decimal
    second: Annotated[datetime, PlainSerializer(lambda at: at.second)]
    note: Annotated[str | None, Field(exclude_if=lambda note: note is None)] = None
    card: Annotated[str, Field(alias="cardNumber", json_schema_extra=SENSITIVE)] = "none"

    @field_validator("second", mode="before")
    @classmethod
    def _a_second(cls, second: object) -> object:
        if not isinstance(second, int):
            raise ValueError("not a second of a minute")
        return NOW.replace(second=second)


class StampedEvent(OutcomeEvent):
    key = "stamps.stamped"
    reference: Reference


class StampRefused(Rejection):
    key = "stamps.refused"


class Stamping:
    """Remembers what it is asked, and answers as it is told."""

    rejection = StampRefused

    def __init__(self, client: Any) -> None:
        self.client = client

    async def call(self, errand: Errand, command: Stamped) -> object:
        self.client.asked = (*self.client.asked, command)
        return self.client.answer

    async def find(self, errand: Errand) -> object:
        return self.client.answer

    close = recall = find

    def success(self, errand: Errand, took: Took) -> StampedEvent:
        return errand.answer(StampedEvent, reference=took.reference)


stamps = Participant("stamps")
stamps.provider_step(Stamped)(Stamping)


def stamped() -> Stamped:
    said = {
        "at": "2026-01-02T03:04:05Z",
        "until": "PT5M",
        "parts": [1, 2],
        "kinds": ["took_effect"],
        "price": "1.50",
        "second": 7,
        "cardNumber": "4111",
        "saga_id": str(Case().saga_id),
        "order_id": str(Case().order_id),
        "step": "stamp",
        "direction": "forward",
    }
    return Stamped.model_validate_json(json.dumps(said))


async def test_every_call_reads_its_command_alike_however_it_is_written() -> None:
    command, client = stamped(), Asked(Took("st_1"))
    step = StepAtProvider(stamps.steps[0], client)
    first = row_of(stamps, command, details=step.details(command), request=step.request(command))
    noted = {"details": first.details, "request": first.request}
    assert first.details["note"] is None
    later = replace(first, **json.loads(to_json(noted)))
    earlier = replace(first, details={**first.details, "until": "PT5M", "at": "2026-01-02T03:04:05Z"})
    for row in (first, later, earlier):
        assert await step.act("key", row) == Took("st_1")
    assert client.asked == (command,) * 3


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (Declined("card-declined", "No."), Declined("declined", "No.")),
        (Declined("x" * 65, "No."), Declined("declined", "No.")),
        (Declined("no_cover", "n" * 1001), Declined("no_cover", "n" * 1000)),
        (Declined("no_cover", "a\x00b\ud800c\n"), Declined("no_cover", "a b c ")),
        (Declined(402, None), Declined("declined", "")),  # type: ignore[arg-type]
        (SimpleNamespace(code="No", message=b"no", reference=None), Declined("declined", "")),
        (Took("r" * 200), Took("r" * 200)),
    ],
)
async def test_a_refusal_of_any_client_is_tidied_up(answer: object, found: object) -> None:
    step = StepAtProvider(stamps.steps[0], Asked(answer))
    noted = row_of(stamps, stamped(), details=step.details(stamped()), request=step.request(stamped()))
    assert await step.act("key", noted) == found
    assert await step.find("key", noted) == found
    assert await step.close("key", noted) == found
    if isinstance(found, Declined):
        assert step.rejection(noted, found).model_dump(include={"code", "message"}) == {
            "code": found.code,
            "message": found.message,
        }
    else:
        assert step.success(noted, found) == step.success(noted, Took("r" * 200))


_NO_REFERENCE = "a reference that is not printable text of at most 200"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Took("r" * 201), _NO_REFERENCE),
        (Took(""), _NO_REFERENCE),
        (Took("a\x00b"), _NO_REFERENCE),
        (Took("a\ud800b"), _NO_REFERENCE),
        (Took(7), _NO_REFERENCE),  # type: ignore[arg-type]
        (SimpleNamespace(reference=["st_1"], code="no", message="no"), _NO_REFERENCE),
        ({"reference": "st_1"}, "answered dict, which is no answer"),
        ("st_1", "answered str, which is no answer"),
        (SimpleNamespace(reference=None), "answered SimpleNamespace, which is no answer"),
        ([Took("st_1")], "which has no key|which is no answer"),
    ],
)
async def test_what_cannot_be_an_answer_is_refused_in_a_sentence(answer: object, said: str) -> None:
    step = StepAtProvider(stamps.steps[0], Asked(answer))
    noted = row_of(stamps, stamped(), details=step.details(stamped()), request=step.request(stamped()))
    for ask in (step.act, step.find, step.close, step.recall):
        with pytest.raises(ProviderMisuse, match=said):
            await ask("key", noted)


class ForgetsToReturn(Stamping):
    def success(self, errand: Errand, took: Took) -> StampedEvent:
        errand.answer(StampedEvent, reference=took.reference)
        return None  # type: ignore[return-value]


def test_an_event_that_is_not_returned_is_told_in_a_sentence() -> None:
    careless = Participant("stamps")
    careless.provider_step(Stamped)(ForgetsToReturn)
    step = StepAtProvider(careless.steps[0], Asked())
    with pytest.raises(PermanentFailure, match="success returned NoneType, not StampedEvent"):
        step.success(row_of(stamps, stamped()), Took("st_1"))
