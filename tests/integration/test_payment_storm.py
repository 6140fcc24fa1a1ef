"""Payment in foul weather: lost answers, late commands, crashes; at the end the money must be right."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import replace
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from participants.breaker import BreakerPolicy
from participants.provider_terms import CallUnderWay, ProviderUnavailable
from tests.support.participant_stage import PACE, Stage, payment_stage
from tests.support.participants import Case
from tests.support.providers import Gateway, Trouble

BREAKER = BreakerPolicy(minimum_calls=20, window_s=1, cool_down_s=0.02)


def weather(rng: random.Random) -> Trouble:
    """One call's luck."""

    async def trouble() -> None:
        luck = rng.random()
        if luck < 0.15:
            raise ProviderUnavailable("no answer")
        if luck < 0.2:
            raise CallUnderWay("409")
        if luck < 0.25:
            raise KeyError("a bug")
        for _ in range(rng.randrange(4)):
            await asyncio.sleep(0)

    return trouble


@pytest.mark.parametrize("seed", range(4))
async def test_after_the_storm_the_money_is_right(engine: AsyncEngine, seed: int) -> None:
    """Every order is charged at most once, and every cancelled one has its money back."""
    rng = random.Random(seed)
    gateway = Gateway(offers_void=seed % 2 == 0)
    for kind in ("charge", "refund", "void"):
        gateway.before(kind, *(weather(rng) for _ in range(300)))
        gateway.after(kind, *(weather(rng) for _ in range(300)))
    pace = replace(PACE, finish_within_s=0.0, concurrency=8)
    async with payment_stage(engine, gateway, BREAKER, pace) as stage:
        replicas = [await stage.replica() for _ in range(2)]
        cases = [Case() for _ in range(60)]
        cancelled = {case.saga_id for case in cases[::2]}
        reader = asyncio.create_task(_read(stage, cases, cancelled))
        for round_ in range(200):
            if reader.done():
                break
            for case in rng.sample(cases, 20):
                stage.send(case.charge(10))
                if case.saga_id in cancelled and round_ > 1:
                    stage.send(case.refund())
            if round_ % 3 == 1:
                await stage.crash(replicas.pop(0))
                replicas.append(await stage.replica())
            await asyncio.sleep(0.01)
        effects = await reader
        kept = [case for case in cases if case.saga_id not in cancelled]
        assert Counter(charge.key for charge in gateway.taken.values()).most_common(1)[0][1] == 1
        assert gateway.balance == 10 * len(kept)
        for case in cases:
            row = await stage.ledger(case.saga_id)
            charged = any(charge.key.startswith(str(case.saga_id)) for charge in gateway.taken.values())
            expected = {"undone"} if charged else {"tombstone"}
            assert row["state"] in ({"done"} if case in kept else expected)
            assert row["request"] is None
            if case not in kept:
                assert effects[case.saga_id] == {"undone" if charged else "nothing"}


async def _read(stage: Stage, cases: list[Case], cancelled: set[UUID]) -> dict[UUID, set[str]]:
    """Until every case has its final answer; what each compensation said."""
    effects: dict[UUID, set[str]] = {}
    charged: set[UUID] = set()
    while len(effects) < len(cancelled) or len(charged) < len(cases) - len(cancelled):
        [seen] = await stage.seen()
        saga_id = UUID(seen.body["saga_id"])
        if seen.type == "PaymentRefundedEvent":
            effects.setdefault(saga_id, set()).add(seen.body["effect"])
        elif seen.type == "PaymentSuccessfulEvent" and saga_id not in cancelled:
            charged.add(saga_id)
    return effects
