"""The participant kit: what may be declared, and what becomes of effects that refuse or fail."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, MetaData, Table, Text, insert, select

from contracts.events import StepRefused, StepSettled
from oms.kit import (
    Command,
    CompensationOutcome,
    Effect,
    InvalidParticipant,
    OutcomeEvent,
    Participant,
    PermanentFailure,
    Rejection,
    Work,
)
from oms.kit.testing import Stage, in_memory

TABLES = MetaData(schema="garden")
PLANTS = Table("plants", TABLES, Column("plant", Text, primary_key=True))


class Plant(Command):
    participant = "garden"
    plant: str


class Planted(OutcomeEvent):
    key = "garden.planted"


class NoRoom(Rejection):
    key = "garden.no_room"


class Dig(Command):
    participant = "garden"


class Dug(CompensationOutcome):
    key = "garden.dug"


class DugDeep(CompensationOutcome):
    key = "garden.dug_deep"
    depth: int


class Foreign(Command):
    participant = "cellar"


class Sow(Command):
    participant = "garden"
    kinds: frozenset[str] = frozenset()


class Sown(OutcomeEvent):
    key = "garden.sown"
    bed: str | None


class Sowing:
    async def do(self, work: Work, command: Sow) -> Sown: ...  # type: ignore[empty-body]


class Planting:
    async def do(self, work: Work, command: Plant) -> Planted | NoRoom:
        await work.execute(insert(PLANTS).values(plant=command.plant))
        if command.plant == "oak":
            return work.answer(NoRoom, code="too_big")
        if command.plant == "weed":
            raise RuntimeError("it grows everywhere")
        if command.plant == "cactus":
            return StepRefused(**work.command.model_dump())  # type: ignore[return-value]
        return work.answer(Planted)

    async def undo(self, work: Work, command: Dig, done: Planted) -> Dug:
        return work.answer(Dug)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    garden = Participant("garden", TABLES, tmp_path)
    garden.step(Plant, undo=Dig)(Planting)
    async with in_memory(garden) as stage:
        yield stage


async def plants(stage: Stage) -> list[str]:
    return [row.plant for row in await stage.execute(select(PLANTS))]


async def test_an_effect_stands_with_its_answer(stage: Stage) -> None:
    assert isinstance(await stage.ask(Plant, plant="rose"), Planted)
    assert await plants(stage) == ["rose"]


async def test_after_a_rejection_nothing_stands_of_what_was_written(stage: Stage) -> None:
    saga = stage.saga()
    assert isinstance(await saga.ask(Plant, plant="oak"), NoRoom)
    assert isinstance(await saga.ask(Plant, plant="oak"), NoRoom)
    assert await plants(stage) == []


async def test_what_fails_leaves_nothing_and_may_be_asked_for_again(stage: Stage) -> None:
    saga = stage.saga()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="everywhere"):
            await saga.ask(Plant, plant="weed")
    assert await plants(stage) == []


async def test_an_answer_that_nobody_awaits_is_a_permanent_failure(stage: Stage) -> None:
    with pytest.raises(PermanentFailure, match="it returned StepRefused, not Planted or NoRoom"):
        await stage.ask(Plant, plant="cactus")
    assert await plants(stage) == []


async def test_the_same_work_with_another_payload_is_a_permanent_failure(stage: Stage) -> None:
    saga = stage.saga()
    await saga.ask(Plant, plant="rose")
    with pytest.raises(PermanentFailure, match="another payload"):
        await saga.ask(Plant, plant="tulip")


async def test_a_compensation_that_overtakes_its_command_leaves_a_tombstone(stage: Stage) -> None:
    saga = stage.saga()
    buried = await saga.ask(Dig)
    assert isinstance(buried, Dug)
    assert buried.effect is Effect.NOTHING
    assert isinstance(await saga.ask(Plant, plant="rose"), StepRefused)
    assert await plants(stage) == []


async def test_a_verdict_is_accepted_where_the_ledger_agrees(stage: Stage) -> None:
    from contracts.commands import SettleStep, Verdict
    from contracts.envelope import Direction

    saga = stage.saga()
    await saga.ask(Plant, step="one", plant="rose")
    identity = {"saga_id": saga.saga_id, "order_id": saga.subject_id, "step": "one"}
    for verdict, accepted in ((Verdict.TOOK_EFFECT, True), (Verdict.NO_EFFECT, False)):
        said = SettleStep(**identity, direction=Direction.FORWARD, verdict=verdict)
        answer = await stage.serve(said)
        assert isinstance(answer, StepSettled)
        assert answer.accepted is accepted


class SaysNothing:
    async def do(self, work: Work, command: Plant):  # type: ignore[no-untyped-def]
        ...


class TwoSuccesses:
    async def do(self, work: Work, command: Plant) -> Planted | StepSettled: ...  # type: ignore[empty-body]


class NoMethods:
    pass


class UndoneDeep:
    async def do(self, work: Work, command: Plant) -> Planted: ...  # type: ignore[empty-body]
    async def undo(self, work: Work, command: Dig, done: Planted) -> DugDeep: ...  # type: ignore[empty-body]


class UndoneWrongly:
    async def do(self, work: Work, command: Plant) -> Planted: ...  # type: ignore[empty-body]
    async def undo(self, work: Work, command: Dig, done: Planted) -> Planted: ...  # type: ignore[empty-body]


class AtProvider:
    keeps = ("plant",)

    async def call(self, errand: Any, command: Plant) -> object: ...
    async def find(self, errand: Any) -> object: ...
    async def recall(self, errand: Any) -> object: ...
    def success(self, errand: Any, took: Any) -> Planted: ...  # type: ignore[empty-body]


class Unanswered(AtProvider):
    def success(self, errand: Any, took: Any) -> object: ...  # type: ignore[override]


class RejectedWrongly(AtProvider):
    rejection = Planted


class NoRoomHere(Rejection):
    key = "garden.no_room_here"
    bed: int


class RejectedWithMore(AtProvider):
    rejection = NoRoomHere


class KeepsMore(AtProvider):
    keeps = ("plant", "pot")  # type: ignore[assignment]


def _provider_step(declared: type, command: Any = Plant, undo: Any = None) -> Callable[[], object]:
    return lambda: Participant("garden").provider_step(command, undo=undo)(declared)


def _step(declared: type, command: Any = Plant, undo: Any = None) -> Callable[[], object]:
    return lambda: Participant("garden").step(command, undo=undo)(declared)


@pytest.mark.parametrize(
    ("declare", "said"),
    [
        (_step(SaysNothing), "must say which events it returns"),
        (_step(TwoSuccesses), "must return one success"),
        (_step(NoMethods), "has no method do"),
        (_step(Planting), "has undo, but its step is declared without"),
        (_step(UndoneWrongly, undo=Dig), "must return one CompensationOutcome"),
        (_step(UndoneDeep, undo=Dig), "so its fields need defaults: depth"),
        (_step(UndoneWrongly, Foreign, undo=Dig), "must return one CompensationOutcome"),
        (
            _step(Planting, Foreign, undo=Dig),
            "Foreign is not its command: it must say participant = 'garden'",
        ),
        (_step(Planting, str, undo=Dig), "is no Command"),
        (_step(Sowing, Sow), r"Sow\.kinds is a set, .*; Sown\.bed may be None, which is left out"),
        (_provider_step(NoMethods), "has no method call, find, recall, success"),
        (_provider_step(AtProvider, undo=Dig), "has no method undo, find_undo, recall_undo, undone"),
        (_provider_step(Unanswered), "success must say which events it returns"),
        (_provider_step(RejectedWrongly), "rejection must be a Rejection"),
        (_provider_step(RejectedWithMore), "so its other fields need defaults: bed"),
        (_provider_step(KeepsMore), "keeps names fields that Plant does not have: {'pot'}"),
        (_provider_step(AtProvider, Foreign), "keeps names fields that Foreign does not have"),
        (
            lambda: Participant("garden").step(Plant, undo=Dig, bench=NoMethods)(Planting),  # type: ignore[arg-type]
            "its bench NoMethods needs opened and save",
        ),
        (lambda: Participant("Garden"), "its name must be"),
        (lambda: Participant("pg_garden"), "its name must be"),
        (lambda: Participant("payment"), "its name is taken"),
        (lambda: Participant("garden", TABLES), "so it needs the folder of the migrations"),
        (lambda: Participant("cellar", TABLES, Path()), "plants must be in its schema"),
        (lambda: Participant("garden", None, Path("/nowhere")), "there is no folder /nowhere"),
    ],
)
def test_what_would_not_work_is_said_when_it_is_declared(declare: Callable[[], object], said: str) -> None:
    with pytest.raises(InvalidParticipant, match=said):
        declare()


def test_a_kind_of_step_is_declared_once() -> None:
    garden = Participant("garden")
    garden.step(Plant, undo=Dig)(Planting)
    twice = r"Plant asks to do Plant \(Planting\) and to do Plant \(Planting\)"
    with pytest.raises(InvalidParticipant, match=twice):
        garden.step(Plant, undo=Dig)(Planting)
