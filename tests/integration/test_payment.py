"""Payment on a real PostgreSQL with a gateway that misbehaves: every order is charged at most once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from contracts.routing import command_queue
from participants.breaker import BreakerPolicy, BreakerState
from participants.provider_terms import ProviderMisuse, ProviderTraits
from tests.support.participant_stage import PACE, Stage, payment_stage, until
from tests.support.participants import Case
from tests.support.providers import Gateway, no_answer


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
async def stage(engine: AsyncEngine, gateway: Gateway) -> AsyncIterator[Stage]:
    """Payment with one process."""
    async with payment_stage(engine, gateway) as stage:
        await stage.replica()
        yield stage


async def test_a_charge_takes_the_total_once(stage: Stage, gateway: Gateway) -> None:
    """P1, P2."""
    case = Case()
    first = await stage.answer(case.charge(2598))
    assert first.type == "PaymentSuccessfulEvent"
    assert (first.body["amount"], first.body["currency"], first.body["reference"]) == (2598, "EUR", "ch_1")
    assert await stage.answer(case.charge(2598)) == first
    assert (gateway.balance, gateway.count("charge")) == (2598, 1)


async def test_a_decline_is_an_answer(stage: Stage, gateway: Gateway) -> None:
    """P8."""
    seen = await stage.answer(Case().charge(payment_method="pm_card_declined"))
    assert (seen.type, seen.body["code"]) == ("PaymentDeclinedEvent", "card_declined")
    assert gateway.count("charge") == 1


async def test_nothing_sensitive_is_kept_once_there_is_an_answer(stage: Stage) -> None:
    case = Case()
    await stage.answer(case.charge())
    row = await stage.ledger(case.saga_id)
    assert row["request"] is None
    assert "pm_card" not in str(row)


async def test_a_flaky_gateway_is_tried_again_with_the_same_key(stage: Stage, gateway: Gateway) -> None:
    """P6, P8: the ledger stays at its intent between the attempts."""
    gateway.before("charge", no_answer, no_answer)
    seen = await stage.answer(Case().charge())
    assert seen.type == "PaymentSuccessfulEvent"
    assert len({key for _, key in gateway.calls}) == 1
    assert gateway.count("charge") == 3


async def test_an_answer_that_got_lost_does_not_charge_twice(stage: Stage, gateway: Gateway) -> None:
    """P6."""
    gateway.after("charge", no_answer)
    assert (await stage.answer(Case().charge(100))).type == "PaymentSuccessfulEvent"
    assert (gateway.balance, gateway.count("charge")) == (100, 2)


async def test_used_up_attempts_end_in_the_dead_letters(stage: Stage, gateway: Gateway) -> None:
    """D1."""
    gateway.before("charge", *[no_answer] * 3)
    case = Case()
    stage.send(case.charge())
    dead = await stage.dead_letter()
    assert (dead.headers["error-type"], dead.headers["error-permanent"]) == ("ProviderUnavailable", False)
    assert dead.headers["attempt"] == 3
    assert (await stage.ledger(case.saga_id))["state"] == "intent"


async def test_a_request_that_the_gateway_never_accepts_is_a_dead_letter_at_once(
    stage: Stage, gateway: Gateway
) -> None:
    """P8."""

    async def misuse() -> None:
        raise ProviderMisuse("POST /charges: 400 unknown currency")

    gateway.before("charge", misuse)
    stage.send(Case().charge())
    dead = await stage.dead_letter()
    assert (dead.headers["error-type"], dead.headers["error-permanent"]) == ("provider_misuse", True)
    assert gateway.count("charge") == 1


async def test_another_payload_for_the_same_step_is_a_dead_letter(stage: Stage, gateway: Gateway) -> None:
    """P2."""
    case = Case()
    await stage.answer(case.charge(100))
    stage.send(case.charge(200))
    assert (await stage.dead_letter()).headers["error-type"] == "payload_mismatch"
    assert gateway.balance == 100


async def test_a_bug_in_the_adapter_is_a_failure_like_any_other(stage: Stage, gateway: Gateway) -> None:
    async def bug() -> None:
        raise KeyError("nobody thought of this")

    gateway.before("charge", bug)
    assert (await stage.answer(Case().charge())).type == "PaymentSuccessfulEvent"


# -- compensation ---------------------------------------------------------------------------------------


async def test_a_refund_gives_back_what_the_ledger_says(stage: Stage, gateway: Gateway) -> None:
    """P3."""
    case = Case()
    await stage.answer(case.charge(2598))
    seen = await stage.answer(case.refund())
    assert (seen.type, seen.body["effect"], seen.body["amount"]) == ("PaymentRefundedEvent", "undone", 2598)
    assert await stage.answer(case.refund()) == seen
    assert (gateway.balance, gateway.count("refund")) == (0, 1)
    assert (await stage.answer(case.charge(2598))).type == "StepRefused"


async def test_a_refund_before_the_charge_leaves_a_tombstone(stage: Stage, gateway: Gateway) -> None:
    """P4, P5."""
    case = Case()
    seen = await stage.answer(case.refund())
    assert (seen.type, seen.body["effect"]) == ("PaymentRefundedEvent", "nothing")
    refused = await stage.answer(case.charge())
    assert refused.type == "StepRefused"
    assert await stage.answer(case.charge()) == refused
    assert gateway.calls == []


async def test_a_declined_charge_needs_no_refund(stage: Stage, gateway: Gateway) -> None:
    """P4."""
    case = Case()
    await stage.answer(case.charge(payment_method="pm_card_declined"))
    assert (await stage.answer(case.refund())).body["effect"] == "nothing"
    assert gateway.count("refund") == 0


async def test_a_flaky_refund_is_asked_again_with_its_own_key(stage: Stage, gateway: Gateway) -> None:
    """P6."""
    case = Case()
    await stage.answer(case.charge(70))
    gateway.before("refund", no_answer)
    gateway.after("refund", no_answer)
    assert (await stage.answer(case.refund())).body["effect"] == "undone"
    keys = {key for kind, key in gateway.calls if kind == "refund"}
    assert keys == {f"{case.saga_id}:charge:compensating"}
    assert (gateway.balance, len(gateway.refunds)) == (0, 1)


@pytest.mark.parametrize("offers_void", [True, False])
async def test_a_refund_that_finds_an_intent_settles_it_and_undoes_what_it_finds(
    engine: AsyncEngine, offers_void: bool
) -> None:
    """P6: the charge took effect, but all its answers were lost."""
    gateway = Gateway(offers_void=offers_void)
    async with payment_stage(engine, gateway) as stage:
        await stage.replica()
        case = Case()
        gateway.after("charge", *[no_answer] * 3)
        stage.send(case.charge(100))
        await stage.dead_letter()
        stage.send(case.refund())
        charged, refunded = await stage.seen(2)
        assert (charged.type, charged.body["reference"]) == ("PaymentSuccessfulEvent", "ch_1")
        assert (refunded.body["effect"], refunded.body["amount"]) == ("undone", 100)
        assert (gateway.balance, len(gateway.taken)) == (0, 1)
        assert (await stage.ledger(case.saga_id))["state"] == "undone"


@pytest.mark.parametrize("offers_void", [True, False])
async def test_a_refund_that_finds_an_intent_without_effect_leaves_no_money_taken(
    engine: AsyncEngine, offers_void: bool
) -> None:
    """P6: with a void nothing is ever charged; without, the charge is repeated and given back."""
    gateway = Gateway(offers_void=offers_void)
    async with payment_stage(engine, gateway) as stage:
        await stage.replica()
        case = Case()
        gateway.before("charge", *[no_answer] * 3)
        stage.send(case.charge(100))
        await stage.dead_letter()
        stage.send(case.refund())
        expected = (
            ["PaymentRefundedEvent"] if offers_void else ["PaymentSuccessfulEvent", "PaymentRefundedEvent"]
        )
        assert await stage.types(len(expected)) == expected
        assert gateway.balance == 0
        assert len(gateway.taken) == (0 if offers_void else 1)
        assert (await stage.answer(case.charge(100))).type == "StepRefused"


async def test_settling_goes_on_until_the_answer_is_definite(stage: Stage, gateway: Gateway) -> None:
    """P6: time-outs and 5xx are not answers; the row says that it is being undone."""
    case = Case()
    gateway.after("charge", *[no_answer] * 3)
    stage.send(case.charge(100))
    await stage.dead_letter()
    gateway.before("void", *[no_answer] * 3)
    stage.send(case.refund())
    assert (await stage.dead_letter()).type == "RefundPayment"
    assert (await stage.ledger(case.saga_id))["state"] == "undoing"
    assert (await stage.answer(case.charge(100))).type == "StepRefused"
    stage.send(case.refund())
    assert await stage.types(2) == ["PaymentSuccessfulEvent", "PaymentRefundedEvent"]
    assert gateway.balance == 0


# -- several at once ------------------------------------------------------------------------------------


async def test_a_slow_call_delays_only_its_own_order(stage: Stage, gateway: Gateway) -> None:
    slow, answered = Case(), asyncio.Event()
    gateway.before("charge", answered.wait)
    stage.send(slow.charge(1), *(Case().charge(1) for _ in range(20)))
    assert slow.saga_id not in {seen.body["saga_id"] for seen in await stage.seen(20)}
    answered.set()
    [seen] = await stage.seen()
    assert seen.body["saga_id"] == str(slow.saga_id)


async def test_copies_that_arrive_during_the_call_are_served_with_it(stage: Stage, gateway: Gateway) -> None:
    case, answered = Case(), asyncio.Event()
    gateway.before("charge", answered.wait)
    stage.send(*[case.charge(1)] * 5)
    stage.send(Case().charge(1))
    [other] = await stage.seen()
    assert other.body["saga_id"] != str(case.saga_id)
    stage.send(*[case.charge(1)] * 5, Case().charge(1))
    await stage.seen()
    answered.set()
    await stage.seen()
    assert (gateway.count("charge"), gateway.clashes, gateway.balance) == (3, 0, 3)
    assert (await stage.answer(case.charge(1))).type == "PaymentSuccessfulEvent"


async def test_a_refund_that_arrives_during_the_call_waits_for_it(stage: Stage, gateway: Gateway) -> None:
    """Never two calls for one piece of work at once."""
    case, answered = Case(), asyncio.Event()
    gateway.before("charge", answered.wait)
    stage.send(case.charge(9), case.refund(), Case().charge(1))
    await stage.seen()
    answered.set()
    charged, refunded = await stage.seen(2)
    assert (charged.type, refunded.body["effect"]) == ("PaymentSuccessfulEvent", "undone")
    assert (gateway.balance, gateway.clashes) == (1, 0)


async def test_no_more_calls_at_once_than_allowed(engine: AsyncEngine, gateway: Gateway) -> None:
    async with payment_stage(engine, gateway, pace=replace(PACE, concurrency=3)) as stage:
        await stage.replica()
        answered = asyncio.Event()
        gateway.before("charge", *[answered.wait] * 3)
        stage.send(*(Case().charge(1) for _ in range(40)))
        await until(lambda: gateway.count("charge") == 3)
        assert stage.broker.depth(command_queue("payment")).ready == 0
        answered.set()
        await stage.seen(40)
        assert gateway.most_at_once == 3


async def test_replicas_charge_once_between_them(engine: AsyncEngine, gateway: Gateway) -> None:
    """Every command three times and every other one refunded, in three processes."""
    async with payment_stage(engine, gateway) as stage:
        for _ in range(3):
            await stage.replica()
        cases = [Case() for _ in range(40)]
        for _ in range(3):
            stage.send(*(case.charge(10) for case in cases))
        stage.send(*(case.refund() for case in cases[::2]))
        ended: Counter[str] = Counter()
        while sum(count > 0 for count in ended.values()) < 40 or gateway.balance != 200:
            [seen] = await stage.seen()
            if seen.type != "StepRefused":
                ended[seen.body["saga_id"]] += 1
        states = await stage.rows("SELECT state, count(*) AS n FROM payment.ledger GROUP BY state")
        counts = {row["state"]: row["n"] for row in states}
        assert counts["done"] == 20
        assert counts.get("undone", 0) + counts.get("tombstone", 0) + counts.get("reversing", 0) == 20


# -- crashes --------------------------------------------------------------------------------------------


async def test_a_crash_during_the_call_is_healed_by_the_redelivery(
    engine: AsyncEngine, gateway: Gateway
) -> None:
    """P6: found again at intent, it is called again with the same key."""
    pace = replace(PACE, finish_within_s=0.0)
    async with payment_stage(engine, gateway, pace=pace) as stage:
        doomed = await stage.replica()
        case, called = Case(), asyncio.Event()

        async def never_answered() -> None:
            called.set()
            await asyncio.Event().wait()

        gateway.after("charge", never_answered)
        stage.send(case.charge(100))
        await called.wait()
        await stage.crash(doomed)
        assert (await stage.ledger(case.saga_id))["state"] == "intent"
        await stage.replica()
        [seen] = await stage.seen()
        assert seen.type == "PaymentSuccessfulEvent"
        assert (gateway.balance, gateway.count("charge")) == (100, 2)


async def test_a_graceful_stop_waits_for_the_calls_under_way(engine: AsyncEngine, gateway: Gateway) -> None:
    async with payment_stage(engine, gateway) as stage:
        service = await stage.replica()
        case, called, answered = Case(), asyncio.Event(), asyncio.Event()

        async def slow() -> None:
            called.set()
            await answered.wait()

        gateway.before("charge", slow)
        stage.send(case.charge(100))
        await called.wait()
        stopping = asyncio.create_task(stage.crash(service))
        await asyncio.sleep(0)
        answered.set()
        await stopping
        assert await stage.types(1) == ["PaymentSuccessfulEvent"]
        assert stage.broker.depth(command_queue("payment")).ready == 0


# -- old keys -------------------------------------------------------------------------------------------


async def test_an_old_intent_is_looked_up_and_never_called_blind(engine: AsyncEngine) -> None:
    """P6: the gateway may have forgotten the key and would charge again."""
    gateway = Gateway(ProviderTraits(key_lifetime_s=86_400))
    async with payment_stage(engine, gateway) as stage:
        await stage.replica()
        case = Case()
        gateway.after("charge", *[no_answer] * 3)
        stage.send(case.charge(100))
        await stage.dead_letter()
        await stage.age(days=2)
        gateway.charges.clear()  # forgotten
        seen = await stage.answer(case.charge(100))
        assert (seen.type, seen.body["reference"]) == ("PaymentSuccessfulEvent", "ch_1")
        assert (gateway.count("charge"), gateway.count("charges_of"), gateway.balance) == (3, 1, 100)


async def test_an_old_intent_that_had_no_effect_is_begun_anew(engine: AsyncEngine) -> None:
    """P10: "not found" long after the last call is proof."""
    gateway = Gateway(ProviderTraits(key_lifetime_s=86_400, settling_time_s=120))
    async with payment_stage(engine, gateway) as stage:
        await stage.replica()
        case = Case()
        gateway.before("charge", *[no_answer] * 3)
        stage.send(case.charge(100))
        await stage.dead_letter()
        await stage.age(days=2)
        assert (await stage.answer(case.charge(100))).type == "PaymentSuccessfulEvent"
        assert (gateway.count("charges_of"), gateway.balance) == (1, 100)


async def test_an_old_key_that_was_called_a_moment_ago_waits_for_proof(engine: AsyncEngine) -> None:
    """P10: a call may still be under way."""
    gateway = Gateway(ProviderTraits(key_lifetime_s=86_400, settling_time_s=120))
    async with payment_stage(engine, gateway) as stage:
        await stage.replica()
        case = Case()
        gateway.before("charge", *[no_answer] * 3)
        stage.send(case.charge(100))
        await stage.dead_letter()
        await stage.execute("UPDATE payment.ledger SET intent_at = intent_at - interval '2 days'")
        stage.send(case.charge(100))
        assert (await stage.dead_letter()).headers["error-type"] == "TransientFailure"
        assert (gateway.count("charge"), gateway.count("charges_of")) == (3, 3)


async def test_an_old_refund_is_looked_up_and_never_called_blind(engine: AsyncEngine) -> None:
    """P6."""
    gateway = Gateway(ProviderTraits(key_lifetime_s=86_400))
    async with payment_stage(engine, gateway) as stage:
        await stage.replica()
        case = Case()
        await stage.answer(case.charge(100))
        gateway.after("refund", *[no_answer] * 3)
        stage.send(case.refund())
        await stage.dead_letter()
        await stage.age(days=2)
        seen = await stage.answer(case.refund())
        assert (seen.body["effect"], seen.body["reference"]) == ("undone", "re_1")
        assert (gateway.count("refund"), gateway.count("refunds_of"), gateway.balance) == (3, 1, 0)


async def test_an_old_intent_without_effect_is_compensated_by_proof(engine: AsyncEngine) -> None:
    """P6, P10: a forgotten key must not be voided either; the books of the order decide."""
    gateway = Gateway(ProviderTraits(key_lifetime_s=86_400))
    async with payment_stage(engine, gateway) as stage:
        await stage.replica()
        case = Case()
        gateway.before("charge", *[no_answer] * 3)
        stage.send(case.charge(100))
        await stage.dead_letter()
        await stage.age(days=2)
        assert (await stage.answer(case.refund())).body["effect"] == "nothing"
        assert (gateway.count("void"), gateway.count("charges_of")) == (0, 1)


# -- circuit breaker ------------------------------------------------------------------------------------

TRIPS = BreakerPolicy(minimum_calls=3, window_s=60, cool_down_s=0.05, probe_patience_s=60)


async def test_an_open_breaker_pauses_consumption_and_resumes_by_itself(
    engine: AsyncEngine, gateway: Gateway
) -> None:
    """P9: commands not started hop with their attempt unchanged, and none is a dead letter."""
    async with payment_stage(engine, gateway, TRIPS) as stage:
        service = await stage.replica()
        gateway.before("charge", *[no_answer] * 6)
        cases = [Case() for _ in range(30)]
        stage.send(*(case.charge(1) for case in cases))
        seen = await stage.seen(30)
        assert {each.body["saga_id"] for each in seen} == {str(case.saga_id) for case in cases}
        assert gateway.balance == 30
        assert service.breaker is BreakerState.CLOSED
        assert service.troubles == ()


async def test_a_command_that_probes_in_vain_burns_no_attempt(engine: AsyncEngine, gateway: Gateway) -> None:
    """P9: alone with its provider for a long outage, it is every probe, and still no dead letter."""
    async with payment_stage(engine, gateway, replace(TRIPS, minimum_calls=2)) as stage:
        await stage.replica()
        gateway.before("charge", *[no_answer] * 15)
        case = Case()
        stage.send(case.charge(1))
        [seen] = await stage.seen()
        assert seen.body["saga_id"] == str(case.saga_id)
        assert (gateway.count("charge"), gateway.balance) == (16, 1)


async def test_calls_in_flight_are_answered_while_the_breaker_is_open(
    engine: AsyncEngine, gateway: Gateway
) -> None:
    """P9."""
    forever = replace(TRIPS, cool_down_s=3600.0)
    async with payment_stage(engine, gateway, forever) as stage:
        service = await stage.replica()
        answered, slow = asyncio.Event(), Case()
        gateway.before("charge", answered.wait, *[no_answer] * 20)
        stage.send(slow.charge(1), *(Case().charge(1) for _ in range(5)))
        await until(lambda: service.breaker is BreakerState.OPEN)
        assert "circuit breaker open" in service.troubles[0]
        calls = gateway.count("charge")
        answered.set()
        [seen] = await stage.seen()
        assert seen.body["saga_id"] == str(slow.saga_id)
        await until(lambda: stage.broker.depth(command_queue("payment")).consumers == 0)
        assert gateway.count("charge") == calls
