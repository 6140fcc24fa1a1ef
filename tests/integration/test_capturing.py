"""Payment on a real PostgreSQL with the sandbox: authorizes, voids, captures; what a person has to settle."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.commands import (
    AuthorizePayment,
    CapturePayment,
    Command,
    SettleStep,
    Verdict,
    VoidAuthorization,
    VoidRemainder,
)
from contracts.envelope import Direction
from oms.sandbox import Sandbox, SandboxExchange
from participants.payment.gateway import FoundCharge, HttpPaymentGateway
from participants.payment.handlers import payment
from tests.support.participant_stage import Stage, payment_stage
from tests.support.participants import Case
from tests.support.providers import Gateway


@pytest.fixture
def gateway(engine: AsyncEngine) -> HttpPaymentGateway:
    return HttpPaymentGateway(SandboxExchange(Sandbox(engine)))


@pytest.fixture
async def stage(engine: AsyncEngine, gateway: HttpPaymentGateway) -> AsyncIterator[Stage]:
    """Payment with one process."""
    async with Stage(payment, engine, gateway) as stage:
        await stage.replica()
        yield stage


class Captured(Case):
    """The commands of one order whose money is captured."""

    def authorize(self, payment_method: str = "pm_card_visa") -> AuthorizePayment:
        paid: dict[str, Any] = {"customer_id": "c", "amount": 2598, "currency": "EUR"}
        return AuthorizePayment(**self._of("authorize"), **paid, payment_method=payment_method)

    def void(self) -> VoidAuthorization:
        return VoidAuthorization(**self._of("authorize", Direction.COMPENSATING))

    def capture(self, authorization: str, amount: int = 2598) -> CapturePayment:
        said: dict[str, Any] = {"authorization": authorization, "amount": amount, "currency": "EUR"}
        return CapturePayment(**self._of("capture"), **said)

    def void_remainder(self, authorization: str) -> VoidRemainder:
        said: dict[str, Any] = {"authorization": authorization, "amount": 598, "currency": "EUR"}
        return VoidRemainder(**self._of("void_remainder[1]"), **said)

    def judged(self, verdict: Verdict) -> SettleStep:
        return SettleStep(**self._of("capture"), verdict=verdict, reference="bank-4711")

    def _of(self, step: str, direction: Direction = Direction.FORWARD) -> dict[str, Any]:
        return {
            "saga_id": self.saga_id,
            "order_id": self.order_id,
            "step": step,
            "direction": direction,
        }


async def authorized(stage: Stage, case: Captured, method: str = "pm_card_visa") -> str:
    """The reference of the order's authorization."""
    seen = await stage.answer(case.authorize(method))
    assert seen.type == "PaymentAuthorizedEvent"
    assert (seen.body["amount"], seen.body["currency"]) == (2598, "EUR")
    return str(seen.body["reference"])


async def test_what_is_authorized_is_captured_once(stage: Stage, gateway: HttpPaymentGateway) -> None:
    """P1, P2, S27."""
    case = Captured()
    reference = await authorized(stage, case)
    assert await gateway.charges_of(str(case.order_id)) == ()
    seen = await stage.answer(case.capture(reference))
    assert (seen.type, seen.body["amount"]) == ("PaymentCapturedEvent", 2598)
    assert await stage.answer(case.capture(reference)) == seen
    key = f"{case.saga_id}:capture:forward"
    taken = FoundCharge(key, seen.body["reference"], 2598, "EUR", refunded=0)
    assert await gateway.charges_of(str(case.order_id)) == (taken,)


async def test_a_decline_is_an_answer(stage: Stage) -> None:
    """P8."""
    seen = await stage.answer(Captured().authorize("pm_card_declined"))
    assert (seen.type, seen.body["code"]) == ("PaymentDeclinedEvent", "card_declined")


async def test_a_void_gives_up_what_was_authorized_and_nothing_is_authorized_after_it(
    stage: Stage, gateway: HttpPaymentGateway
) -> None:
    """P3, P5, S27."""
    case = Captured()
    reference = await authorized(stage, case)
    seen = await stage.answer(case.void())
    assert (seen.type, seen.body["effect"], seen.body["amount"]) == ("PaymentVoidedEvent", "undone", 2598)
    assert await stage.answer(case.void()) == seen
    [released] = await gateway.releases_of(str(case.order_id))
    assert released.authorization == reference
    assert (await stage.answer(case.authorize())).type == "StepRefused"


async def test_a_void_before_the_authorization_leaves_a_tombstone(
    stage: Stage, gateway: HttpPaymentGateway
) -> None:
    """P4, P5."""
    case = Captured()
    assert (await stage.answer(case.void())).body["effect"] == "nothing"
    assert (await stage.answer(case.authorize())).type == "StepRefused"
    assert await gateway.authorizations_of(str(case.order_id)) == ()


async def test_s31_what_a_capture_leaves_is_given_up_once(stage: Stage, gateway: HttpPaymentGateway) -> None:
    case = Captured()
    reference = await authorized(stage, case)
    assert (await stage.answer(case.capture(reference, 2000))).type == "PaymentCapturedEvent"
    seen = await stage.answer(case.void_remainder(reference))
    assert (seen.type, seen.body["amount"]) == ("RemainderVoidedEvent", 598)
    assert await stage.answer(case.void_remainder(reference)) == seen
    [release] = await gateway.releases_of(str(case.order_id))
    assert release.authorization == reference


async def test_a_flaky_capture_is_tried_again_with_the_same_key(
    stage: Stage, gateway: HttpPaymentGateway
) -> None:
    """P6."""
    case = Captured()
    reference = await authorized(stage, case, "pm_capture_flaky")
    assert (await stage.answer(case.capture(reference))).type == "PaymentCapturedEvent"
    assert len(await gateway.charges_of(str(case.order_id))) == 1


async def test_a_capture_that_is_refused_for_good_is_a_dead_letter_with_the_gateways_own_code(
    stage: Stage,
) -> None:
    """P8, S10."""
    case = Captured()
    stage.send(case.capture(await authorized(stage, case, "pm_authorization_expires")))
    dead = await stage.dead_letter()
    assert (dead.headers["error-type"], dead.headers["error-permanent"]) == ("provider_misuse", True)
    assert str(dead.headers["error-message"]).startswith("authorization_expired: ")


async def test_a_person_settles_it_with_the_gateways_word_that_nothing_was_captured(
    stage: Stage, gateway: HttpPaymentGateway
) -> None:
    """S19, P10: and a late copy takes nothing."""
    case = Captured()
    reference = await authorized(stage, case, "pm_authorization_expires")
    stage.send(case.capture(reference))
    await stage.dead_letter()
    settled = await stage.answer(case.judged(Verdict.SETTLED_OUTSIDE))
    assert (settled.type, settled.body["accepted"]) == ("StepSettled", True)
    assert (await stage.answer(case.capture(reference))).body["reference"] == "bank-4711"
    assert await gateway.charges_of(str(case.order_id)) == ()


async def test_what_was_captured_is_not_settled_outside(stage: Stage) -> None:
    """S19: never against the gateway's word."""
    case = Captured()
    await stage.answer(case.capture(await authorized(stage, case)))
    settled = await stage.answer(case.judged(Verdict.SETTLED_OUTSIDE))
    assert settled.body["accepted"] is False


async def test_more_than_was_authorized_is_not_captured(stage: Stage, gateway: HttpPaymentGateway) -> None:
    """S27."""
    case = Captured()
    stage.send(case.capture(await authorized(stage, case), 2599))
    dead = await stage.dead_letter()
    assert "more_than_authorized" in str(dead.headers["error-message"])
    assert await gateway.charges_of(str(case.order_id)) == ()


@pytest.mark.parametrize("ask", [Captured.authorize, lambda case: case.capture("au_1")])
async def test_a_gateway_that_does_not_authorize_says_so(engine: AsyncEngine, ask: Any) -> None:
    async with payment_stage(engine, Gateway()) as stage:
        await stage.replica()
        command: Command = ask(Captured())
        stage.send(command)
        dead = await stage.dead_letter()
        assert "this gateway does not authorize and capture" in str(dead.headers["error-message"])
