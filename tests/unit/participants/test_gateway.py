"""The payment gateway's client: what is an answer and what is not (P6, P8), and its way over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest

from participants.payment.gateway import (
    Authorized,
    Charged,
    Declined,
    FoundCharge,
    FoundRefund,
    HttpPaymentGateway,
    Refunded,
    Released,
)
from participants.provider_http import (
    MAX_REPLY_BYTES,
    Call,
    ConnectionLost,
    HttpExchange,
    InvalidProviderUrl,
    Reply,
    provider_url,
)
from participants.provider_terms import (
    CallUnderWay,
    ProviderMisuse,
    ProviderTraits,
    ProviderUnavailable,
    Voided,
    VoidNotOffered,
    idempotency_key,
)
from tests.support.served import Handler, served

KEY = idempotency_key(UUID(int=7), "charge", "forward")
CHARGE = (KEY, "order-1", 1299, "EUR", "pm_card_visa")


class Scripted:
    """An exchange that gives one reply and remembers what it was asked."""

    def __init__(self, status: int, body: Mapping[str, Any] | None = None) -> None:
        self.reply = Reply(status, body)
        self.calls: list[Call] = []

    async def perform(self, call: Call) -> Reply:
        self.calls.append(call)
        return self.reply

    async def close(self) -> None:
        """Nothing to close."""


def gateway(status: int, body: Mapping[str, Any] | None = None) -> HttpPaymentGateway:
    return HttpPaymentGateway(Scripted(status, body))


def test_a_key_names_the_piece_of_work() -> None:
    assert KEY == "00000000-0000-0000-0000-000000000007:charge:forward"


async def test_a_charge_is_sent_with_its_key() -> None:
    exchange = Scripted(200, {"reference": "ch_1"})
    assert await HttpPaymentGateway(exchange).charge(*CHARGE) == Charged("ch_1")
    body = {"order_id": "order-1", "amount": 1299, "currency": "EUR", "payment_method": "pm_card_visa"}
    assert exchange.calls == [Call("POST", "/charges", KEY, body, sensitive=("payment_method",))]


async def test_what_authorizes_captures_and_gives_up_is_sent_with_its_key() -> None:
    exchange = Scripted(200, {"reference": "x_1"})
    asked = HttpPaymentGateway(exchange)
    assert await asked.authorize(*CHARGE) == Authorized("x_1")
    assert await asked.capture("c", "au_1", 1299) == Charged("x_1")
    assert await asked.release("r", "au_1") == Released("x_1")
    body = {"order_id": "order-1", "amount": 1299, "currency": "EUR", "payment_method": "pm_card_visa"}
    assert exchange.calls == [
        Call("POST", "/authorizations", KEY, body, sensitive=("payment_method",)),
        Call("POST", "/captures", "c", {"authorization": "au_1", "amount": 1299}),
        Call("POST", "/releases", "r", {"authorization": "au_1"}),
    ]


async def test_402_is_an_answer_of_authorizations_and_captures_too() -> None:
    asked = gateway(402, {"code": "authorization_expired", "detail": "Too late."})
    assert await asked.capture("c", "au_1", 1) == Declined("authorization_expired", "Too late.")
    assert await asked.authorize(*CHARGE) == Declined("authorization_expired", "Too late.")


@pytest.mark.parametrize(
    ("item", "remembered"),
    [
        ({"status": "authorized", "reference": "au_1"}, Authorized("au_1")),
        ({"status": "declined", "code": "no", "message": "No."}, Declined("no", "No.")),
        ({"status": "voided"}, Voided()),
    ],
)
async def test_what_a_gateway_remembers_of_an_authorization(item: dict[str, Any], remembered: object) -> None:
    assert await gateway(200, {"items": [item]}).find_authorization(KEY) == remembered
    assert await gateway(200, item).close_authorization(KEY) == remembered


async def test_an_authorization_of_a_status_that_there_is_not_is_misuse() -> None:
    with pytest.raises(ProviderMisuse, match="none of authorized, declined, voided"):
        await gateway(200, {"items": [{"status": "succeeded"}]}).find_authorization(KEY)


@pytest.mark.parametrize("status", [404, 405, 501])
async def test_a_gateway_may_not_offer_to_close_keys_of_authorizations(status: int) -> None:
    assert await gateway(status).close_authorization(KEY) == VoidNotOffered()


async def test_402_is_an_answer() -> None:
    answer = await gateway(402, {"code": "card_declined", "detail": "No."}).charge(*CHARGE)
    assert answer == Declined("card_declined", "No.")


@pytest.mark.parametrize(
    ("body", "declined"),
    [
        (None, Declined("declined", "")),
        ({"code": "Not A Code!", "message": "a\x00b\ud800c"}, Declined("declined", "a b c")),
        ({"code": 7, "detail": "x" * 2000}, Declined("declined", "x" * 1000)),
    ],
)
async def test_a_sloppy_decline_is_tidied_up(body: dict[str, Any] | None, declined: Declined) -> None:
    assert await gateway(402, body).charge(*CHARGE) == declined


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408, 425, 429])
async def test_no_answer_is_transient(status: int) -> None:
    with pytest.raises(ProviderUnavailable, match=f"POST /charges: {status}"):
        await gateway(status).charge(*CHARGE)


async def test_409_means_that_an_earlier_call_is_at_work() -> None:
    with pytest.raises(CallUnderWay):
        await gateway(409).charge(*CHARGE)


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 410, 422])
async def test_any_other_refusal_is_permanent(status: int) -> None:
    with pytest.raises(ProviderMisuse, match=rf"{status} wrong_amount Not so\."):
        await gateway(status, {"code": "wrong_amount", "detail": "Not so."}).charge(*CHARGE)


async def test_a_success_that_is_no_json_object_is_no_answer() -> None:
    with pytest.raises(ProviderUnavailable):
        await gateway(200, None).charge(*CHARGE)


@pytest.mark.parametrize("reference", [None, 5, "", "x" * 201, "a\x00b", "\ud800"])
async def test_a_reference_that_no_ledger_could_hold_is_refused(reference: object) -> None:
    with pytest.raises(ProviderMisuse, match="reference"):
        await gateway(200, {"reference": reference}).charge(*CHARGE)


async def test_a_refund_names_the_charge() -> None:
    exchange = Scripted(200, {"reference": "re_1"})
    assert await HttpPaymentGateway(exchange).refund("k", "ch_1", 5) == Refunded("re_1")
    assert exchange.calls == [Call("POST", "/refunds", "k", {"charge": "ch_1", "amount": 5})]


@pytest.mark.parametrize(
    ("item", "found"),
    [
        ({"status": "succeeded", "reference": "ch_1"}, Charged("ch_1")),
        ({"status": "declined", "code": "card_declined", "message": "No."}, Declined("card_declined", "No.")),
        ({"status": "voided"}, Voided()),
    ],
)
async def test_a_look_up_by_key_and_a_void_tell_what_stands(item: dict[str, Any], found: object) -> None:
    assert await gateway(200, {"items": [item]}).find_charge(KEY) == found
    assert await gateway(200, item).void(KEY) == found


async def test_an_unknown_status_is_not_guessed_at() -> None:
    with pytest.raises(ProviderMisuse, match="status"):
        await gateway(200, {"items": [{"status": "pending"}]}).find_charge(KEY)


async def test_nothing_found_is_none_and_proves_nothing_yet() -> None:
    assert await gateway(200, {"items": []}).find_charge(KEY) is None
    assert await gateway(200, {"items": []}).find_refund(KEY) is None
    assert await gateway(200, {"items": []}).charges_of("order-1") == ()


@pytest.mark.parametrize("body", [{}, {"items": None}, {"items": [1]}])
async def test_a_listing_without_items_is_not_taken_for_an_empty_one(body: dict[str, Any]) -> None:
    with pytest.raises(ProviderMisuse, match="items"):
        await gateway(200, body).find_charge(KEY)


async def test_charges_and_refunds_of_an_order_carry_their_amounts() -> None:
    charge = {"key": KEY, "reference": "ch_1", "amount": 9, "currency": "EUR", "refunded": 2}
    assert await gateway(200, {"items": [charge]}).charges_of("o") == (
        FoundCharge(KEY, "ch_1", 9, "EUR", refunded=2),
    )
    refund = {"key": "k", "reference": "re_1", "charge": "ch_1", "amount": 2}
    assert await gateway(200, {"items": [refund]}).refunds_of("o") == (FoundRefund("k", "re_1", "ch_1", 2),)


@pytest.mark.parametrize("amount", [None, "9", True, -1, 1.5])
async def test_an_amount_must_be_whole_minor_units(amount: object) -> None:
    charge = {"key": KEY, "reference": "ch_1", "amount": amount, "currency": "EUR", "refunded": 0}
    with pytest.raises(ProviderMisuse, match="amount"):
        await gateway(200, {"items": [charge]}).charges_of("o")


@pytest.mark.parametrize("status", [404, 405, 501])
async def test_a_gateway_need_not_offer_voids(status: int) -> None:
    assert await gateway(status).void(KEY) == VoidNotOffered()


def test_traits_are_data_and_checked() -> None:
    assert HttpPaymentGateway(Scripted(200), ProviderTraits(settling_time_s=5)).traits.settling_time_s == 5
    with pytest.raises(ValueError, match="key_lifetime_s"):
        ProviderTraits(key_lifetime_s=0)


# Over HTTP


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x", "https://pay.example", "http://u:p@host/a/b/"])
def test_base_urls_of_providers(url: str) -> None:
    assert str(provider_url(url)) == url or provider_url(url).host


@pytest.mark.parametrize(
    "url",
    ["", "pay.example", "ftp://x", "http://", "http://h:99999", "http://h/?a=s3cret", "http://h/#f", "//h"],
)
def test_a_wrong_base_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(InvalidProviderUrl, match="expected http://") as refused:
        HttpExchange(url)
    assert "s3cret" not in str(refused.value)


async def request_of(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = next((line for line in head.lower().split("\r\n") if line.startswith("content-length:")), ":0")
    return head, await reader.readexactly(int(length.partition(":")[2]))


def response(body: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@asynccontextmanager
async def exchange_with(handler: Handler, **options: Any) -> AsyncIterator[HttpExchange]:
    async with served(handler) as root:
        url = f"{root}/base"
        exchange = HttpExchange(url, **options)
        try:
            yield exchange
        finally:
            await exchange.close()


async def test_over_http_key_path_query_and_body_arrive() -> None:
    seen: list[tuple[str, bytes]] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await request_of(reader))
        writer.write(response(b'{"a": 1}', "402 Payment Required"))

    async with exchange_with(handler) as exchange:
        call = Call("POST", "/charges", "k:1", {"amount": 5}, query=(("order_id", "a&b"),))
        assert await exchange.perform(call) == Reply(402, {"a": 1})
    head, body = seen[0]
    assert head.startswith("POST /base/charges?order_id=a%26b HTTP/1.1\r\n")
    assert "idempotency-key: k:1\r\n" in head.lower().replace("Idempotency-Key", "idempotency-key")
    assert json.loads(body) == {"amount": 5}


async def test_a_lost_connection_is_tried_again_with_the_same_key() -> None:
    keys: list[str] = []
    waits: list[float] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head, _ = await request_of(reader)
        keys.append(head.partition("Idempotency-Key: ")[2].partition("\r\n")[0])
        if len(keys) == 3:
            writer.write(response(b'{"reference": "ch_1"}'))

    async def sleep(delay_s: float) -> None:
        waits.append(delay_s)

    async with exchange_with(handler, sleep=sleep) as exchange:
        assert await HttpPaymentGateway(exchange).charge(*CHARGE) == Charged("ch_1")
    assert keys == [KEY] * 3
    assert waits == [0.0, 0.05]


async def test_a_connection_lost_again_and_again_is_no_answer() -> None:
    tries: list[None] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tries.append(None)

    async def sleep(_: float) -> None:
        return

    async with exchange_with(handler, sleep=sleep) as exchange:
        with pytest.raises(ConnectionLost):
            await exchange.perform(Call("POST", "/charges", "k", {}))
    assert len(tries) == 3


async def test_nobody_listening_is_no_answer() -> None:
    async def handler(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        raise AssertionError

    async def sleep(_: float) -> None:
        return

    async with served(handler) as url:
        pass
    exchange = HttpExchange(f"{url}/base", sleep=sleep)
    with pytest.raises(ProviderUnavailable, match="POST /charges"):
        await exchange.perform(Call("POST", "/charges", "k", {}))
    await exchange.close()


async def test_a_silent_provider_is_given_up_after_the_time_limit() -> None:
    calls: list[None] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(None)
        await reader.read()  # until the client leaves

    async with exchange_with(handler, timeout_s=0.01) as exchange:
        with pytest.raises(ProviderUnavailable, match=r"no reply within 0\.01 s"):
            await exchange.perform(Call("POST", "/charges", "k", {}))
    assert len(calls) <= 1, "a time-out is not tried again at once"


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"[1]", b"", b'"x"', b"[" * 100_000, b"\xff{}"],
    ids=["html", "list", "empty", "text", "deep", "binary"],
)
async def test_what_is_no_json_object_is_reported_as_none(body: bytes) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(response(body))

    async with exchange_with(handler) as exchange:
        assert await exchange.perform(Call("GET", "/charges")) == Reply(200, None)


async def test_a_reply_without_end_is_not_read_to_the_end() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(response(b" " * (MAX_REPLY_BYTES + 1)))

    async with exchange_with(handler) as exchange:
        with pytest.raises(ProviderUnavailable, match="more than"):
            await exchange.perform(Call("GET", "/charges"))


async def test_a_reply_that_is_no_http_is_no_answer() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_of(reader)
        writer.write(b"SSH-2.0-x\r\n\r\n")

    async with exchange_with(handler) as exchange:
        with pytest.raises(ProviderUnavailable):
            await exchange.perform(Call("GET", "/charges"))
