"""A method that would be awaited wrongly is refused when it is declared, not after its effect."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial, partialmethod, wraps
from typing import Any

import pytest

from oms.kit import Command, CompensationOutcome, InvalidParticipant, OutcomeEvent, Participant, Work


class Plant(Command):
    participant = "garden"


class PlantRow(Command):
    participant = "garden"


class Planted(OutcomeEvent):
    key = "garden.planted"


class Dig(Command):
    participant = "garden"


class Dug(CompensationOutcome):
    key = "garden.dug"


def told(function: Any) -> Any:
    """A decorator that is no coroutine function, whatever it decorates."""

    @wraps(function)
    def wrapper(*given: Any, **named: Any) -> Any:
        return function(*given, **named)

    return wrapper


class AsObject:
    async def __call__(self, work: Work, command: Plant) -> Planted:
        return work.answer(Planted)


class Own:
    """A step of its own that is as it should be; each test changes one thing."""

    async def do(self, work: Work, command: Any) -> Planted:
        return work.answer(Planted)

    async def undo(self, work: Work, command: Dig, done: Planted) -> Dug:
        return work.answer(Dug)


class AtProvider:
    """The same at a provider."""

    async def call(self, errand: Any, command: Any) -> Any: ...
    async def close(self, errand: Any) -> Any: ...
    async def find(self, errand: Any) -> Any: ...
    async def recall(self, errand: Any) -> Any: ...
    async def undo(self, errand: Any, done: Any) -> Any: ...
    async def find_undo(self, errand: Any) -> Any: ...
    async def recall_undo(self, errand: Any) -> Any: ...
    def check(self, command: Any, held: Any) -> None: ...
    def success(self, errand: Any, took: Any) -> Planted:
        return Planted(**errand)

    def undone(self, errand: Any, took: Any) -> Dug:
        return Dug(**errand)


class Bed:
    """A bench."""

    @classmethod
    async def opened(cls, transaction: Any, works: Any) -> Any: ...
    async def save(self, transaction: Any, works: Any) -> None: ...


def plainly(self: Any, *_: Any) -> Planted: ...  # type: ignore[empty-body]


async def awaitably(self: Any, *_: Any) -> Planted: ...  # type: ignore[empty-body]


def handed_on(self: Any, *given: Any) -> Awaitable[Any]:
    return awaitably(self, *given)


async def yielding(self: Any, *_: Any) -> Any:
    yield Planted


def changed(declared: type, **methods: Any) -> type:
    return type("Changed", (declared,), methods)


def declare(declared: type, bench: Any = None) -> None:
    garden = Participant("garden")
    if issubclass(declared, AtProvider):
        garden.provider_step(Plant, undo=Dig)(declared)
    else:
        garden.step(Plant, undo=Dig, bench=bench)(declared)


AWAITED = ("call", "close", "find", "recall", "undo", "find_undo", "recall_undo")
PLAIN = ("success", "undone", "check")


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        (changed(Own, do=plainly), "do is awaited: write async def do"),
        (changed(Own, undo=told(plainly)), "undo is awaited: write async def undo"),
        (changed(Own, do=partialmethod(plainly, 1)), "do is awaited: write async def do"),
        (changed(Own, do=staticmethod(plainly)), "do is awaited: write async def do"),
        (changed(Own, do=partial(plainly, None)), "do is awaited: write async def do"),
        (changed(Own, do=yielding), "do must return its result, not yield it: write async def do"),
        *((changed(AtProvider, **{name: plainly}), f"{name} is awaited: write async") for name in AWAITED),
        *((changed(AtProvider, **{name: awaitably}), f"{name} is not awaited: write def") for name in PLAIN),
        (changed(AtProvider, success=told(awaitably)), "success is not awaited: write def success"),
        (changed(AtProvider, check=partialmethod(awaitably)), "check is not awaited: write def check"),
        (changed(AtProvider, check=AsObject()), "check is not awaited: write def check"),
        (changed(AtProvider, undone=yielding), "undone must return its result, not yield it"),
    ],
)
def test_a_method_that_is_awaited_wrongly_is_refused_by_its_name(declared: type, said: str) -> None:
    with pytest.raises(InvalidParticipant, match=rf"^participant 'garden': Changed\.{said}"):
        declare(declared)


@pytest.mark.parametrize(
    "declared",
    [
        Own,
        AtProvider,
        changed(Own, do=told(Own.do)),
        changed(AtProvider, call=AsObject(), find=partialmethod(awaitably), recall=partial(awaitably, None)),
        changed(AtProvider, call=handed_on, find=told(handed_on), close=None),
        changed(AtProvider, recall=staticmethod(awaitably), success=told(AtProvider.success)),
    ],
)
def test_a_method_may_be_wrapped_bound_or_an_object(declared: type) -> None:
    declare(declared)


@pytest.mark.parametrize("name", ["opened", "save"])
def test_a_bench_is_awaited_too(name: str) -> None:
    wrong = type("Wrong", (Bed,), {name: classmethod(plainly) if name == "opened" else plainly})
    with pytest.raises(
        InvalidParticipant, match=rf"its bench Wrong\.{name} is awaited: write async def {name}"
    ):
        declare(Own, bench=wrong)
    declare(changed(Own, do=awaitably), bench=Bed)


def test_what_makes_a_client_is_not_awaited() -> None:
    async def shop(limits: Any) -> Any: ...

    with pytest.raises(InvalidParticipant, match="its provider's client is not awaited: write def"):
        Participant("garden", provider=shop)


def _two(undo: Any = None, command: Any = PlantRow) -> Callable[[Participant], None]:
    def declaring(garden: Participant) -> None:
        garden.step(Plant, undo=Dig)(Own)
        garden.provider_step(command, undo=undo)(AtProvider)

    return declaring


def _undone_by_itself(garden: Participant) -> None:
    garden.step(Dig, undo=Dig)(Own)


@pytest.mark.parametrize(
    ("declaring", "said"),
    [
        (_two(undo=Dig), r"Dig asks to undo Plant \(Own\) and to undo PlantRow \(AtProvider\)"),
        (_two(undo=Plant), r"Plant asks to do Plant \(Own\) and to undo PlantRow \(AtProvider\)"),
        (_two(command=Dig, undo=PlantRow), r"Dig asks to undo Plant \(Own\) and to do Dig \(AtProvider\)"),
        (_undone_by_itself, r"Dig asks to do Dig \(Own\) and to undo Dig \(Own\)"),
    ],
)
def test_a_command_asks_for_one_thing(declaring: Callable[[Participant], None], said: str) -> None:
    with pytest.raises(InvalidParticipant, match=f"{said}: each needs a command of its own"):
        declaring(Participant("garden"))


def test_an_event_may_answer_two_steps_and_two_events_not_have_one_name() -> None:
    class OtherDig(Command):
        participant = "garden"

    async def as_another(self: Any, work: Work, command: Any) -> Any: ...

    garden = Participant("garden")
    garden.step(Plant, undo=Dig)(Own)
    as_another.__annotations__["return"] = type("Planted", (OutcomeEvent,), {"key": "garden.x"})
    with pytest.raises(InvalidParticipant, match="two different events are both called Planted"):
        garden.step(PlantRow, undo=OtherDig)(changed(Own, do=as_another))
    garden.step(PlantRow, undo=OtherDig)(Own)
    assert {*garden.outcomes} == {"Planted", "Dug", "StepRefused", "StepSettled"}


def test_what_is_accepted_can_be_awaited() -> None:
    assert asyncio.run(handed_on(None)) is None  # type: ignore[arg-type]
