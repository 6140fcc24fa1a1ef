"""A participant with effects of its own, on a bench, and at a provider: in memory and on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import insert, select, text

from contracts.commands import AdvanceLowWaterMark, SettleStep, Verdict
from contracts.envelope import Direction
from contracts.events import StepRefused, StepSettled
from messaging.compose import instruction_message
from messaging.identifiers import first_id_at
from messaging.postgresql import create_engine
from migrations.run import histories_of_kit, migrate_async
from oms.kit import Effect, PermanentFailure
from oms.kit.providers import CallUnderWay, Declined, ProviderMisuse, ProviderUnavailable
from oms.kit.testing import FakeProvider, Stage, StagedSaga, Trouble, in_memory, on_postgresql
from participants.breaker import BreakerPolicy, BreakerState
from tests.support.loyalty import (
    NAME,
    POINTS,
    CalledOff,
    CallOff,
    GiveBack,
    GivenBack,
    Hold,
    NotDelivered,
    Order,
    Ordered,
    PointsHeld,
    Spend,
    Spent,
    Tell,
    Told,
    TooFew,
    loyalty,
)
from tests.support.participant_stage import Stage as Process
from tests.support.participant_stage import until
from tests.support.participants import NOW, new_id

pytestmark = pytest.mark.postgresql

GIFT: dict[str, Any] = {"gift": "a mug", "address": "1 Street"}


@dataclass
class Scene:
    """The stage and its shop."""

    stage: Stage
    shop: FakeProvider


@pytest.fixture(params=["memory", "postgresql"])
async def scene(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Scene]:
    shop = FakeProvider()
    if request.param == "memory":
        opened = in_memory(loyalty(tmp_path), shop)
    else:
        opened = on_postgresql(loyalty(tmp_path), shop, request.getfixturevalue("database_url"))
    async with opened as stage:
        await stage.execute(insert(POINTS), [{"member": "ann", "points": 10}, {"member": "bob", "points": 1}])
        yield Scene(stage, shop)


async def points(stage: Stage) -> dict[str, int]:
    return {row.member: row.points for row in await stage.execute(select(POINTS))}


async def test_an_effect_at_a_provider_is_asked_for_once_and_answered_alike(scene: Scene) -> None:
    saga = scene.stage.saga()
    ordered = await saga.ask(Order, **GIFT)
    assert isinstance(ordered, Ordered)
    assert (ordered.gift, ordered.reference) == ("a mug", "effect-1")
    assert await saga.ask(Order, **GIFT) == ordered
    assert len(scene.shop.calls) == 1


async def test_a_refusal_is_a_rejection_without_what_is_sensitive(scene: Scene) -> None:
    scene.shop.next(Declined("no_way", "nobody goes to 1 Street"))
    saga = scene.stage.saga()
    refused = await saga.ask(Order, **GIFT)
    assert isinstance(refused, NotDelivered)
    assert (refused.code, refused.message) == ("no_way", "nobody goes to ***")
    assert await saga.ask(Order, **GIFT) == refused


async def test_a_refusal_that_no_event_could_tell_is_a_rejection_all_the_same(scene: Scene) -> None:
    scene.shop.next(Declined("card-declined", "no " * 1000))
    refused = await scene.stage.ask(Order, **GIFT)
    assert isinstance(refused, NotDelivered)
    assert (refused.code, len(refused.message)) == ("declined", 1000)


@pytest.mark.parametrize(
    ("trouble", "error"),
    [
        (Trouble.SILENT, ProviderUnavailable),
        (Trouble.UNHEARD, ProviderUnavailable),
        (Trouble.LATE, ProviderUnavailable),
        (Trouble.BUSY, CallUnderWay),
        (Trouble.REFUSED, PermanentFailure),
    ],
)
async def test_where_there_is_no_answer_the_same_key_is_asked_again(
    scene: Scene, trouble: Trouble, error: type[Exception]
) -> None:
    scene.shop.next(trouble)
    saga = scene.stage.saga()
    with pytest.raises(error):
        await saga.ask(Order, **GIFT)
    scene.shop.arrive()
    assert isinstance(await saga.ask(Order, **GIFT), Ordered)
    assert len(set(scene.shop.calls)) == 1
    assert len(scene.shop.effects) == 1


async def test_a_lost_answer_is_found_out_before_it_is_undone(scene: Scene) -> None:
    scene.shop.next(Trouble.UNHEARD)
    saga = scene.stage.saga()
    with pytest.raises(ProviderUnavailable):
        await saga.ask(Order, **GIFT)
    ordered, called_off = await scene.stage.serve_all(saga.command(CallOff))
    assert isinstance(ordered, Ordered)
    assert isinstance(called_off, CalledOff)
    assert called_off.effect is Effect.UNDONE
    assert [each.subject for each in scene.shop.effects] == [str(saga.subject_id), ordered.reference]


async def test_a_call_that_arrives_after_its_key_was_closed_has_no_effect(scene: Scene) -> None:
    scene.shop.next(Trouble.LATE)
    saga = scene.stage.saga()
    with pytest.raises(ProviderUnavailable):
        await saga.ask(Order, **GIFT)
    called_off = await saga.ask(CallOff)
    assert isinstance(called_off, CalledOff)
    assert called_off.effect is Effect.NOTHING
    scene.shop.arrive()
    assert scene.shop.effects == ()


async def test_without_closing_a_late_call_is_repeated_and_then_undone(scene: Scene) -> None:
    scene.shop.offers_close = False
    scene.shop.next(Trouble.LATE)
    saga = scene.stage.saga()
    with pytest.raises(ProviderUnavailable):
        await saga.ask(Order, **GIFT)
    assert isinstance(await saga.ask(CallOff), CalledOff)
    scene.shop.arrive()
    assert len(scene.shop.effects) == 2, "the effect and its undoing"


async def test_an_undoing_is_done_once_however_often_it_is_asked_for(scene: Scene) -> None:
    saga = scene.stage.saga()
    await saga.ask(Order, **GIFT)
    scene.shop.next(Trouble.SILENT, Trouble.UNHEARD)
    for _ in range(2):
        with pytest.raises(ProviderUnavailable):
            await saga.ask(CallOff)
    first = await saga.ask(CallOff)
    assert await saga.ask(CallOff) == first
    assert len(scene.shop.effects) == 2
    assert isinstance(await saga.ask(Order, **GIFT), StepRefused)


async def test_what_was_never_asked_for_is_buried_without_a_call(scene: Scene) -> None:
    saga = scene.stage.saga()
    buried = await saga.ask(CallOff)
    assert isinstance(buried, CalledOff)
    assert buried.effect is Effect.NOTHING
    assert isinstance(await saga.ask(Order, **GIFT), StepRefused)
    assert scene.shop.calls == []


async def test_a_batch_is_decided_together_on_its_bench(scene: Scene) -> None:
    sagas = [scene.stage.saga() for _ in range(4)]
    commands = [saga.command(Hold, member="ann", points=4) for saga in sagas]
    answers = await scene.stage.serve_all(*commands[:3], sagas[3].command(Hold, member="bob", points=1))
    assert [type(each) for each in answers] == [PointsHeld, PointsHeld, TooFew, PointsHeld]
    assert await points(scene.stage) == {"ann": 2, "bob": 0}


async def test_of_a_bench_only_the_command_that_cannot_be_served_fails(scene: Scene) -> None:
    good, bad = scene.stage.saga(), scene.stage.saga()
    with pytest.raises(PermanentFailure, match="no such member"):
        await scene.stage.serve_all(
            bad.command(Hold, member="unknown", points=1), good.command(Hold, member="ann", points=4)
        )
    assert await points(scene.stage) == {"ann": 6, "bob": 1}


async def test_whatever_an_effect_raises_is_its_commands_alone(scene: Scene) -> None:
    sagas = [scene.stage.saga() for _ in range(3)]
    with pytest.raises(RuntimeError, match="out of ink"):
        await scene.stage.serve_all(
            sagas[0].command(Hold, member="ann", points=4),
            sagas[1].command(Hold, member="crash", points=1),
            sagas[2].command(Order, **GIFT),
        )
    assert await points(scene.stage) == {"ann": 6, "bob": 1}
    assert len(scene.shop.effects) == 1


async def test_what_was_done_before_a_wrong_answer_does_not_stand(scene: Scene) -> None:
    await scene.stage.execute(POINTS.update().values(points=20))
    with pytest.raises(PermanentFailure, match="it returned Told"):
        await scene.stage.ask(Hold, member="ann", points=13)
    assert await points(scene.stage) == {"ann": 20, "bob": 20}


async def test_steps_of_all_kinds_are_served_in_one_batch(scene: Scene) -> None:
    saga = scene.stage.saga()
    answers = await scene.stage.serve_all(
        saga.command(Hold, member="ann", points=4), saga.command(Tell, text="hello")
    )
    assert {type(each) for each in answers} == {PointsHeld, Told}


async def test_what_a_later_step_has_used_up_cannot_be_given_back(scene: Scene) -> None:
    saga = scene.stage.saga()
    await saga.ask(Hold, member="ann", points=4)
    spent = await saga.ask(Spend)
    assert isinstance(spent, Spent)
    assert spent.points == 4
    with pytest.raises(PermanentFailure, match="consumed"):
        await saga.ask(GiveBack)


async def test_what_is_held_is_given_back_once(scene: Scene) -> None:
    saga = scene.stage.saga()
    await saga.ask(Hold, member="ann", points=4)
    for _ in range(2):
        assert isinstance(await saga.ask(GiveBack), GivenBack)
    assert await points(scene.stage) == {"ann": 10, "bob": 1}


def verdict(saga: StagedSaga, step: str, direction: Direction, said: Verdict) -> SettleStep:
    identity = {"saga_id": saga.saga_id, "order_id": saga.subject_id, "step": step}
    return SettleStep(**identity, direction=direction, verdict=said, reference="by hand")


async def test_a_verdict_is_proven_at_the_provider_of_its_own_kind_of_step(scene: Scene) -> None:
    scene.shop.next(Trouble.SILENT)
    saga = scene.stage.saga()
    with pytest.raises(ProviderUnavailable):
        await saga.ask(Order, step="gift", **GIFT)
    settled = await scene.stage.serve(verdict(saga, "gift", Direction.FORWARD, Verdict.NO_EFFECT))
    assert isinstance(settled, StepSettled)
    assert settled.accepted
    assert isinstance(await saga.ask(Order, step="gift", **GIFT), StepRefused)


async def test_a_verdict_on_a_step_of_its_own_is_judged_by_the_ledger(scene: Scene) -> None:
    saga = scene.stage.saga()
    await saga.ask(Hold, step="hold", member="ann", points=4)
    for said, accepted in ((Verdict.TOOK_EFFECT, True), (Verdict.NO_EFFECT, False)):
        settled = await scene.stage.serve(verdict(saga, "hold", Direction.FORWARD, said))
        assert isinstance(settled, StepSettled)
        assert settled.accepted is accepted


async def test_a_verdict_on_work_that_nobody_has_asked_for_is_accepted(scene: Scene) -> None:
    saga = scene.stage.saga()
    said = verdict(saga, "gift", Direction.COMPENSATING, Verdict.NO_EFFECT)
    settled = await scene.stage.serve(said)
    assert isinstance(settled, StepSettled)
    assert settled.accepted
    assert isinstance(await saga.ask(Order, step="gift", **GIFT), StepRefused)


@pytest.mark.parametrize("command", [Order, Hold])
async def test_behind_the_low_water_mark_unknown_work_fails_for_good(
    scene: Scene, command: type[Any]
) -> None:
    mark = first_id_at(NOW.replace(year=2020))
    told = instruction_message(AdvanceLowWaterMark(mark=mark), NAME, new_id(), NOW, "test")
    assert await scene.stage.deliver(told) == []
    late = StagedSaga(scene.stage, saga_id=UUID(int=7))
    fields = GIFT if command is Order else {"member": "ann", "points": 1}
    with pytest.raises(PermanentFailure, match="ended long ago"):
        await late.ask(command, **fields)
    assert scene.shop.calls == []


async def test_while_the_breaker_is_open_nothing_is_taken_from_the_queue_and_no_attempt_is_used_up(
    tmp_path: Path, database_url: str
) -> None:
    participant, shop = loyalty(tmp_path), FakeProvider()
    for history in histories_of_kit(NAME, tmp_path):
        await migrate_async(history, database_url)
    engine = create_engine(database_url)
    trips = BreakerPolicy(minimum_calls=3, window_s=60, cool_down_s=0.05, probe_patience_s=60)
    shop.next(*[Trouble.SILENT] * 12)
    try:
        async with Process(participant, engine, shop, trips) as process:
            service = await process.replica()
            process.send(*(order() for _ in range(8)))
            await until(lambda: service.breaker is not BreakerState.CLOSED)
            process.send(tell())
            assert sorted(await process.types(9)) == ["Ordered"] * 8 + ["Told"]
            assert service.breaker is BreakerState.CLOSED
            assert len(shop.effects) == 9
    finally:
        await engine.dispose()


def order() -> Order:
    identity = {"saga_id": new_id(), "order_id": new_id(), "step": "gift"}
    return Order(**identity, direction=Direction.FORWARD, **GIFT)


def tell() -> Tell:
    identity = {"saga_id": new_id(), "order_id": new_id(), "step": "tell"}
    return Tell(**identity, direction=Direction.FORWARD, text="hello")


class Talkative(FakeProvider):
    """A shop that repeats whatever it was told, where it fails."""

    async def do(self, key: str, subject: object = "") -> Any:
        await super().do(key, subject)
        raise ProviderUnavailable("nobody at 1 Street")

    async def close(self, key: str) -> Any:
        raise ProviderMisuse("cannot call off the parcel to 1 STREET")

    async def find(self, key: str) -> Any:
        raise ProviderMisuse("who lives at 1 Street?")


async def test_no_failure_repeats_what_is_sensitive_in_a_command_whichever_message_fails(
    tmp_path: Path, database_url: str
) -> None:
    for history in histories_of_kit(NAME, tmp_path):
        await migrate_async(history, database_url)
    engine = create_engine(database_url)
    try:
        async with Process(loyalty(tmp_path), engine, Talkative()) as process:
            await process.replica()
            asked = order()
            identity = {"saga_id": asked.saga_id, "order_id": asked.order_id, "step": asked.step}
            process.send(asked)
            assert (await process.dead_letter()).headers["error-message"] == "nobody at ***"
            said = SettleStep(**identity, direction=Direction.FORWARD, verdict=Verdict.TOOK_EFFECT)
            answer = await process.answer(said)
            assert answer.body["reason"].startswith("who lives at ***?; without")
            process.send(CallOff(**identity, direction=Direction.COMPENSATING))
            dead = await process.dead_letter()
            assert dead.headers["error-message"] == "cannot call off the parcel to ***"
    finally:
        await engine.dispose()


async def test_the_ledger_forgets_what_is_sensitive_once_the_answer_is_there(
    tmp_path: Path, database_url: str
) -> None:
    shop = FakeProvider()
    async with on_postgresql(loyalty(tmp_path), shop, database_url) as stage:
        shop.next(Trouble.SILENT)
        saga = stage.saga()
        with pytest.raises(ProviderUnavailable):
            await saga.ask(Order, **GIFT)
        asked = text("SELECT details, request FROM loyalty.ledger")
        [row] = await stage.execute(asked)
        assert (row.details, row.request) == ({"gift": "a mug"}, {"address": "1 Street"})
        await saga.ask(Order, **GIFT)
        [row] = await stage.execute(asked)
        assert row.request is None
        assert "Street" not in str(row.details)
