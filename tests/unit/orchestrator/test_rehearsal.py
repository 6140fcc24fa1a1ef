"""A definition is rehearsed on stored sagas: what it could not continue, what would have gone another way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from contracts.envelope import Direction
from orchestrator.core.definition import ForEach, OnDeadline, SagaDefinition, Step, StepKind, StepPolicy, Wait
from orchestrator.core.inputs import Actor, CancelRequested, OutcomeReceived, WaitElapsed
from orchestrator.rehearsal import Finding, Kind, StoredSaga, rehearse
from simulation.courses.trades import COMMANDS, TRADES
from tests.support.stored_sagas import stored

FORWARD, COMPENSATING = Direction.FORWARD, Direction.COMPENSATING


class Parcels(BaseModel):
    """What the sagas of these tests are started with."""

    names: tuple[str, ...] = ("one", "two")


def arguments(given: Parcels, results: Any, *item: Any) -> Mapping[str, Any]:
    return {"seen": "nothing", "item": item[0] if item else None}


def step(name: str, trade: str, kind: StepKind = StepKind.RETRIABLE) -> Step:
    done = TRADES[trade]
    return Step(name, trade, kind, COMMANDS[trade], done.success, StepPolicy(), arguments)


def each_parcel(over: Any = lambda given, results: list(given.names)) -> ForEach:
    return ForEach("parcels", over, step("ship", "carter"))


def definition(*course: Any, **changes: Any) -> SagaDefinition:
    made = SagaDefinition("parcels", 1, course, input=Parcels, examples=(Parcels(),))
    return replace(made, **changes)


NOW = definition(step("pack", "baker"), each_parcel())


def worked(piece: str, trade: str) -> OutcomeReceived:
    return OutcomeReceived(f"{trade.title()}Worked", piece, FORWARD, {"reference": "r"})


PACKED, SHIPPED_ONE, SHIPPED_TWO = (
    worked("pack", "baker"),
    worked("ship[1]", "carter"),
    worked("ship[2]", "carter"),
)
ENDED = stored(NOW, Parcels(), [PACKED, SHIPPED_ONE, SHIPPED_TWO])
RUNNING = stored(NOW, Parcels(), [PACKED, SHIPPED_ONE])


def found(tried: SagaDefinition, saga: StoredSaga) -> Finding:
    finding = rehearse(tried, saga)
    assert finding is not None
    return finding


def test_what_is_deployed_finds_nothing() -> None:
    assert rehearse(NOW, ENDED) is None
    assert rehearse(NOW, RUNNING) is None


def test_another_patience_changes_no_history() -> None:
    patient = replace(step("pack", "baker"), policy=StepPolicy(deadline_s=1000))
    assert rehearse(definition(patient, each_parcel()), RUNNING) is None


def test_a_running_saga_cannot_go_on_without_a_step_that_it_has_done() -> None:
    finding = found(definition(each_parcel()), RUNNING)
    assert (finding.kind, finding.entry) == (Kind.CANNOT_CONTINUE, 1)
    assert finding.reason == "it awaits ship[1], and was pack"


def test_a_step_that_comes_first_now_shows_at_the_first_entry() -> None:
    tried = definition(step("greet", "dyer"), step("pack", "baker"), each_parcel())
    assert found(tried, RUNNING).entry == found(tried, ENDED).entry == 1


def test_a_step_at_the_end_lets_running_sagas_go_on_only_if_it_knows_them() -> None:
    tried = definition(step("pack", "baker"), each_parcel(), step("thank", "dyer"))
    assert found(tried, ENDED).reason == "it is running, and was completed"
    assert found(tried, ENDED).entry == 4
    assert found(tried, RUNNING).reason.startswith("its pieces are")
    assert found(tried, RUNNING).entry is None


def test_items_are_taken_as_first_worked_out_by_what_runs_and_compared_for_what_has_ended() -> None:
    tried = definition(step("pack", "baker"), each_parcel(lambda given, results: ["one"]))
    assert rehearse(tried, RUNNING) is None
    finding = found(tried, ENDED)
    assert (finding.kind, finding.entry, finding.happened) == (Kind.ANOTHER_WAY, 2, "outcome_received")
    assert finding.reason == "parcels is worked out otherwise: 1 items, there were 2"


def test_a_function_that_fails_is_told_with_its_entry() -> None:
    def broken(given: Any, results: Any) -> Any:
        raise KeyError("weight")

    finding = found(definition(step("pack", "baker"), each_parcel(broken)), ENDED)
    assert finding.entry == 2
    assert "KeyError: 'weight'" in finding.reason


def test_an_input_that_cannot_be_read_any_more_is_told() -> None:
    class Weighed(Parcels):
        weight: int

    tried = replace(NOW, input=Weighed, examples=(Weighed(weight=1),))
    assert found(tried, RUNNING).reason == "its input cannot be read (weight: Field required)"


def test_another_command_for_a_step_under_way_is_told() -> None:
    tried = definition(replace(step("pack", "dyer")), each_parcel())
    finding = found(tried, RUNNING)
    assert (finding.entry, finding.reason) == (1, "it asks for DyerWork, and did not")


def test_another_label_is_another_way_for_what_has_ended_alone() -> None:
    milestone = replace(step("pack", "baker"), milestone="packed")
    tried = definition(milestone, each_parcel())
    assert rehearse(tried, RUNNING) is None
    assert found(tried, ENDED).reason == "it is shown as packed, and was pending"


def test_an_input_that_is_not_accepted_any_more_is_told() -> None:
    waiting = definition(Wait("pause", 10.0, on_deadline=OnDeadline.GO_ON), step("pack", "baker"))
    ended = stored(waiting, Parcels(), [WaitElapsed("pause"), PACKED])
    finding = found(definition(step("pack", "baker")), ended)
    assert finding.entry == 1
    cancelled = stored(waiting, Parcels(), [CancelRequested(Actor("somebody", "why"))])
    assert rehearse(waiting, cancelled) is None


def test_a_history_with_a_gap_is_told() -> None:
    gap = replace(ENDED, history=(*ENDED.history[:1], *ENDED.history[2:]))
    assert found(NOW, gap).reason == "its history lacks entry 2"
