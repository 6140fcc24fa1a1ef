"""A saga remembers of an answer all that it keeps, also what has its default or is None (S1, S15)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Final
from uuid import UUID, uuid4

from contracts.commands import Command
from contracts.envelope import Direction
from contracts.events import CompensationOutcome, Effect, InventoryReservedEvent, OutcomeEvent, Rejection
from contracts.limits import Code
from contracts.wire import said
from messaging.compose import event_message
from messaging.transport import Delivery
from orchestrator.codec import dump_input, kind_of, load_input
from orchestrator.core import machine
from orchestrator.core.definition import Compensation, Labels, SagaDefinition
from orchestrator.core.effects import Transition
from orchestrator.core.inputs import OutcomeReceived, OutcomeUnknown
from orchestrator.core.state import Saga, Undo
from orchestrator.outcomes import decode_outcome
from orchestrator.rehearsal import rehearse
from orchestrator.walk import Walk
from tests.support.stored_sagas import stored
from tests.unit.core.courses import RETRIABLE, Journey, Unbook, of, step
from tests.unit.core.happenings import COMPENSATING, FORWARD, NOON, ORDER_ID, SAGA_ID
from tests.unit.core.laws import without_timers


class Rated(OutcomeEvent):
    """It is known what somebody may do."""

    key = "agency.rated"
    tier: str = "basic"
    points: int = 0
    note: str | None = None


class NotEligible(Rejection):
    """Says itself why."""

    key = "agency.not_eligible"
    code: Code = "not_eligible"
    message: str = "come back later"


class NothingUndone(CompensationOutcome):
    """There was nothing to undo, unless it says otherwise."""

    key = "agency.nothing_undone"
    effect: Effect = Effect.NOTHING


class Welcome(Command):
    """Needs all that is known."""

    participant: ClassVar[str | None] = "agency"
    tier: str
    points: int
    note: str | None = None


def rated(given: Any, results: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the step before has said, each of it by its name."""
    return {name: results["rate"][name] for name in ("tier", "points", "note")}


RATE = step(
    "rate",
    success=Rated,
    rejection=NotEligible,
    keeps=("tier", "points", "note"),
    compensation=Compensation(Unbook, NothingUndone),
)
WELCOME = step("welcome", RETRIABLE, command=Welcome, arguments=rated)
DEFINITION: SagaDefinition = of(RATE, WELCOME, labels=Labels(rejected_as={"not_eligible": "turned_away"}))
IDS: Final = {"saga_id": SAGA_ID, "order_id": ORDER_ID, "step": "rate", "direction": FORWARD}


def decoded(event: type[OutcomeEvent], piece: str, direction: Direction = FORWARD, **fields: Any) -> Any:
    """An answer as the broker brings it."""
    made = event(saga_id=SAGA_ID, order_id=ORDER_ID, step=piece, direction=direction, **fields)
    message = event_message(made, uuid4(), UUID(int=9), NOON, "agency")
    delivery = Delivery(
        queue="outcomes",
        body=message.body,
        message_id=str(message.message_id),
        type=message.type,
        correlation_id=str(message.correlation_id),
        headers=message.headers,
        exchange=message.exchange,
        routing_key=message.routing_key,
        redelivered=False,
    )
    return decode_outcome(delivery, DEFINITION.events).happened


def after(*happened: Any) -> tuple[Saga, list[Any]]:
    """A saga that has lived through this, and what its history has of it."""
    transition = machine.start(DEFINITION, SAGA_ID, ORDER_ID, Journey(), NOON)
    history = [transition.accepted]
    for each in happened:
        decision = machine.decide(DEFINITION, transition.saga, each, NOON)
        assert isinstance(decision, Transition)
        transition = decision
        history.append(decision.accepted)
    return transition.saga, history


def folded(history: list[Any]) -> Saga:
    """What a history leads to once it has been stored and read."""
    read = [(NOON, load_input(kind_of(each), json.loads(dump_input(each)))) for each in history]
    return machine.fold(DEFINITION, SAGA_ID, ORDER_ID, Journey(), read)


def test_what_has_its_default_or_is_none_is_remembered_and_folds_to_the_row() -> None:
    saga, history = after(decoded(Rated, "rate"))
    assert saga.step("rate").result == {"tier": "basic", "points": 0, "note": None}
    assert [each.step for each in saga.awaited] == ["welcome"]
    assert without_timers(folded(history)) == without_timers(saga)


def test_a_field_that_is_not_written_where_it_says_nothing_is_remembered() -> None:
    assert said(InventoryReservedEvent(**IDS, lines=[{"sku": "A", "quantity": 1}])) == {
        "lines": [{"sku": "A", "quantity": 1}],
        "taken": [],
    }


def test_a_rejection_keeps_the_code_and_the_words_that_its_class_gives_it() -> None:
    saga, _ = after(decoded(NotEligible, "rate"))
    assert saga.failure is not None
    assert (saga.failure.code, saga.failure.message) == ("not_eligible", "come back later")
    assert saga.label == "turned_away"


def test_a_compensation_that_found_nothing_unless_it_says_otherwise_is_understood() -> None:
    given_up = OutcomeUnknown("rate")
    saga, _ = after(given_up, decoded(NothingUndone, "rate", COMPENSATING))
    assert saga.step("rate").undo is Undo.NOTHING


def test_a_walk_is_told_the_same() -> None:
    walk = Walk(DEFINITION, Journey())
    walk.answer(Rated)
    command = walk.asked["welcome"]
    assert isinstance(command, Welcome)
    assert (command.tier, command.points, command.note) == ("basic", 0, None)
    other = Walk(DEFINITION, Journey())
    other.answer(NotEligible)
    assert other.label == "turned_away"


def test_a_history_of_the_release_before_without_defaults_folds_and_is_rehearsed_as_it_was() -> None:
    careful = step(
        "welcome",
        RETRIABLE,
        command=Welcome,
        arguments=lambda given, results: {"tier": results["rate"].get("tier", "none"), "points": 1},
    )
    definition = of(RATE, careful)
    row = stored(definition, Journey(), [OutcomeReceived("Rated", "rate", FORWARD, {})])
    assert row.state["steps"][0].get("result", {}) == {}
    assert rehearse(definition, row) is None
