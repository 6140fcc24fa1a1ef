"""Shipping on a real PostgreSQL, with a carrier that misbehaves: one parcel at most; verdicts need proof."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.commands import SettleStep, Verdict
from contracts.envelope import Direction
from participants.provider_terms import ProviderTraits, ProviderUnavailable
from tests.support.participant_stage import Stage, payment_stage, shipping_stage
from tests.support.participants import Case
from tests.support.providers import Carrier, Gateway, no_answer


@pytest.fixture
def carrier() -> Carrier:
    return Carrier(ProviderTraits(settling_time_s=120))


@pytest.fixture
async def stage(engine: AsyncEngine, carrier: Carrier) -> AsyncIterator[Stage]:
    """Shipping with one process."""
    async with shipping_stage(engine, carrier) as stage:
        await stage.replica()
        yield stage


def on_ship(case: Case, verdict: Verdict, reference: str | None = None) -> SettleStep:
    return case.settle("ship", Direction.FORWARD, verdict, reference)


def on_refund(
    case: Case, verdict: Verdict, reference: str | None = None, amount: int | None = None
) -> SettleStep:
    return case.settle("charge", Direction.COMPENSATING, verdict, reference, amount)


async def stuck(stage: Stage, case: Case) -> None:
    """A shipment of which nobody knows whether it left: what the carrier did to it was arranged before."""
    stage.send(case.ship())
    await stage.dead_letter()


# -- shipping -------------------------------------------------------------------------------------------


async def test_a_parcel_leaves_once(stage: Stage, carrier: Carrier) -> None:
    case = Case()
    carrier.after("ship", no_answer)
    first = await stage.answer(case.ship())
    assert (first.type, first.body["reference"]) == ("OrderFulfilledEvent", "sh_1")
    assert await stage.answer(case.ship()) == first
    assert (carrier.parcels, carrier.count("ship")) == (1, 2)


async def test_a_refused_parcel_is_an_answer(stage: Stage, carrier: Carrier) -> None:
    """P8."""
    seen = await stage.answer(Case().ship(postal_code="00000"))
    assert (seen.type, seen.body["code"]) == ("ShipmentRejectedEvent", "address_refused")


async def test_the_address_is_forgotten_once_there_is_an_answer(stage: Stage) -> None:
    case = Case()
    await stage.answer(case.ship())
    row = await stage.ledger(case.saga_id)
    assert row["request"] is None
    assert "A. Person" not in str(row)


async def test_shipping_knows_no_compensation(stage: Stage, carrier: Carrier) -> None:
    """S16, S19."""
    case = Case()
    stage.send(case.refund())
    assert (await stage.dead_letter()).headers["error-type"] == "unknown_type"
    seen = await stage.answer(case.settle("ship", Direction.COMPENSATING, Verdict.SETTLED_OUTSIDE))
    assert (seen.body["accepted"], seen.body["reason"]) == (False, "this step has no compensation")


# -- verdicts on a pivot --------------------------------------------------------------------------------


async def test_took_effect_takes_the_carriers_own_reference(stage: Stage, carrier: Carrier) -> None:
    """S19: the call under way is settled first; the person's word is not needed."""
    case = Case()
    carrier.after("ship", *[no_answer] * 3)
    await stuck(stage, case)
    seen = await stage.answer(on_ship(case, Verdict.TOOK_EFFECT, "somebody-said-so"))
    assert (seen.type, seen.body["accepted"], seen.body["reference"]) == ("StepSettled", True, "sh_1")
    again = await stage.answer(case.ship())
    assert (again.type, again.body["reference"], carrier.parcels) == ("OrderFulfilledEvent", "sh_1", 1)


async def test_took_effect_needs_a_reference_where_the_carrier_knows_nothing(
    stage: Stage, carrier: Carrier
) -> None:
    case = Case()
    carrier.before("ship", *[no_answer] * 3)
    await stuck(stage, case)
    seen = await stage.answer(on_ship(case, Verdict.TOOK_EFFECT))
    assert (seen.body["accepted"], "reference" in seen.body["reason"]) == (False, True)
    seen = await stage.answer(on_ship(case, Verdict.TOOK_EFFECT, "by-phone-7"))
    assert (seen.body["accepted"], seen.body["reference"]) == (True, "by-phone-7")
    row = await stage.ledger(case.saga_id)
    assert (row["state"], row["verdict"]["said"]["reference"]) == ("done", "by-phone-7")


async def test_took_effect_is_refused_against_the_carriers_word(stage: Stage, carrier: Carrier) -> None:
    case = Case()
    carrier.after("ship", *[no_answer] * 3)
    stage.send(case.ship(postal_code="00000"))
    await stage.dead_letter()
    seen = await stage.answer(on_ship(case, Verdict.TOOK_EFFECT, "by-phone-7"))
    assert (seen.body["accepted"], seen.body["reason"]) == (
        False,
        "the provider says that nothing happened",
    )


async def test_no_effect_is_proven_by_a_confirmed_void(stage: Stage, carrier: Carrier) -> None:
    """P10: it leaves a tombstone."""
    case = Case()
    carrier.before("ship", *[no_answer] * 3)
    await stuck(stage, case)
    verdict = on_ship(case, Verdict.NO_EFFECT)
    seen = await stage.answer(verdict)
    assert seen.body["accepted"] is True
    assert await stage.answer(verdict) == seen
    assert (await stage.answer(case.ship())).type == "StepRefused"
    assert (await stage.ledger(case.saga_id))["state"] == "tombstone"
    assert carrier.parcels == 0


async def test_not_found_is_proof_only_after_the_settling_time(engine: AsyncEngine) -> None:
    """P10: without a void, and refused with the time from which on it can be had."""
    carrier = Carrier(ProviderTraits(settling_time_s=120), offers_void=False)
    async with shipping_stage(engine, carrier) as stage:
        await stage.replica()
        case = Case()
        carrier.before("ship", *[no_answer] * 3)
        await stuck(stage, case)
        seen = await stage.answer(on_ship(case, Verdict.NO_EFFECT))
        assert (seen.body["accepted"], "no proof before" in seen.body["reason"]) == (False, True)
        assert (await stage.ledger(case.saga_id))["state"] == "intent"
        await stage.execute("UPDATE shipping.ledger SET called_at = called_at - interval '131 seconds'")
        seen = await stage.answer(on_ship(case, Verdict.NO_EFFECT))
        assert seen.body["accepted"] is True
        assert (await stage.answer(case.ship())).type == "StepRefused"


async def test_no_effect_is_refused_when_the_carrier_has_the_parcel(stage: Stage, carrier: Carrier) -> None:
    """S19: and the saga learns the truth."""
    case = Case()
    carrier.after("ship", *[no_answer] * 3)
    await stuck(stage, case)
    stage.send(on_ship(case, Verdict.NO_EFFECT))
    settled, fulfilled = await stage.seen(2)
    assert (settled.body["accepted"], "sh_1" in settled.body["reason"]) == (False, True)
    assert (fulfilled.type, fulfilled.body["reference"]) == ("OrderFulfilledEvent", "sh_1")
    assert (await stage.ledger(case.saga_id))["state"] == "done"


async def test_no_effect_is_refused_while_the_carrier_cannot_be_asked(stage: Stage, carrier: Carrier) -> None:
    """P10: at once, and with the reason; no retry hides it."""

    async def down() -> None:
        raise ProviderUnavailable("POST /shipments/void: no reply")

    case = Case()
    carrier.before("ship", *[no_answer] * 3)
    await stuck(stage, case)
    carrier.before("void", down)
    seen = await stage.answer(on_ship(case, Verdict.NO_EFFECT))
    assert (seen.body["accepted"], "no reply" in seen.body["reason"]) == (False, True)


async def test_no_effect_of_a_step_that_was_never_asked_for_leaves_a_tombstone(
    stage: Stage, carrier: Carrier
) -> None:
    """P10: without a row no call was ever made."""
    case = Case()
    assert (await stage.answer(on_ship(case, Verdict.NO_EFFECT))).body["accepted"] is True
    assert (await stage.answer(case.ship())).type == "StepRefused"
    assert carrier.calls == []


async def test_no_effect_of_what_is_done_is_refused(stage: Stage) -> None:
    case = Case()
    await stage.answer(case.ship())
    seen = await stage.answer(on_ship(case, Verdict.NO_EFFECT))
    assert (seen.body["accepted"], "its effect stands" in seen.body["reason"]) == (False, True)


async def test_settled_outside_closes_the_key_first(stage: Stage, carrier: Carrier) -> None:
    """S19: nothing may leave twice; a late copy gets the person's reference."""
    case = Case()
    carrier.before("ship", *[no_answer] * 3)
    await stuck(stage, case)
    seen = await stage.answer(on_ship(case, Verdict.SETTLED_OUTSIDE, "courier-9"))
    assert (seen.body["accepted"], seen.body["reference"]) == (True, "courier-9")
    late = await stage.answer(case.ship())
    assert (late.type, late.body["reference"], carrier.parcels) == ("OrderFulfilledEvent", "courier-9", 0)
    assert (await stage.ledger(case.saga_id))["state"] == "settled"


# -- verdicts on a stuck refund -------------------------------------------------------------------------


async def test_a_stuck_refund_that_went_through_takes_the_gateways_reference(engine: AsyncEngine) -> None:
    """S19."""
    gateway = Gateway()
    async with payment_stage(engine, gateway) as stage:
        await stage.replica()
        case = Case()
        await stage.answer(case.charge(100))
        gateway.after("refund", *[no_answer] * 3)
        stage.send(case.refund())
        await stage.dead_letter()
        seen = await stage.answer(on_refund(case, Verdict.TOOK_EFFECT))
        assert (seen.body["accepted"], seen.body["reference"]) == (True, "re_1")
        late = await stage.answer(case.refund())
        assert (late.body["effect"], late.body["reference"], gateway.balance) == ("undone", "re_1", 0)


async def test_a_stuck_refund_may_be_settled_outside(engine: AsyncEngine) -> None:
    """S19: the money went back by other means; the gateway is not asked again."""
    gateway = Gateway()
    async with payment_stage(engine, gateway) as stage:
        await stage.replica()
        case = Case()
        await stage.answer(case.charge(100))
        gateway.before("refund", *[no_answer] * 3)
        stage.send(case.refund())
        await stage.dead_letter()
        seen = await stage.answer(on_refund(case, Verdict.NO_EFFECT))
        assert (seen.body["accepted"], "being undone" in seen.body["reason"]) == (False, True)
        seen = await stage.answer(on_refund(case, Verdict.SETTLED_OUTSIDE, "bank-transfer-3", 100))
        assert seen.body["accepted"] is True
        late = await stage.answer(case.refund())
        assert (late.body["amount"], late.body["reference"]) == (100, "bank-transfer-3")
        assert gateway.count("refund") == 3


async def test_no_effect_of_a_charge_that_is_being_settled_needs_proof(engine: AsyncEngine) -> None:
    """P10: in direction compensating it means that there was nothing to undo."""
    gateway = Gateway(ProviderTraits(settling_time_s=120), offers_void=False)
    async with payment_stage(engine, gateway) as stage:
        await stage.replica()
        case = Case()
        gateway.before("charge", *[no_answer] * 6)
        stage.send(case.charge(100))
        await stage.dead_letter()
        stage.send(case.refund())
        await stage.dead_letter()
        seen = await stage.answer(on_refund(case, Verdict.NO_EFFECT))
        assert seen.body["accepted"] is False
        await stage.execute("UPDATE payment.ledger SET called_at = called_at - interval '131 seconds'")
        seen = await stage.answer(on_refund(case, Verdict.NO_EFFECT))
        assert seen.body["accepted"] is True
        assert (await stage.answer(case.refund())).body["effect"] == "nothing"
        assert gateway.balance == 0
