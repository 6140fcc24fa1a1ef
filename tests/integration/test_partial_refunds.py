"""S28: what returns claim of a payment, and what is given back for them, on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg.errors import CheckViolation
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.commands import (
    ClaimRefund,
    ClaimUnshipped,
    Command,
    RefundPart,
    RefundUnshipped,
    ReleaseRefundClaim,
    SettleStep,
    Verdict,
)
from contracts.envelope import Direction
from participants.provider_terms import ProviderTraits
from tests.support.participant_stage import Stage, payment_stage
from tests.support.participants import Case, new_id
from tests.support.providers import Gateway, no_answer


class Return:
    """The return of an order that was charged 2598, of so much."""

    def __init__(self, order: Case, amount: int = 1299, charged: int = 2598, charge: str = "ch_1") -> None:
        self.saga_id: UUID = new_id()
        self._payment: dict[str, Any] = {
            "paid_order_id": order.order_id,
            "charge": charge,
            "charged": charged,
            "amount": amount,
            "currency": "EUR",
        }

    def _ids(self, step: str, direction: Direction = Direction.FORWARD) -> dict[str, Any]:
        return {"saga_id": self.saga_id, "order_id": self.saga_id, "step": step, "direction": direction}

    def claim(self, **changes: Any) -> Command:
        return ClaimRefund(**self._ids("claim"), **{**self._payment, **changes})

    def release(self) -> Command:
        return ReleaseRefundClaim(**self._ids("claim", Direction.COMPENSATING))

    def refund(self, **changes: Any) -> Command:
        return RefundPart(**self._ids("refund"), **{**self._payment, "reason": "too small", **changes})


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
async def stage(engine: AsyncEngine, gateway: Gateway) -> AsyncIterator[Stage]:
    """Payment with two processes."""
    async with payment_stage(engine, gateway) as stage:
        await stage.replica()
        await stage.replica()
        yield stage


async def charged(stage: Stage) -> Case:
    """An order that was charged 2598."""
    order = Case()
    assert (await stage.answer(order.charge())).type == "PaymentSuccessfulEvent"
    return order


async def claims(stage: Stage) -> list[int]:
    return [row["claimed"] for row in await stage.rows("SELECT claimed FROM payment.refund_claims")]


async def test_a_part_is_claimed_and_given_back_once(stage: Stage, gateway: Gateway) -> None:
    """P1, P2."""
    one = Return(await charged(stage))
    assert (await stage.answer(one.claim())).type == "RefundClaimedEvent"
    first = await stage.answer(one.refund())
    assert (first.type, first.body["amount"], first.body["reference"]) == (
        "PaymentPartlyRefundedEvent",
        1299,
        "re_1",
    )
    assert await stage.answer(one.refund()) == first
    assert (gateway.balance, await claims(stage)) == (1299, [1299])


async def test_several_returns_of_an_order_have_a_refund_each(stage: Stage, gateway: Gateway) -> None:
    order = await charged(stage)
    for each in (Return(order), Return(order)):
        await stage.answer(each.claim())
        assert (await stage.answer(each.refund())).type == "PaymentPartlyRefundedEvent"
    assert (gateway.balance, await claims(stage)) == (0, [2598])


async def test_all_that_is_claimed_is_never_more_than_was_taken(stage: Stage) -> None:
    order = await charged(stage)
    stage.send(*(Return(order).claim() for _ in range(20)))
    answers = await stage.types(20)
    assert answers.count("RefundClaimedEvent") == 2
    assert answers.count("RefundClaimRejectedEvent") == 18
    assert await claims(stage) == [2598]


async def test_a_claim_on_another_amount_than_the_first_one_spoke_of_is_refused(stage: Stage) -> None:
    order = await charged(stage)
    await stage.answer(Return(order).claim())
    seen = await stage.answer(Return(order, charged=9999).claim())
    assert (seen.type, seen.body["code"]) == ("RefundClaimRejectedEvent", "another_amount")


async def test_a_claim_that_is_given_up_can_be_claimed_again(stage: Stage) -> None:
    order = await charged(stage)
    first = Return(order, 2598)
    await stage.answer(first.claim())
    assert (await stage.answer(Return(order).claim())).body["code"] == "more_than_taken"
    assert (await stage.answer(first.release())).body["effect"] == "undone"
    assert await claims(stage) == [0]
    assert (await stage.answer(Return(order).claim())).type == "RefundClaimedEvent"


async def test_what_was_not_claimed_is_not_given_back(stage: Stage, gateway: Gateway) -> None:
    order = await charged(stage)
    stage.send(Return(order).refund())
    assert (await stage.dead_letter()).type == "RefundPart"
    claimed = Return(order)
    await stage.answer(claimed.claim())
    stage.send(claimed.refund(amount=2598))
    assert (await stage.dead_letter()).headers["error-type"] == "not_claimed"
    assert gateway.balance == 2598


async def test_what_was_given_back_cannot_be_claimed_again(stage: Stage) -> None:
    one = Return(await charged(stage))
    await stage.answer(one.claim())
    await stage.answer(one.refund())
    stage.send(one.release())
    assert (await stage.dead_letter()).headers["error-type"] == "refunded"
    assert await claims(stage) == [1299]


async def test_p6_an_answer_that_got_lost_does_not_give_back_twice(stage: Stage, gateway: Gateway) -> None:
    one = Return(await charged(stage))
    await stage.answer(one.claim())
    gateway.after("refund", no_answer)
    assert (await stage.answer(one.refund())).type == "PaymentPartlyRefundedEvent"
    assert (gateway.balance, gateway.count("refund")) == (1299, 2)


async def test_where_nothing_was_paid_the_gateway_is_not_asked(stage: Stage, gateway: Gateway) -> None:
    one = Return(await charged(stage), amount=0)
    await stage.answer(one.claim())
    assert (await stage.answer(one.refund())).body["amount"] == 0
    assert gateway.count("refund") == 0


async def test_a_gateway_that_gives_back_all_or_nothing_refuses_a_part(engine: AsyncEngine) -> None:
    gateway = Gateway(ProviderTraits(refunds_in_part=False))
    async with payment_stage(engine, gateway) as stage:
        await stage.replica()
        order = await charged(stage)
        part, whole = Return(order), Return(order, 2598)
        await stage.answer(part.claim())
        seen = await stage.answer(part.refund())
        assert (seen.type, seen.body["code"]) == ("PartialRefundRejectedEvent", "no_partial_refunds")
        await stage.answer(part.release())
        await stage.answer(whole.claim())
        assert (await stage.answer(whole.refund())).type == "PaymentPartlyRefundedEvent"
    assert gateway.balance == 0


class Unshipped(Case):
    """An order that was charged 2598, of which so much could not be shipped (S31)."""

    def claimed(self, amount: int = 598) -> Command:
        return ClaimUnshipped(**self._asked("claim_unshipped[1]", amount))

    def refunded(self, amount: int = 598) -> Command:
        return RefundUnshipped(**self._asked("refund_unshipped[1]", amount))

    def settled(self) -> Command:
        said = {"verdict": Verdict.SETTLED_OUTSIDE, "reference": "bank-1"}
        return SettleStep(**self._ids("refund_unshipped[1]", Direction.FORWARD), **said)

    def _asked(self, step: str, amount: int) -> dict[str, Any]:
        worth = {"charge": "ch_1", "charged": 2598, "amount": amount, "currency": "EUR"}
        return {**self._ids(step, Direction.FORWARD), **worth}


async def test_s31_what_was_not_shipped_and_what_comes_back_are_never_more_than_was_taken(
    stage: Stage, gateway: Gateway
) -> None:
    order = Unshipped()
    assert (await stage.answer(order.charge())).type == "PaymentSuccessfulEvent"
    stage.send(order.refunded())
    assert (await stage.dead_letter()).headers["error-type"] == "not_claimed"
    first = await stage.answer(order.claimed())
    assert await stage.answer(order.claimed()) == first
    gateway.after("refund", no_answer)
    seen = await stage.answer(order.refunded())
    assert (seen.type, seen.body["amount"]) == ("PaymentPartlyRefundedEvent", 598)
    assert (gateway.balance, await claims(stage)) == (2000, [598])
    assert (await stage.answer(Return(order, 2001).claim())).body["code"] == "more_than_taken"
    assert (await stage.answer(Return(order, 2000).claim())).type == "RefundClaimedEvent"


async def test_s31_a_claim_beyond_what_is_left_waits_for_a_person(stage: Stage) -> None:
    order = Unshipped()
    await stage.answer(order.charge())
    await stage.answer(Return(order, 2001).claim())
    stage.send(order.claimed())
    assert (await stage.dead_letter()).headers["error-type"] == "more_than_taken"
    assert await claims(stage) == [2001]


async def test_s31_a_refund_that_is_refused_waits_for_a_person_who_needs_proof(engine: AsyncEngine) -> None:
    traits = ProviderTraits(refunds_in_part=False)
    async with payment_stage(engine, Gateway(traits)) as stage:
        await stage.replica()
        order = Unshipped()
        await stage.answer(order.charge())
        await stage.answer(order.claimed())
        stage.send(order.refunded())
        dead = await stage.dead_letter()
        assert str(dead.headers["error-message"]).startswith("no_partial_refunds: ")
        too_early = await stage.answer(order.settled())
        assert "no proof before" in too_early.body["reason"]


async def test_the_database_itself_refuses_more_than_was_taken(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        row = text("INSERT INTO payment.refund_claims VALUES (:charge, 100, 101, now())")
        with pytest.raises(IntegrityError) as refused:
            await connection.execute(row, {"charge": str(uuid4())})
    assert isinstance(refused.value.orig, CheckViolation)
