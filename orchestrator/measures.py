"""What is counted of sagas, once each change is durable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from contracts.envelope import Direction
from contracts.events import OutcomeEvent, Rejection, StepRefused, StepSettled
from messaging.measures import SECONDS, Distribution, Kind, Measure, Reading
from orchestrator.core.definition import step_name
from orchestrator.core.inputs import (
    CommandDeadLettered,
    CompensationStuck,
    Input,
    OutcomeReceived,
    OutcomeUnknown,
    StepOverdue,
)
from orchestrator.core.registry import Registry
from orchestrator.core.state import IncidentKind, Saga

Move = tuple["Saga | None", Input, Saga]
"""A saga before, what it accepted, and the saga after it; None before its start."""

STARTED: Final = Measure("oms_sagas_started_total", Kind.COUNTER, "Sagas started.", ("definition",))
ENDED_AS: Final = Measure(
    "oms_sagas_ended_total",
    Kind.COUNTER,
    "Sagas ended, by result: the label that their definition gives to it.",
    ("definition", "result"),
)
DURATION: Final = Measure(
    "oms_saga_duration_seconds",
    Kind.HISTOGRAM,
    "From a saga's start to its end, waits for people included.",
    ("definition", "result"),
)
ATTEMPTS: Final = Measure(
    "oms_step_attempts_total",
    Kind.COUNTER,
    "Pieces of work that came to a result: succeeded, rejected, refused, settled, unknown (given up after "
    "its deadline), overdue, stuck, dead_lettered. Branches count for their step.",
    ("definition", "step", "direction", "result"),
)
STEP_DURATION: Final = Measure(
    "oms_step_duration_seconds",
    Kind.HISTOGRAM,
    "From when a saga began to wait for a step (its first command, or a person's retry) to its answer.",
    ("definition", "step", "direction"),
)
INCIDENTS: Final = Measure(
    "oms_incidents_opened_total", Kind.COUNTER, "Incidents opened: a person has to look.", ("kind",)
)
STALE: Final = Measure(
    "oms_inputs_stale_total", Kind.COUNTER, "Inputs that changed nothing: duplicates and late answers."
)
UNKNOWN_VERSION: Final = Measure(
    "oms_inputs_unknown_version_total",
    Kind.COUNTER,
    "Inputs for a saga whose definition version this process does not know; each is an alarm.",
)
RESENT: Final = Measure(
    "oms_commands_resent_total", Kind.COUNTER, "Commands sent again because no answer came."
)
UNREADABLE: Final = Measure(
    "oms_documents_unreadable_total",
    Kind.COUNTER,
    "Stored documents that could not be read when they were needed, by what they are of; each time counts.",
    ("kind",),
)
ACTIVE: Final = Measure("oms_sagas_active", Kind.GAUGE, "Sagas that have not ended.", ("status",))
WITH_INCIDENT: Final = Measure("oms_sagas_with_incident", Kind.GAUGE, "Sagas with an open incident.")
OPEN_INCIDENTS: Final = Measure(
    "oms_incidents_open", Kind.GAUGE, "Sagas with an open incident of a kind.", ("kind",)
)
OVERDUE: Final = Measure(
    "oms_sagas_due_lag_seconds",
    Kind.GAUGE,
    "For how long the longest waiting saga has been due to be looked at.",
)
DEAD_LETTERS: Final = Measure(
    "oms_dead_letters",
    Kind.GAUGE,
    "Dead letters that nobody has settled, by the queue that gave them up and status.",
    ("queue", "status"),
)
QUEUE_READY: Final = Measure(
    "oms_queue_messages",
    Kind.GAUGE,
    "Messages ready for delivery at the broker; a batch counts as one.",
    ("queue",),
)
QUEUE_CONSUMERS: Final = Measure("oms_queue_consumers", Kind.GAUGE, "Consumers of a queue.", ("queue",))
JOBS_RUNNING: Final = Measure("oms_jobs_running", Kind.GAUGE, "Jobs that have not ended.")
JOB_ITEMS: Final = Measure(
    "oms_job_items_total",
    Kind.COUNTER,
    "Items that jobs have worked through: succeeded, or refused with a reason.",
    ("kind", "result"),
)

FEED_HELD: Final = Measure(
    "oms_feed_held_seconds",
    Kind.GAUGE,
    "How old the oldest event is that is not told yet, because a transaction of before is open still.",
)
MEASURES: Final = (
    FEED_HELD,
    JOBS_RUNNING,
    JOB_ITEMS,
    STARTED,
    ENDED_AS,
    DURATION,
    ATTEMPTS,
    STEP_DURATION,
    INCIDENTS,
    STALE,
    UNKNOWN_VERSION,
    RESENT,
    UNREADABLE,
    ACTIVE,
    WITH_INCIDENT,
    OPEN_INCIDENTS,
    OVERDUE,
    DEAD_LETTERS,
    QUEUE_READY,
    QUEUE_CONSUMERS,
)


class SagaMeasures:
    """Counts of one engine."""

    def __init__(
        self, events: Mapping[str, type[OutcomeEvent]], ends: Collection[tuple[str, str]] = ()
    ) -> None:
        """
        Args:
            events: every event that can answer a command, by its type.
            ends: the labels with which sagas of each definition end, counted from the start.
        """
        self.started: Counter[str] = Counter({definition: 0 for definition, _ in ends})
        self.durations: dict[tuple[str, str], Distribution] = {
            each: Distribution(SECONDS) for each in sorted(ends)
        }
        self._results = {name: _result(event) for name, event in events.items()}
        self.attempts: Counter[tuple[str, str, str, str]] = Counter()
        self._answers: dict[tuple[str, str, bool, str], int] = {}
        self._durations: dict[tuple[str, str, bool], Distribution] = {}
        self.incidents: Counter[IncidentKind] = Counter()

    def note(self, moves: Sequence[Move]) -> None:
        """Take note of what sagas accepted, in a transaction that has been committed."""
        for before, accepted, after in moves:
            if before is None:
                self.started[after.definition] += 1
                continue
            if type(accepted) is OutcomeReceived:
                self._note_answer(before, accepted, after)
            else:
                self._note_other(before, accepted)
            if after.ended_at is not None and before.ended_at is None:
                took_s = (after.updated_at - after.created_at).total_seconds()
                end = (after.definition, after.label)
                self.durations.setdefault(end, Distribution(SECONDS)).add(took_s)
            if after.incidents and after.incidents != before.incidents:
                self.incidents.update(i.kind for i in after.incidents if i not in before.incidents)

    def readings(self) -> Iterator[Reading]:
        """Everything counted so far."""
        for definition, count in self.started.items():
            yield STARTED.of(definition), count
        for end, durations in self.durations.items():
            yield ENDED_AS.of(*end), sum(durations.counts)
            yield DURATION.of(*end), durations
        attempts = self.attempts.copy()
        for (definition, step, forward, event), count in self._answers.items():
            attempts[definition, step, _DIRECTIONS[forward], self._results[event]] += count
        for labels, count in attempts.items():
            yield ATTEMPTS.of(*labels), count
        for (definition, step, forward), durations in self._durations.items():
            yield STEP_DURATION.of(definition, step, _DIRECTIONS[forward]), durations
        for kind in IncidentKind:
            yield INCIDENTS.of(kind.value), self.incidents[kind]

    def _note_answer(self, before: Saga, answer: OutcomeReceived, after: Saga) -> None:
        """On the hot path: keys of plain texts and truths, which are compared and hashed without Python."""
        definition, forward = before.definition, answer.direction is Direction.FORWARD
        step = step_name(answer.step)
        key = (definition, step, forward, answer.event)
        self._answers[key] = self._answers.get(key, 0) + 1
        awaited = before.waiting_for(answer.step, answer.direction)
        if awaited is None:
            return
        durations = self._durations.get((definition, step, forward))
        if durations is None:
            durations = self._durations[definition, step, forward] = Distribution(SECONDS)
        durations.add((after.updated_at - awaited.since).total_seconds())

    def _note_other(self, before: Saga, accepted: Input) -> None:
        match accepted:
            case CommandDeadLettered(step, direction):
                self.attempts[before.definition, step_name(step), direction.value, "dead_lettered"] += 1
            case OutcomeUnknown() | StepOverdue() | CompensationStuck():
                direction, result = _TIMED[type(accepted)]
                self.attempts[before.definition, step_name(accepted.step), direction.value, result] += 1
            case _:
                pass


def ends_of(registry: Registry) -> set[tuple[str, str]]:
    """The labels with which sagas of each definition may end, with its name."""
    return {
        (each.name, label)
        for each in registry
        for label in (*each.labels.completes_as, *each.labels.undone_as)
    }


def _result(kind: type[OutcomeEvent]) -> str:
    if issubclass(kind, Rejection):
        return "rejected"
    if issubclass(kind, StepRefused):
        return "refused"
    return "settled" if issubclass(kind, StepSettled) else "succeeded"


_DIRECTIONS: Final = {True: Direction.FORWARD.value, False: Direction.COMPENSATING.value}
_TIMED: Final[dict[type, tuple[Direction, str]]] = {
    OutcomeUnknown: (Direction.FORWARD, "unknown"),
    StepOverdue: (Direction.FORWARD, "overdue"),
    CompensationStuck: (Direction.COMPENSATING, "stuck"),
}
