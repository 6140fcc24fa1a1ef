"""Payment on a real PostgreSQL with a gateway that refuses an amount of 0: it is never asked for one (P6)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.commands import (
    AuthorizePayment,
    CapturePayment,
    ChargePayment,
    ClaimRefund,
    Command,
    RefundPart,
    RefundPayment,
    SettleStep,
    Verdict,
    VoidAuthorization,
    VoidRemainder,
)
from contracts.envelope import Direction
from oms.sandbox import Sandbox, SandboxExchange
from participants.payment.gateway import HttpPaymentGateway
from participants.payment.handlers import payment
from participants.provider_http import Call, Reply
from tests.support.participant_stage import Stage
from tests.support.participants import Case

MONEY: dict[str, Any] = {"amount": 0, "currency": "EUR"}
PAID: dict[str, Any] = {**MONEY, "customer_id": "c", "payment_method": "pm_card_visa"}


class Strict:
    """The sandbox, which refuses amounts of 0 here, and a release of what was given up."""

    def __init__(self, sandbox: SandboxExchange) -> None:
        self._sandbox = sandbox
        self.asked: list[str] = []

    async def perform(self, call: Call) -> Reply:
        self.asked.append(f"{call.method} {call.path}")
        if (call.body or {}).get("amount") == 0:
            return Reply(400, {"code": "amount_too_small"})
        if self.asked.count("POST /releases") > 1:
            return Reply(422, {"code": "given_up_before"})
        return await self._sandbox.perform(call)

    async def close(self) -> None:
        """Nothing to give back."""


@pytest.fixture
def strict(engine: AsyncEngine) -> Strict:
    return Strict(SandboxExchange(Sandbox(engine)))


@pytest.fixture
async def stage(engine: AsyncEngine, strict: Strict) -> AsyncIterator[Stage]:
    """Payment with one process."""
    async with Stage(payment, engine, HttpPaymentGateway(strict)) as stage:
        await stage.replica()
        yield stage


class Free(Case):
    """The commands of one order."""

    def of(self, command: type[Command], step: str, **fields: Any) -> Command:
        undo = command in (RefundPayment, VoidAuthorization)
        direction = Direction.COMPENSATING if undo else Direction.FORWARD
        return command(**self._ids(step, direction), **fields)


@pytest.mark.parametrize(
    ("ask", "undo"), [(ChargePayment, RefundPayment), (AuthorizePayment, VoidAuthorization)]
)
async def test_nothing_is_taken_and_nothing_given_back(
    stage: Stage, strict: Strict, ask: type[Command], undo: type[Command]
) -> None:
    """P1-P3, P5: with all that the ledger does for any other amount."""
    order = Free()
    seen = await stage.answer(order.of(ask, "pay", **PAID))
    assert (seen.body["amount"], seen.body["reference"]) == (0, "nothing")
    assert await stage.answer(order.of(ask, "pay", **PAID)) == seen
    undone = await stage.answer(order.of(undo, "pay"))
    assert (undone.body["effect"], undone.body["amount"], undone.body["reference"]) == (
        "undone",
        0,
        "nothing",
    )
    assert await stage.answer(order.of(undo, "pay")) == undone
    assert strict.asked == []


async def test_what_was_never_set_aside_is_captured_given_up_and_given_back_without_a_call(
    stage: Stage, strict: Strict
) -> None:
    order = Free()
    authorized = (await stage.answer(order.of(AuthorizePayment, "authorize", **PAID))).body["reference"]
    of_it = {**MONEY, "authorization": authorized}
    captured = await stage.answer(order.of(CapturePayment, "capture", **of_it))
    assert (captured.type, captured.body["reference"]) == ("PaymentCapturedEvent", "nothing")
    voided = await stage.answer(order.of(VoidRemainder, "void_remainder[1]", **of_it))
    assert (voided.type, voided.body["amount"]) == ("RemainderVoidedEvent", 0)

    given_back = Free()
    paid = {"paid_order_id": order.order_id, "charge": "nothing", "charged": 0, **MONEY}
    await stage.answer(given_back.of(ClaimRefund, "claim", **paid))
    refunded = await stage.answer(given_back.of(RefundPart, "refund", **paid, reason="too small"))
    assert (refunded.type, refunded.body["amount"]) == ("PaymentPartlyRefundedEvent", 0)
    assert strict.asked == []


async def test_what_is_set_aside_is_given_up_where_none_of_it_is_captured(
    stage: Stage, strict: Strict
) -> None:
    """S27, S31: of an order whose free parcel alone has left; once, however many ask for it."""
    order = Free()
    authorized = await stage.answer(order.of(AuthorizePayment, "authorize", **{**PAID, "amount": 300}))
    of_it = {"authorization": authorized.body["reference"], "currency": "EUR"}
    capture = order.of(CapturePayment, "capture", **of_it, amount=0)
    captured = await stage.answer(capture)
    assert (captured.type, captured.body["amount"]) == ("PaymentCapturedEvent", 0)
    assert await stage.answer(capture) == captured
    voided = await stage.answer(order.of(VoidRemainder, "void_remainder[1]", **of_it, amount=300))
    assert voided.type == "RemainderVoidedEvent"
    assert [each for each in strict.asked if each.startswith("POST")] == [
        "POST /authorizations",
        "POST /releases",
    ]
    [authorization] = await stage.rows("SELECT captured, released FROM sandbox.authorizations")
    assert (authorization["captured"], authorization["released"]) == (0, True)


async def test_a_person_cannot_say_of_it_that_it_never_was(stage: Stage, strict: Strict) -> None:
    """S19, P10: nothing was to be done, and that was done."""
    order = Free()
    await stage.answer(order.of(ChargePayment, "pay", **PAID))
    said = order._ids("pay", Direction.FORWARD)
    seen = await stage.answer(SettleStep(**said, verdict=Verdict.NO_EFFECT))
    assert (seen.type, seen.body["accepted"]) == ("StepSettled", False)
    assert strict.asked == []
