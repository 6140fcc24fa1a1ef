"""Looks on while the production code decides, and tells which rule it kept; nothing is changed by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final
from uuid import UUID

from contracts.envelope import Direction
from messaging import consumer, relay
from messaging.consumer import Failed, Hops
from messaging.errors import PermanentFailure
from messaging.retries import parse_id
from messaging.transport import Delivery
from messaging.unit_of_work import PatientUnitOfWork
from orchestrator import intake
from orchestrator.core import machine, timers
from orchestrator.core.definition import SagaDefinition
from orchestrator.core.effects import Refused, Stale, Transition
from orchestrator.core.inputs import OutcomeReceived, SignalReceived
from orchestrator.core.state import Awaited, Saga
from orchestrator.core.timers import Observed, StayAsItIs
from orchestrator.dead_letters.collector import Collector
from orchestrator.dead_letters.replay import DeadLetterOperations
from orchestrator.engine import Engine, Happening, LockedSagas, UnknownSaga, UnknownVersion
from participants import own_effects, provider_plan, provider_verdicts
from participants.fence import TABLE
from simulation.facts import Decided
from simulation.patches import Patch, applied
from simulation.stage_probes import stage_rules

RULES: Final[dict[str, str]] = {
    "advance": "S6 advance",
    "reject": "S3 reject",
    "give_up_waiting": "S4 give up",
    "report_overdue": "S4 overdue",
    "cancel": "S9 cancel",
    "cancel_again": "S9 cancel again",
    "undone": "S3 undo next",
    "late_success": "S5 late success",
    "report_stuck": "S7 stuck",
    "report_refusal": "P5 refused while awaited",
    "report_dead_letter": "S10 dead letter",
    "take_signal": "S23 signal",
    "signal_again": "S23 signal again",
    "end_wait": "S23 time is over",
    "retry": "S10 retry",
    "resolve": "S19 resolve",
    "settle": "S19 settle",
}
"""Rule of the transition table → the design's rule that it keeps."""

NOBODY: Final = UUID(int=0)
_tell: list[Callable[[Decided], None]] = []


def told(rule: str, what: str, saga_id: UUID | None, direction: str) -> None:
    """Tell of one decision."""
    for tell in _tell:
        tell(Decided(rule, what, saga_id or NOBODY, direction))


@contextmanager
def watching(tell: Callable[[Decided], None]) -> Iterator[None]:
    """Within this block every decision is told."""
    _tell.append(tell)
    try:
        with applied(PROBES):
            yield
    finally:
        _tell.remove(tell)


def _fold(original: Callable[..., Any]) -> Callable[..., Any]:
    def fold(engine: Engine, work: LockedSagas, happening: Happening) -> Any:
        before = work.sagas.get(happening.saga_id)
        answer = original(engine, work, happening)
        happened = happening.happened
        direction = getattr(happened, "direction", None) or (before.direction if before else "forward")
        rule = _rule(engine, before, happened, answer)
        what = type(happened).__name__
        if isinstance(happened, OutcomeReceived):
            what = f"{happened.event}: {type(answer).__name__}"
        told(rule, what, happening.saga_id, str(direction))
        return answer

    return fold


def _record(original: Callable[..., Any]) -> Callable[..., Any]:
    def record(
        engine: Engine, work: LockedSagas, definition: SagaDefinition, transition: Transition, *others: Any
    ) -> None:
        before, after = work.sagas.get(transition.saga.saga_id), transition.saga
        for rule in stage_rules(definition, before, transition):
            told(rule, type(transition.accepted).__name__, after.saga_id, str(after.direction))
        original(engine, work, definition, transition, *others)

    return record


def _rule(engine: Engine, saga: Saga | None, happened: Any, answer: Any) -> str:
    if isinstance(answer, UnknownSaga) or saga is None:
        return "S16 unknown saga"
    if isinstance(answer, UnknownVersion):
        return "S13 unknown version"
    definition = engine.registry.find(saga.definition, saga.definition_version)
    assert definition is not None
    trigger = machine.classify(definition, happened)
    row = None if trigger is None else machine.TABLE.get((saga.status, trigger))
    if row is not None and row.rule.__name__ in ("cancel_again", "signal_again"):
        return RULES[row.rule.__name__]
    if isinstance(answer, Stale):
        return "S1 stale"
    if isinstance(answer, Refused) and isinstance(happened, SignalReceived):
        return "S23 signal refused"
    if isinstance(answer, Refused):
        return "S9 S10 S19 refused"
    assert row is not None
    return RULES[row.rule.__name__]


def _look(original: Callable[..., Any]) -> Callable[..., Any]:
    def look(definition: SagaDefinition, saga: Saga, awaited: Awaited, observed: Observed, now: Any) -> Any:
        finding = original(definition, saga, awaited, observed, now)
        if not isinstance(finding, StayAsItIs) or finding.grace_begins:
            what = type(finding).__name__
            if getattr(finding, "final", False):
                what = "final copy"
            rule = "S4 S7 re-send" if what == "Resend" else f"S12 {what}"
            told(rule, what, saga.saga_id, str(awaited.direction))
        return finding

    return look


def _move_for(original: Callable[..., Any]) -> Callable[..., Any]:
    def move_for(row: Any, received: Any) -> Any:
        state, direction = (None if row is None else row.state), received.direction
        cell = TABLE[state, direction]
        try:
            move = original(row, received)
        except PermanentFailure as failure:
            told(f"{cell.rule} fails for good", failure.kind, received.saga_id, str(direction))
            raise
        told(f"{cell.rule} {move.name.lower()}", f"{state}", received.saga_id, str(direction))
        return move

    return move_for


def _ruling_on(original: Callable[..., Any]) -> Callable[..., Any]:
    def ruling_on(rulings: Any, row: Any, command: Any) -> Any:
        ruling = original(rulings, row, command)
        told(f"S19 {ruling.name.lower()}", command.verdict, command.saga_id, str(command.direction))
        return ruling

    return ruling_on


def _after_failure(original: Callable[..., Any]) -> Callable[..., Any]:
    def after_failure(delivery: Delivery, error: Exception, *others: Any) -> Any:
        hop = original(delivery, error, *others)
        rule = "D1 dead letter" if hop.routing_key.endswith(".dlq") else "P8 retry hop"
        told(rule, type(error).__name__, parse_id(delivery.correlation_id), _direction_of(delivery))
        return hop

    return after_failure


def _postpone(original: Callable[..., Any]) -> Callable[..., Any]:
    async def postpone(hops: Hops, transaction: Any, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            told("P9 breaker open", "hop", parse_id(delivery.correlation_id), _direction_of(delivery))
        await original(hops, transaction, deliveries)

    return postpone


def _collect(original: Callable[..., Any]) -> Callable[..., Any]:
    async def collect(own: Collector, transaction: Any, deliveries: Sequence[Delivery]) -> Sequence[Failed]:
        for delivery in deliveries:
            told(
                "D2 collected", str(delivery.type), parse_id(delivery.correlation_id), _direction_of(delivery)
            )
        failed: Sequence[Failed] = await original(own, transaction, deliveries)
        return failed

    return collect


def _pause_s(original: Callable[..., Any]) -> Callable[..., Any]:
    def pause_s(unit_of_work: PatientUnitOfWork[Any], tries: int) -> float:
        told("S17 again", f"try {tries}", None, "")
        seconds: float = original(unit_of_work, tries)
        return seconds

    return pause_s


def _relayed(original: Callable[..., Any]) -> Callable[..., Any]:
    async def run_once(own: relay.Relay) -> int:
        count: int = await original(own)
        if count:
            told("M2 relayed", f"{count}", None, "")
        return count

    return run_once


def _answered(original: Callable[..., Any]) -> Callable[..., Any]:
    def answer(submission: Any, standing: Any, committed: Any) -> Any:
        given = original(submission, standing, committed)
        what = "S17 found committed" if submission.subject_id in committed else f"S14 {_kind(given)}"
        told(what, "", submission.saga_id, "forward")
        if submission.scope is not None:
            told("S24 started by its name", submission.definition, submission.saga_id, "forward")
        return given

    return answer


def _kind(answer: Any) -> str:
    if isinstance(answer, intake.KeyReused):
        return "another order under the key"
    return "the same again" if answer.replayed else "new"


def _planned(original: Callable[..., Any]) -> Callable[..., Any]:
    def plan(own: Any, work: LockedSagas, dead: Any, actor: Any) -> Any:
        planned = original(own, work, dead, actor)
        told(f"D4 replay of a {dead.kind}", dead.type, dead.saga_id, dead.direction or "")
        return planned

    return plan


def _direction_of(delivery: Delivery) -> str:
    compensating = delivery.type in ("ReleaseInventory", "RefundPayment", "VoidAuthorization")
    return Direction.COMPENSATING if compensating else Direction.FORWARD


PROBES: Final = (
    Patch(Engine, "fold", _fold),
    Patch(Engine, "_record", _record),
    Patch(timers, "look", _look),
    Patch(provider_plan, "move_for", _move_for),
    Patch(own_effects, "move_for", _move_for),
    Patch(own_effects, "ruling_on", _ruling_on),
    Patch(provider_verdicts, "ruling_on", _ruling_on),
    Patch(consumer, "after_failure", _after_failure),
    Patch(Hops, "postpone", _postpone),
    Patch(Collector, "__call__", _collect),
    Patch(PatientUnitOfWork, "_pause_s", _pause_s),
    Patch(relay.Relay, "run_once", _relayed),
    Patch(intake, "_answer", _answered),
    Patch(DeadLetterOperations, "_plan", _planned),
)
