"""Money that the sandbox sets aside, captures and gives up, through the production client (P6, P10, S27)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from oms.sandbox import Sandbox, SandboxExchange, create_sandbox
from participants.payment.gateway import (
    Authorized,
    Charged,
    Declined,
    FoundAuthorization,
    FoundCharge,
    FoundRelease,
    HttpPaymentGateway,
    Refunded,
    Released,
)
from participants.provider_http import HttpExchange
from participants.provider_terms import ProviderMisuse, ProviderUnavailable, Voided
from tests.support.serving import serving

SAGA = "00000000-0000-0000-0000-000000000007"
KEY, VOID, CAPTURE = (f"{SAGA}:{work}" for work in ("authorize:forward", "authorize:compensating", "capture"))


@pytest.fixture(params=["direct", "http"])
async def gateway(
    request: pytest.FixtureRequest, migrated_database_url: str
) -> AsyncIterator[HttpPaymentGateway]:
    """Both ways to the sandbox: what holds on one holds on the other."""
    engine = create_async_engine(migrated_database_url)
    sandbox = Sandbox(engine)
    if request.param == "direct":
        yield HttpPaymentGateway(SandboxExchange(sandbox))
    else:
        async with serving(create_sandbox(sandbox)) as url:
            http = HttpExchange(url)
            yield HttpPaymentGateway(http)
            await http.close()
    await engine.dispose()


async def authorized(gateway: HttpPaymentGateway, method: str = "pm_card_visa") -> str:
    """The reference of 12.99 EUR that are set aside."""
    answer = await gateway.authorize(KEY, "o-1", 1299, "EUR", method)
    assert isinstance(answer, Authorized)
    return answer.reference


async def test_money_is_set_aside_once_and_answered_the_same_every_time(gateway: HttpPaymentGateway) -> None:
    reference = await authorized(gateway)
    assert await authorized(gateway) == reference
    assert await gateway.find_authorization(KEY) == Authorized(reference)
    found = FoundAuthorization(KEY, reference, 1299, "EUR")
    assert await gateway.authorizations_of("o-1") == (found,)
    assert await gateway.charges_of("o-1") == ()


async def test_a_decline_is_kept_and_sets_nothing_aside(gateway: HttpPaymentGateway) -> None:
    declined = await gateway.authorize(KEY, "o-1", 1299, "EUR", "pm_card_declined")
    assert isinstance(declined, Declined)
    assert await gateway.find_authorization(KEY) == declined
    assert await gateway.authorizations_of("o-1") == ()


async def test_a_capture_is_a_charge_of_its_own(gateway: HttpPaymentGateway) -> None:
    reference = await authorized(gateway)
    captured = await gateway.capture(CAPTURE, reference, 1299)
    assert isinstance(captured, Charged)
    assert await gateway.capture(CAPTURE, reference, 1299) == captured
    assert await gateway.find_charge(CAPTURE) == captured
    charge = FoundCharge(CAPTURE, captured.reference, 1299, "EUR", refunded=0)
    assert await gateway.charges_of("o-1") == (charge,)
    assert isinstance(await gateway.refund("back", captured.reference, 300), Refunded)
    [refunded] = await gateway.charges_of("o-1")
    assert refunded.refunded == 300


async def test_it_may_be_captured_in_parts_and_never_more_than_is_left(gateway: HttpPaymentGateway) -> None:
    reference = await authorized(gateway)
    await gateway.capture("first", reference, 1000)
    with pytest.raises(ProviderMisuse, match="more_than_authorized"):
        await gateway.capture("too-much", reference, 300)
    assert await gateway.find_charge("too-much") is None
    await gateway.capture("second", reference, 299)
    assert sum(charge.amount for charge in await gateway.charges_of("o-1")) == 1299


async def test_what_was_given_up_is_not_captured(gateway: HttpPaymentGateway) -> None:
    reference = await authorized(gateway)
    released = await gateway.release(VOID, reference)
    assert await gateway.release(VOID, reference) == released
    assert await gateway.find_release(VOID) == released
    assert await gateway.releases_of("o-1") == (FoundRelease(VOID, released.reference, reference),)
    declined = await gateway.capture(CAPTURE, reference, 1299)
    assert isinstance(declined, Declined)
    assert declined.code == "authorization_released"
    assert await gateway.charges_of("o-1") == ()


async def test_a_capture_of_what_has_expired_is_declined_and_stays_so(gateway: HttpPaymentGateway) -> None:
    reference = await authorized(gateway, "pm_authorization_expires")
    declined = await gateway.capture(CAPTURE, reference, 1299)
    assert isinstance(declined, Declined)
    assert declined.code == "authorization_expired"
    assert await gateway.capture(CAPTURE, reference, 1299) == declined
    assert await gateway.find_charge(CAPTURE) == declined
    assert await gateway.void(CAPTURE) == declined
    assert isinstance(await gateway.release(VOID, reference), Released)


async def test_a_flaky_capture_fails_twice_and_then_takes_the_money_once(gateway: HttpPaymentGateway) -> None:
    reference = await authorized(gateway, "pm_capture_flaky")
    for _ in range(2):
        with pytest.raises(ProviderUnavailable, match="503"):
            await gateway.capture(CAPTURE, reference, 1299)
        assert await gateway.find_charge(CAPTURE) is None
    assert isinstance(await gateway.capture(CAPTURE, reference, 1299), Charged)
    assert [charge.amount for charge in await gateway.charges_of("o-1")] == [1299]


async def test_under_a_closed_key_nothing_happens_any_more(gateway: HttpPaymentGateway) -> None:
    assert await gateway.close_authorization(KEY) == Voided()
    with pytest.raises(ProviderMisuse, match="key_voided"):
        await authorized(gateway)
    assert await gateway.find_authorization(KEY) == Voided()


async def test_a_key_that_has_its_answer_keeps_it(gateway: HttpPaymentGateway) -> None:
    reference = await authorized(gateway)
    assert await gateway.close_authorization(KEY) == Authorized(reference)


async def test_nobody_captures_or_gives_up_what_was_never_set_aside(gateway: HttpPaymentGateway) -> None:
    for ask in (gateway.capture(CAPTURE, "au_none", 1), gateway.release(VOID, "au_none")):
        with pytest.raises(ProviderMisuse, match="unknown_authorization"):
            await ask
