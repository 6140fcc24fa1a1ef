"""The gateway against a stand-in that answers as Stripe's documentation says Stripe does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest
from oms_stripe.api import RequestRefused
from oms_stripe.gateway import KEY, URL, InvalidStripeSettings, StripeGateway, gateway
from oms_stripe.money import from_stripe, to_stripe
from oms_stripe.refusals import is_the_customers
from oms_stripe.stand_in import (
    DEBIT,
    FAILS,
    MOST,
    NOT_SWITCHED_ON,
    SLOW,
    TAKES_AND_FAILS,
    UNHEARD_OF,
    USED_UP,
    Books,
    serving,
)

from oms.kit.providers import (
    CallUnderWay,
    Charged,
    Declined,
    FoundCharge,
    FoundRefund,
    ProviderLimits,
    ProviderMisuse,
    ProviderUnavailable,
    Refunded,
    Voided,
)

VISA = "pm_card_visa"


@pytest.fixture
def books() -> Books:
    return Books()


@pytest.fixture
def url(books: Books) -> Iterator[str]:
    with serving(books) as url:
        yield url


@pytest.fixture
async def stripe(url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[StripeGateway]:
    monkeypatch.setenv(KEY, "sk_test_123")
    monkeypatch.setenv(URL, url)
    made = gateway(ProviderLimits(timeout_s=10, concurrency=20))
    yield made
    await made.close()


def a_key(direction: str = "forward") -> str:
    return f"{uuid4()}:charge:{direction}"


async def test_a_charge_is_made_once_and_found_by_its_key_and_its_order(
    stripe: StripeGateway, books: Books
) -> None:
    key, order = a_key(), str(uuid4())
    charged = await stripe.charge(key, order, 1299, "EUR", VISA)
    assert isinstance(charged, Charged)
    assert await stripe.charge(key, order, 1299, "EUR", VISA) == charged
    assert await stripe.find_charge(key) == charged
    assert await stripe.charges_of(order) == (FoundCharge(key, charged.reference, 1299, "EUR", 0),)
    assert len(books.charges) == 1


@pytest.mark.parametrize(
    ("method", "code"),
    [
        ("pm_card_chargeDeclined", "generic_decline"),
        ("pm_card_chargeDeclinedInsufficientFunds", "insufficient_funds"),
        ("pm_card_authenticationRequired", "authentication_required"),
    ],
)
async def test_a_refused_card_is_a_decline_with_its_code_and_stays_one(
    stripe: StripeGateway, method: str, code: str
) -> None:
    key, order = a_key(), str(uuid4())
    declined = await stripe.charge(key, order, 1299, "EUR", method)
    assert isinstance(declined, Declined)
    assert declined.code == code
    assert await stripe.charge(key, order, 1299, "EUR", method) == declined
    assert await stripe.find_charge(key) == declined
    assert await stripe.void(key) == declined
    assert await stripe.charges_of(order) == ()


@pytest.mark.parametrize(
    ("amount", "currency", "method", "code"),
    [
        (1299, "EUR", "pm_mistyped", "resource_missing"),
        (1299, "EUR", USED_UP, "payment_method_refused"),
        (1299, "EUR", DEBIT, "payment_intent_incompatible_payment_method"),
        (49, "EUR", VISA, "amount_too_small"),
        (MOST + 1, "EUR", VISA, "amount_too_large"),
        (1299, UNHEARD_OF.upper(), VISA, "currency_refused"),
        (1299, "MGA", VISA, "amount_without_a_unit"),
    ],
)
async def test_what_is_wrong_with_an_order_is_a_decline_that_lets_its_stock_go(
    stripe: StripeGateway, books: Books, amount: int, currency: str, method: str, code: str
) -> None:
    for pay in (stripe.charge, stripe.authorize):
        key = a_key()
        declined = await pay(key, str(uuid4()), amount, currency, method)
        assert isinstance(declined, Declined)
        assert declined.code == code
        assert method not in declined.message
        assert await stripe.void(key) == Voided()
    assert books.charges == {}


async def test_what_is_wrong_with_the_account_is_no_decline(stripe: StripeGateway) -> None:
    with pytest.raises(ProviderMisuse, match="payment_method_unactivated"):
        await stripe.charge(a_key(), str(uuid4()), 1299, "EUR", NOT_SWITCHED_ON)


@pytest.mark.parametrize(
    ("error", "is_theirs"),
    [
        ({"code": "payment_method_customer_mismatch"}, True),
        ({"code": "payment_method_currency_mismatch"}, True),
        ({"message": "The payment method is attached to a customer: provide that, too."}, True),
        ({"code": "parameter_invalid_empty", "param": "payment_method"}, True),
        ({"code": "payment_intent_invalid_parameter", "param": "payment_method_types"}, False),
        ({"code": "parameter_unknown", "param": "transfer_group"}, False),
        ({"code": "payment_method_configuration_failures"}, False),
        ({"code": "testmode_charges_only"}, False),
        ({"message": "This account may not do that."}, False),
        ({}, False),
    ],
)
def test_whose_doing_a_refused_request_is(error: dict[str, str], is_theirs: bool) -> None:
    assert is_the_customers(RequestRefused("POST: 400", error)) is is_theirs


async def test_another_request_under_a_key_is_refused_as_such(stripe: StripeGateway) -> None:
    key, order = a_key(), str(uuid4())
    await stripe.charge(key, order, 1299, "EUR", VISA)
    with pytest.raises(ProviderMisuse):
        await stripe.charge(key, order, 1300, "EUR", VISA)


async def test_an_error_that_stripe_repeats_for_ever_is_settled_by_its_books(
    stripe: StripeGateway, books: Books
) -> None:
    key, order = a_key(), str(uuid4())
    charged = await stripe.charge(key, order, 1299, "EUR", TAKES_AND_FAILS)
    assert isinstance(charged, Charged)
    assert len(books.charges) == 1


async def test_an_error_without_anything_in_the_books_is_no_answer(stripe: StripeGateway) -> None:
    key, order = a_key(), str(uuid4())
    for _ in range(2):
        with pytest.raises(ProviderUnavailable):
            await stripe.charge(key, order, 1299, "EUR", FAILS)
    with pytest.raises(ProviderUnavailable):
        await stripe.void(key)


async def test_a_payment_whose_answer_was_not_awaited_is_found(
    url: str, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, "sk_test_123")
    monkeypatch.setenv(URL, url)
    hasty = gateway(ProviderLimits(timeout_s=0.5, concurrency=5))
    key, order = a_key(), str(uuid4())
    assert isinstance(await hasty.charge(key, order, 1299, "EUR", SLOW), Charged)
    with pytest.raises(CallUnderWay):
        await hasty.charge(key, order, 1299, "EUR", SLOW)
    assert len(books.charges) == 1
    await hasty.close()


async def test_a_closed_key_never_charges(stripe: StripeGateway, books: Books) -> None:
    key = a_key()
    for _ in range(2):
        assert await stripe.void(key) == Voided()
    with pytest.raises(ProviderMisuse):
        await stripe.charge(key, str(uuid4()), 1299, "EUR", VISA)
    assert await stripe.find_charge(key) == Voided()
    assert books.charges == {}
    assert {intent["status"] for intent in books.intents.values()} == {"canceled"}


async def test_a_key_that_has_charged_is_not_closed(stripe: StripeGateway) -> None:
    key = a_key()
    charged = await stripe.charge(key, str(uuid4()), 1299, "EUR", VISA)
    assert await stripe.void(key) == charged


async def test_refunds_in_parts_are_made_once_each_and_never_exceed_the_charge(
    stripe: StripeGateway,
) -> None:
    key, order = a_key(), str(uuid4())
    charged = await stripe.charge(key, order, 1000, "EUR", VISA)
    assert isinstance(charged, Charged)
    back = key.replace("forward", "compensating")
    refunded = await stripe.refund(back, charged.reference, 400)
    assert isinstance(refunded, Refunded)
    assert await stripe.refund(back, charged.reference, 400) == refunded
    assert await stripe.find_refund(back) == refunded
    with pytest.raises(ProviderMisuse):
        await stripe.refund(a_key("compensating"), charged.reference, 601)
    await stripe.refund(a_key("compensating"), charged.reference, 600)
    assert [found.refunded for found in await stripe.charges_of(order)] == [1000]
    refunds = await stripe.refunds_of(order)
    assert FoundRefund(back, refunded.reference, charged.reference, 400) in refunds
    assert sum(refund.amount for refund in refunds) == 1000


@pytest.mark.parametrize("hours", [3, 24])
async def test_a_refund_is_found_for_as_long_as_its_key_lives(
    stripe: StripeGateway, books: Books, hours: float
) -> None:
    """Of one under a key of its own the charge is not known, and more refunds follow than fill some pages."""
    charged = await stripe.charge(a_key(), str(uuid4()), 1000, "EUR", VISA)
    assert isinstance(charged, Charged)
    key = f"{uuid4()}:refund:forward"
    refunded = await stripe.refund(key, charged.reference, 400)
    made = books.refunds[refunded.reference]
    made["created"] -= hours * 3600
    others = (f"re_{number}" for number in range(2100))
    books.refunds |= {name: {**made, "id": name, "metadata": {}} for name in others}
    assert await stripe.find_refund(key) == refunded
    assert await stripe.find_refund(f"{uuid4()}:refund:forward") is None


async def test_the_refund_of_an_undone_charge_is_found_however_old(
    stripe: StripeGateway, books: Books
) -> None:
    key = a_key()
    charged = await stripe.charge(key, str(uuid4()), 1000, "EUR", VISA)
    assert isinstance(charged, Charged)
    back = key.replace("forward", "compensating")
    refunded = await stripe.refund(back, charged.reference, 1000)
    books.refunds[refunded.reference]["created"] -= 7 * 24 * 3600
    assert await stripe.find_refund(back) == refunded


async def test_a_closed_key_is_known_for_as_long_as_it_lives(stripe: StripeGateway, books: Books) -> None:
    key = a_key()
    await stripe.void(key)
    for intent in books.intents.values():
        intent["created"] -= 24 * 3600
    assert await stripe.find_charge(key) == Voided()


async def test_what_is_authorized_is_captured_in_part_or_let_go(stripe: StripeGateway) -> None:
    order = str(uuid4())
    held = await stripe.authorize(a_key(), order, 1000, "EUR", VISA)
    assert isinstance(held, Charged)
    assert await stripe.charges_of(order) == ()
    assert await stripe.capture(a_key(), held.reference, 700, "EUR") == held
    assert [found.amount for found in await stripe.charges_of(order)] == [700]
    with pytest.raises(ProviderMisuse):
        await stripe.cancel(a_key(), held.reference)
    other = await stripe.authorize(a_key(), str(uuid4()), 1000, "EUR", VISA)
    assert isinstance(other, Charged)
    assert await stripe.cancel(a_key(), other.reference) == Voided()
    with pytest.raises(ProviderMisuse):
        await stripe.capture(a_key(), other.reference, 700, "EUR")


async def test_lists_of_several_pages_are_looked_through(stripe: StripeGateway) -> None:
    order = str(uuid4())
    keys = [a_key() for _ in range(130)]
    for key in keys:
        await stripe.charge(key, order, 100, "EUR", VISA)
    assert {found.key for found in await stripe.charges_of(order)} == {*keys}


async def test_a_key_of_the_account_that_stripe_refuses_is_misuse(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, "sk_live_123")
    monkeypatch.setenv(URL, url)
    stripe = gateway(ProviderLimits(10, 5))
    with pytest.raises(ProviderMisuse) as refused:
        await stripe.charge(a_key(), str(uuid4()), 1299, "EUR", VISA)
    assert "sk_live" not in str(refused.value)
    await stripe.close()


@pytest.mark.parametrize("secret", ["", "pk_test_123", "sk_test_", "sk_test_1 2"])
def test_a_key_that_is_none_is_refused_without_being_repeated(
    secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, secret)
    with pytest.raises(InvalidStripeSettings, match=f"{KEY} or {KEY}_FILE must be") as refused:
        gateway(ProviderLimits(10, 5))
    assert not secret or secret not in str(refused.value)


def test_the_few_units_that_differ_are_converted() -> None:
    assert to_stripe(1299, "EUR") == 1299
    assert (to_stripe(1299, "ISK"), from_stripe(129900, "ISK")) == (129900, 1299)
    assert (to_stripe(1300, "MGA"), from_stripe(13, "MGA")) == (13, 1300)
    with pytest.raises(ProviderMisuse):
        to_stripe(1299, "MGA")
