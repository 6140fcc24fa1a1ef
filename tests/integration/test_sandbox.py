"""The sandbox provider through the production clients, directly and over HTTP (P6, P10)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from contracts.commands import ItemQuantity
from contracts.orders import ShippingAddress
from oms.sandbox import Sandbox, SandboxExchange, create_sandbox
from participants.payment.gateway import Charged, Declined, FoundCharge, HttpPaymentGateway, Refunded
from participants.provider_http import HttpExchange, ProviderExchange
from participants.provider_terms import CallUnderWay, ProviderMisuse, ProviderUnavailable, Voided
from participants.shipping.carrier import HttpCarrier, ShipmentRejected, Shipped
from tests.support.serving import serving

KEY = "00000000-0000-0000-0000-000000000007:charge:forward"
UNDO = "00000000-0000-0000-0000-000000000007:charge:compensating"
SHIP = "00000000-0000-0000-0000-000000000007:ship:forward"
LINES = (ItemQuantity(sku="SKU-1", quantity=2),)

T = TypeVar("T")


@pytest.fixture
async def engine(migrated_database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(migrated_database_url)
    yield engine
    await engine.dispose()


@pytest.fixture
def sandbox(engine: AsyncEngine) -> Sandbox:
    return Sandbox(engine)


@pytest.fixture(params=["direct", "http"])
async def exchange(request: pytest.FixtureRequest, sandbox: Sandbox) -> AsyncIterator[ProviderExchange]:
    """Both ways to the sandbox: what holds on one holds on the other."""
    if request.param == "direct":
        yield SandboxExchange(sandbox)
        return
    async with serving(create_sandbox(sandbox)) as url:
        http = HttpExchange(url)
        yield http
        await http.close()


@pytest.fixture
def gateway(exchange: ProviderExchange) -> HttpPaymentGateway:
    return HttpPaymentGateway(exchange)


@pytest.fixture
def carrier(exchange: ProviderExchange) -> HttpCarrier:
    return HttpCarrier(exchange)


def address(postal_code: str = "12345") -> ShippingAddress:
    return ShippingAddress(
        name="A. Person", line1="1 Street", city="Town", postal_code=postal_code, country="DE"
    )


async def charge(gateway: HttpPaymentGateway, method: str = "pm_card_visa", key: str = KEY) -> Any:
    return await gateway.charge(key, "o-1", 1299, "EUR", method)


async def until(ask: Callable[[], Awaitable[T]]) -> T:
    """The first answer that is not empty."""
    while not (answer := await ask()):
        pass
    return answer


async def eventually(ask: Callable[[], Awaitable[T]]) -> T:
    """The first answer that is not "an earlier call is at work"."""
    while True:
        try:
            return await ask()
        except CallUnderWay:
            await asyncio.sleep(0)


# Payment


async def test_a_charge_is_taken_once_and_answered_the_same_every_time(gateway: HttpPaymentGateway) -> None:
    first = await charge(gateway)
    assert isinstance(first, Charged)
    assert await charge(gateway) == first
    assert await gateway.find_charge(KEY) == first
    assert await gateway.charges_of("o-1") == (FoundCharge(KEY, first.reference, 1299, "EUR", refunded=0),)


async def test_a_key_belongs_to_one_request(gateway: HttpPaymentGateway) -> None:
    await charge(gateway)
    with pytest.raises(ProviderMisuse, match="idempotency_key_reused"):
        await gateway.charge(KEY, "o-1", 1300, "EUR", "pm_card_visa")
    assert [found.amount for found in await gateway.charges_of("o-1")] == [1299]


@pytest.mark.parametrize(
    ("method", "code"), [("pm_card_declined", "card_declined"), ("pm_other", "unknown_payment_method")]
)
async def test_a_decline_is_kept_and_is_no_charge(
    gateway: HttpPaymentGateway, method: str, code: str
) -> None:
    declined = await charge(gateway, method)
    assert isinstance(declined, Declined)
    assert declined.code == code
    assert await charge(gateway, method) == declined
    assert await gateway.find_charge(KEY) == declined
    assert await gateway.charges_of("o-1") == ()


async def test_flaky_fails_twice_for_each_key_and_then_pays(gateway: HttpPaymentGateway) -> None:
    for key in (KEY, "another"):
        for _ in range(2):
            with pytest.raises(ProviderUnavailable, match="503"):
                await charge(gateway, "pm_gateway_flaky", key)
            assert await gateway.find_charge(key) is None
        assert isinstance(await charge(gateway, "pm_gateway_flaky", key), Charged)
    assert len(await gateway.charges_of("o-1")) == 2


async def test_down_stays_down_and_takes_nothing(gateway: HttpPaymentGateway) -> None:
    for _ in range(5):
        with pytest.raises(ProviderUnavailable):
            await charge(gateway, "pm_gateway_down")
    assert await gateway.charges_of("o-1") == ()


async def test_timeout_takes_the_money_and_never_answers_the_first_call(
    gateway: HttpPaymentGateway,
) -> None:
    first = asyncio.create_task(charge(gateway, "pm_gateway_timeout"))
    taken = await until(lambda: gateway.charges_of("o-1"))
    with pytest.raises(CallUnderWay):
        await charge(gateway, "pm_gateway_timeout")
    assert not first.done()
    first.cancel()
    answer = await eventually(lambda: charge(gateway, "pm_gateway_timeout"))
    assert answer == Charged(taken[0].reference)
    assert await gateway.charges_of("o-1") == taken


async def test_a_client_that_waits_for_ever_is_sent_away(engine: AsyncEngine) -> None:
    gateway = HttpPaymentGateway(SandboxExchange(Sandbox(engine, silence_s=0.01)))
    with pytest.raises(ProviderUnavailable, match="504"):
        await charge(gateway, "pm_gateway_timeout")
    assert isinstance(await charge(gateway, "pm_gateway_timeout"), Charged)


async def test_a_client_gives_up_by_its_own_time_limit(sandbox: Sandbox) -> None:
    gateway = HttpPaymentGateway(SandboxExchange(sandbox, timeout_s=0.01))
    with pytest.raises(ProviderUnavailable, match="no reply within"):
        await charge(gateway, "pm_gateway_timeout")


async def test_a_killed_process_forgets_nothing(engine: AsyncEngine, gateway: HttpPaymentGateway) -> None:
    killed = HttpPaymentGateway(SandboxExchange(Sandbox(engine)))
    call_under_way = asyncio.create_task(charge(killed, "pm_gateway_timeout"))
    await until(lambda: killed.charges_of("o-1"))
    assert isinstance(await charge(gateway, "pm_gateway_timeout"), Charged)
    assert len(await gateway.charges_of("o-1")) == 1
    call_under_way.cancel()


async def test_processes_that_get_the_same_key_at_once_take_the_money_once(engine: AsyncEngine) -> None:
    processes = [HttpPaymentGateway(SandboxExchange(Sandbox(engine))) for _ in range(3)]
    answers = await asyncio.gather(
        *(charge(process) for process in processes for _ in range(5)), return_exceptions=True
    )
    charged = {answer for answer in answers if isinstance(answer, Charged)}
    assert len(charged) == 1
    assert all(isinstance(answer, (Charged, CallUnderWay)) for answer in answers)
    assert len(await processes[0].charges_of("o-1")) == 1


async def test_many_at_once_each_get_their_own_answer(engine: AsyncEngine) -> None:
    """Two processes get the same requests in opposite order: neither mixes them up nor blocks the other."""
    here, there = (HttpPaymentGateway(SandboxExchange(Sandbox(engine))) for _ in range(2))
    methods = ["pm_card_visa" if number % 3 else "pm_card_declined" for number in range(300)]
    numbers = range(len(methods))

    async def answers(gateway: HttpPaymentGateway, order: list[int]) -> dict[int, Any]:
        calls = [charge(gateway, methods[number], f"k-{number:03}") for number in order]
        return dict(zip(order, await asyncio.gather(*calls), strict=True))

    ours, theirs = await asyncio.gather(answers(here, list(numbers)), answers(there, list(reversed(numbers))))
    assert ours == theirs
    assert all(
        ours[number] == Charged(f"ch_k-{number:03}") if number % 3 else isinstance(ours[number], Declined)
        for number in numbers
    )


async def test_refunds_add_up_to_what_was_taken_and_no_more(gateway: HttpPaymentGateway) -> None:
    reference = (await charge(gateway)).reference
    first = await gateway.refund(UNDO, reference, 1000)
    assert await gateway.refund(UNDO, reference, 1000) == first
    assert await gateway.find_refund(UNDO) == first
    with pytest.raises(ProviderMisuse, match="more_than_taken"):
        await gateway.refund("too-much", reference, 300)
    await gateway.refund("the-rest", reference, 299)
    assert [found.refunded for found in await gateway.charges_of("o-1")] == [1299]
    refunds = await gateway.refunds_of("o-1")
    assert sorted((refund.key, refund.amount, refund.charge) for refund in refunds) == [
        (UNDO, 1000, reference),
        ("the-rest", 299, reference),
    ]
    assert await gateway.find_refund("too-much") is None


async def test_refunds_at_once_never_give_back_more_than_was_taken(engine: AsyncEngine) -> None:
    processes = [HttpPaymentGateway(SandboxExchange(Sandbox(engine))) for _ in range(4)]
    reference = (await charge(processes[0])).reference
    answers = await asyncio.gather(
        *(process.refund(f"r-{number}", reference, 500) for number, process in enumerate(processes)),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, Refunded) for answer in answers) == 2
    assert [found.refunded for found in await processes[0].charges_of("o-1")] == [1000]


async def test_what_was_not_charged_cannot_be_refunded(gateway: HttpPaymentGateway) -> None:
    await charge(gateway, "pm_card_declined")
    for reference in ("ch_unknown", f"ch_{KEY}"):
        with pytest.raises(ProviderMisuse, match="unknown_charge"):
            await gateway.refund(UNDO, reference, 1)


async def test_a_flaky_refund_gives_back_once_it_is_answered(gateway: HttpPaymentGateway) -> None:
    reference = (await charge(gateway, "pm_refund_flaky")).reference
    for _ in range(2):
        with pytest.raises(ProviderUnavailable):
            await gateway.refund(UNDO, reference, 1299)
        assert [found.refunded for found in await gateway.charges_of("o-1")] == [0]
    for _ in range(2):
        assert isinstance(await gateway.refund(UNDO, reference, 1299), Refunded)
        assert [found.refunded for found in await gateway.charges_of("o-1")] == [1299]


async def test_a_refund_can_be_down_for_good(gateway: HttpPaymentGateway) -> None:
    reference = (await charge(gateway, "pm_refund_down")).reference
    with pytest.raises(ProviderUnavailable):
        await gateway.refund(UNDO, reference, 1299)
    assert await gateway.refunds_of("o-1") == ()


async def test_a_refund_can_be_refused_for_good(gateway: HttpPaymentGateway) -> None:
    reference = (await charge(gateway, "pm_refund_refused")).reference
    for _ in range(2):
        refused = await gateway.refund(UNDO, reference, 1299)
        assert isinstance(refused, Declined)
        assert refused.code == "refund_refused"
    assert await gateway.refunds_of("o-1") == ()
    assert [found.refunded for found in await gateway.charges_of("o-1")] == [0]


async def test_a_voided_key_never_takes_effect(gateway: HttpPaymentGateway) -> None:
    assert await gateway.void(KEY) == Voided()
    assert await gateway.void(KEY) == Voided()
    assert await gateway.find_charge(KEY) == Voided()
    with pytest.raises(ProviderMisuse, match="key_voided"):
        await charge(gateway)
    assert await gateway.charges_of("o-1") == ()


async def test_a_key_without_an_answer_can_be_voided(gateway: HttpPaymentGateway) -> None:
    with pytest.raises(ProviderUnavailable):
        await charge(gateway, "pm_gateway_flaky")
    assert await gateway.void(KEY) == Voided()
    for _ in range(3):
        with pytest.raises(ProviderMisuse, match="key_voided"):
            await charge(gateway, "pm_gateway_flaky")


@pytest.mark.parametrize("method", ["pm_card_visa", "pm_card_declined"])
async def test_a_void_that_comes_too_late_tells_the_answer(gateway: HttpPaymentGateway, method: str) -> None:
    answer = await charge(gateway, method)
    assert await gateway.void(KEY) == answer
    assert await charge(gateway, method) == answer


async def test_a_database_that_cannot_be_reached_makes_the_provider_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    engine = create_async_engine(f"postgresql+psycopg://nobody@127.0.0.1:{port}/none")
    gateway = HttpPaymentGateway(SandboxExchange(Sandbox(engine)))
    for asked in (
        charge(gateway),
        gateway.find_charge(KEY),
        gateway.refund(UNDO, "ch_1", 1),
        gateway.void(KEY),
    ):
        with pytest.raises(ProviderUnavailable, match="storage_unavailable"):
            await asked
    await engine.dispose()


# Shipping


async def test_a_parcel_is_shipped_once(carrier: HttpCarrier) -> None:
    shipped = await carrier.ship(SHIP, "o-1", LINES, address())
    assert isinstance(shipped, Shipped)
    assert await carrier.ship(SHIP, "o-1", LINES, address()) == shipped
    assert await carrier.find_shipment(SHIP) == shipped
    assert [found.reference for found in await carrier.shipments_of("o-1")] == [shipped.reference]
    assert await carrier.void(SHIP) == shipped


async def test_another_parcel_under_the_same_key_is_refused(carrier: HttpCarrier) -> None:
    await carrier.ship(SHIP, "o-1", LINES, address())
    with pytest.raises(ProviderMisuse, match="idempotency_key_reused"):
        await carrier.ship(SHIP, "o-1", LINES, address("54321"))


async def test_postal_code_00000_is_refused(carrier: HttpCarrier) -> None:
    rejected = await carrier.ship(SHIP, "o-1", LINES, address("00000"))
    assert isinstance(rejected, ShipmentRejected)
    assert rejected.code == "address_refused"
    assert await carrier.ship(SHIP, "o-1", LINES, address("00000")) == rejected
    assert await carrier.find_shipment(SHIP) == rejected
    assert await carrier.shipments_of("o-1") == ()


async def test_the_carrier_can_be_flaky_down_or_silent(carrier: HttpCarrier) -> None:
    for postal_code, failures in (("00001", 2), ("00002", 5)):
        for _ in range(failures):
            with pytest.raises(ProviderUnavailable):
                await carrier.ship(postal_code, "o-1", LINES, address(postal_code))
    assert isinstance(await carrier.ship("00001", "o-1", LINES, address("00001")), Shipped)
    silent = asyncio.create_task(carrier.ship("00003", "o-3", LINES, address("00003")))
    await until(lambda: carrier.shipments_of("o-3"))
    silent.cancel()
    again = await eventually(lambda: carrier.ship("00003", "o-3", LINES, address("00003")))
    assert isinstance(again, Shipped)


async def test_a_voided_shipment_never_leaves(carrier: HttpCarrier) -> None:
    assert await carrier.void(SHIP) == Voided()
    with pytest.raises(ProviderMisuse, match="key_voided"):
        await carrier.ship(SHIP, "o-1", LINES, address())
    assert await carrier.shipments_of("o-1") == ()
