"""S27: what has expired is set aside anew and captured once, whenever its command is cut off and repeated."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from oms.sandbox import Sandbox, SandboxExchange
from participants.payment.gateway import (
    Authorized,
    Charged,
    Declined,
    HttpPaymentGateway,
    RenewalNotOffered,
)
from participants.payment.renewal import Renewal, has_expired
from participants.provider_http import Call, Reply
from participants.provider_terms import ProviderMisuse, Voided

ORDER = "o-1"
KEY = "00000000-0000-0000-0000-000000000007:capture:forward"
RENEWED, AGAIN = f"{KEY}:renew", f"{KEY}:again"


@pytest.fixture
async def gateway(migrated_database_url: str) -> AsyncIterator[HttpPaymentGateway]:
    engine = create_async_engine(migrated_database_url)
    yield HttpPaymentGateway(SandboxExchange(Sandbox(engine)))
    await engine.dispose()


class Expired:
    """12.99 EUR that were set aside, and the capture that was declined since that has expired."""

    def __init__(self, gateway: HttpPaymentGateway, reference: str, refused: Declined) -> None:
        self.gateway = gateway
        self.reference = reference
        self.refused = refused
        self.renewal = Renewal(gateway, KEY)

    async def capture(self, amount: int = 1299) -> Charged | Declined:
        return await self.renewal.capture(ORDER, self.reference, amount, self.refused)

    async def charged(self) -> list[int]:
        return [charge.amount for charge in await self.gateway.charges_of(ORDER)]

    async def set_aside(self) -> list[str]:
        return [each.key for each in await self.gateway.authorizations_of(ORDER)]


async def expired(gateway: HttpPaymentGateway, method: str = "pm_authorization_renews") -> Expired:
    answer = await gateway.authorize("authorize", ORDER, 1299, "EUR", method)
    assert isinstance(answer, Authorized)
    refused = await gateway.capture(KEY, answer.reference, 1299)
    assert isinstance(refused, Declined)
    assert has_expired(refused)
    return Expired(gateway, answer.reference, refused)


async def test_it_is_set_aside_anew_and_captured_once_however_often_it_is_asked(
    gateway: HttpPaymentGateway,
) -> None:
    made = await expired(gateway)
    first = await made.capture()
    assert isinstance(first, Charged)
    assert await made.capture() == first == await made.renewal.find(made.refused)
    assert await made.charged() == [1299]
    assert sorted(await made.set_aside()) == [KEY + ":renew", "authorize"]
    [own] = made.renewal.own(await gateway.charges_of(ORDER))
    assert (own.key, own.reference) == (KEY, first.reference)


async def test_where_a_part_is_captured_no_more_is_set_aside_anew(gateway: HttpPaymentGateway) -> None:
    made = await expired(gateway)
    first = await made.capture(1000)
    assert await made.capture(1000) == first
    assert await made.charged() == [1000]
    renewed = [each for each in await gateway.authorizations_of(ORDER) if each.key == RENEWED]
    assert [each.amount for each in renewed] == [1000]


async def test_more_than_had_been_authorized_is_never_set_aside_anew(gateway: HttpPaymentGateway) -> None:
    made = await expired(gateway)
    with pytest.raises(ProviderMisuse, match="more_than_authorized"):
        await gateway.renew(RENEWED, made.reference, 1300)
    assert await made.set_aside() == ["authorize"]


async def test_cut_off_after_the_renewal_it_goes_on_with_that_one(gateway: HttpPaymentGateway) -> None:
    made = await expired(gateway)
    await gateway.renew(RENEWED, made.reference, 1299)
    assert isinstance(await made.capture(), Charged)
    assert (await made.charged(), len(await made.set_aside())) == ([1299], 2)


async def test_what_is_not_set_aside_anew_is_refused_with_both_reasons(gateway: HttpPaymentGateway) -> None:
    made = await expired(gateway, "pm_authorization_expires")
    answer = await made.capture()
    assert isinstance(answer, Declined)
    assert has_expired(answer)
    assert answer.message == "The authorization has expired. Not set aside anew: No payment method is stored."
    assert await made.renewal.find(made.refused) == made.refused
    assert await made.renewal.close() == Voided()
    assert (await made.charged(), await made.set_aside()) == ([], ["authorize"])


async def test_cut_off_before_the_renewal_nothing_is_known_yet(gateway: HttpPaymentGateway) -> None:
    made = await expired(gateway)
    assert await made.renewal.find(made.refused) is None
    await made.renewal.close()
    assert await made.renewal.find(made.refused) == made.refused


async def test_closed_between_renewal_and_capture_nothing_is_captured_or_left_set_aside(
    gateway: HttpPaymentGateway,
) -> None:
    made = await expired(gateway)
    await gateway.renew(RENEWED, made.reference, 1299)
    assert await made.renewal.close() == Voided()
    assert await made.renewal.close() == Voided()
    [released] = await gateway.releases_of(ORDER)
    assert released.authorization == f"au_{RENEWED}"
    with pytest.raises(ProviderMisuse, match="key_voided"):
        await made.capture()
    assert await made.charged() == []


async def test_closed_before_it_nothing_is_set_aside_anew(gateway: HttpPaymentGateway) -> None:
    made = await expired(gateway)
    assert await made.renewal.close() == Voided()
    with pytest.raises(ProviderMisuse, match="key_voided"):
        await made.capture()
    assert (await made.charged(), await made.set_aside()) == ([], ["authorize"])


async def test_closed_after_it_tells_what_was_captured(gateway: HttpPaymentGateway) -> None:
    made = await expired(gateway)
    captured = await made.capture()
    assert await made.renewal.close() == captured
    assert await made.charged() == [1299]


async def test_two_never_stand(gateway: HttpPaymentGateway) -> None:
    made = await expired(gateway)
    assert isinstance(await gateway.renew("one", made.reference, 1299), Authorized)
    assert isinstance(await gateway.renew("another", made.reference, 1299), Declined)
    standing = await gateway.authorize("standing", ORDER, 1299, "EUR", "pm_card_visa")
    assert isinstance(standing, Authorized)
    refused = await gateway.renew("third", standing.reference, 1299)
    assert isinstance(refused, Declined)
    assert refused.code == "not_expired"


class WithoutTheRoute(SandboxExchange):
    """A gateway that does not know renewals."""

    async def perform(self, call: Call) -> Reply:
        return Reply(404, None) if call.path == "/authorizations/renew" else await super().perform(call)


async def test_a_gateway_without_it_refuses_as_before(migrated_database_url: str) -> None:
    engine = create_async_engine(migrated_database_url)
    gateway = HttpPaymentGateway(WithoutTheRoute(Sandbox(engine)))
    made = await expired(gateway)
    assert await gateway.renew("one", made.reference, 1299) == RenewalNotOffered()
    assert await made.capture() == made.refused
    await engine.dispose()
