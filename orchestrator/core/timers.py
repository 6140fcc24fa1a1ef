"""When a saga wants to be looked at, and what a look finds (S4, S7, S11).

Pure: time and chance are passed in.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from contracts.envelope import Direction
from orchestrator.core.definition import SagaDefinition, Step, StepKind, StepPolicy
from orchestrator.core.inputs import CompensationStuck, OutcomeUnknown, StepOverdue
from orchestrator.core.state import Awaiting, IncidentKind, Saga, Sending, Settlement
from orchestrator.core.values import replace


@dataclass(frozen=True, slots=True)
class Observed:
    """What the looker knows beside the saga.

    Attributes:
        copy_in_outbox: the latest copy of the awaited command has not left yet (S4).
        outcomes_empty_at: when our outcome queue was last seen empty, with nothing of it being worked on;
            None if never.
    """

    copy_in_outbox: bool
    outcomes_empty_at: datetime | None


@dataclass(frozen=True, slots=True)
class Resend:
    """Send the awaited command once more: same work, new message id."""

    final: bool
    """It is the one after the deadline (S4)."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do yet. ``grace_begins``: the final copy was seen to have left the outbox (S4)."""

    grace_begins: bool = False


Finding = Resend | Wait | OutcomeUnknown | StepOverdue | CompensationStuck


def look(definition: SagaDefinition, saga: Saga, observed: Observed, now: datetime) -> Finding:
    """What to do about a saga that is looked at now."""
    awaiting = saga.awaiting
    if saga.settling is not None:
        return _resend_if_due(saga, observed, now)
    if awaiting is None or awaiting.held:
        return Wait()
    step = definition[awaiting.step]
    if awaiting.direction is Direction.COMPENSATING:
        if _is_stuck(saga, awaiting, step.policy):
            return CompensationStuck(step.name)
        return _resend_if_due(saga, observed, now)
    if now < _deadline(awaiting, step.policy):
        return _resend_if_due(saga, observed, now)
    if step.kind is StepKind.COMPENSATABLE:
        return _look_past_deadline(saga, step, observed)
    if not saga.has_incident(IncidentKind.OVERDUE, step.name, awaiting.direction):
        return StepOverdue(step.name)
    return _resend_if_due(saga, observed, now)


def _is_stuck(saga: Saga, awaiting: Awaiting, policy: StepPolicy) -> bool:
    known = saga.has_incident(IncidentKind.COMPENSATION_STUCK, awaiting.step, awaiting.direction)
    return saga.sending.attempts >= policy.stuck_after_attempts and not known


def _look_past_deadline(saga: Saga, step: Step, observed: Observed) -> Finding:
    """One more copy; then unknown, only when neither an outage nor our own backlog can be the reason (S4).

    The grace runs from when the copy was seen to have left. The queue must be seen empty after the grace: an
    answer given within it has then been read.
    """
    if observed.copy_in_outbox:
        return Wait()
    if saga.sending.final_at is None:
        return Resend(final=True)
    if saga.sending.grace_since is None:
        return Wait(grace_begins=True)
    graced_at = saga.sending.grace_since + timedelta(seconds=step.policy.grace_s)
    emptied_at = observed.outcomes_empty_at
    return OutcomeUnknown(step.name) if emptied_at is not None and emptied_at >= graced_at else Wait()


def _resend_if_due(saga: Saga, observed: Observed, now: datetime) -> Finding:
    resend_at = saga.sending.resend_at
    if observed.copy_in_outbox or (resend_at is not None and now < resend_at):
        return Wait()
    return Resend(final=False)


def sent(
    definition: SagaDefinition, saga: Saga, message_id: UUID, now: datetime, jitter: float, *, final: bool
) -> Saga:
    """The saga after one more copy of what it waits for was written to the outbox.

    Args:
        jitter: chance in [0, 1): takes up to a quarter off the delay before the next copy.
        final: it is the copy after the deadline (S4).

    Raises:
        ValueError: the saga waits for nothing.
    """
    work = saga.work
    if work is None:
        raise ValueError(f"saga {saga.saga_id} awaits nothing")
    before = saga.sending
    delay_s = _delay_s(definition[work.step].policy, before.attempts) * (1 - jitter / 4)
    sending = Sending(
        attempts=before.attempts + 1,
        message_id=message_id,
        resend_at=now + timedelta(seconds=delay_s),
        final_at=now if final else None,
    )
    key = attempts_key(saga, work)
    attempts = {**saga.attempts, key: saga.attempts.get(key, 0) + 1}
    due = _due_at(definition, saga, sending, now)
    return replace(saga, sending=sending, attempts=attempts, due_at=due)


def waited(definition: SagaDefinition, saga: Saga, finding: Wait, now: datetime) -> Saga:
    """The saga after a look that found nothing to do: only its timers move."""
    sending = replace(saga.sending, grace_since=now) if finding.grace_begins else saga.sending
    return replace(saga, sending=sending, due_at=_due_at(definition, saga, sending, now))


LOOK_AGAIN_S = 1.0
"""Least seconds until the next look at a saga that waits for something that no clock tells."""


def due_at(definition: SagaDefinition, saga: Saga, now: datetime) -> datetime | None:
    """When the saga next wants to be looked at; None when only an answer or a person moves it (S11).

    A saga that is past its time and still cannot move, say because its command is still in the outbox, is
    looked at ever more seldom, so that an outage does not make every saga ask every second.
    """
    return _due_at(definition, saga, saga.sending, now)


def attempts_key(saga: Saga, work: Awaiting | Settlement) -> str:
    """The name under which a saga counts copies: ``step``, ``step:compensating`` or ``step:settle``."""
    if saga.settling is not None:
        return f"{work.step}:settle"
    return work.step if work.direction is Direction.FORWARD else f"{work.step}:{work.direction}"


def _due_at(definition: SagaDefinition, saga: Saga, sending: Sending, now: datetime) -> datetime | None:
    work = saga.work
    if work is None or (saga.settling is None and saga.awaiting is not None and saga.awaiting.held):
        return None
    policy = definition[work.step].policy
    wanted = _wanted_at(policy, saga, sending) or now
    if wanted > now:
        return wanted
    late_s = (now - wanted).total_seconds()
    return now + timedelta(seconds=max(LOOK_AGAIN_S, min(late_s / 4, policy.resend_cap_s)))


def _wanted_at(policy: StepPolicy, saga: Saga, sending: Sending) -> datetime | None:
    """When something can next be done, as far as a clock tells."""
    awaiting = saga.awaiting
    if saga.settling is not None or awaiting is None or awaiting.direction is Direction.COMPENSATING:
        return sending.resend_at
    if sending.grace_since is not None:
        return sending.grace_since + timedelta(seconds=policy.grace_s)
    if sending.final_at is not None:
        return sending.final_at
    if saga.incidents and saga.has_incident(IncidentKind.OVERDUE, awaiting.step, awaiting.direction):
        return sending.resend_at
    deadline = _deadline(awaiting, policy)
    return deadline if sending.resend_at is None else min(sending.resend_at, deadline)


def _deadline(awaiting: Awaiting, policy: StepPolicy) -> datetime:
    return awaiting.since + timedelta(seconds=policy.deadline_s)


def _delay_s(policy: StepPolicy, attempts: int) -> float:
    """Seconds before the copy after the next: doubling, up to the cap (S4)."""
    return min(policy.resend_cap_s, policy.resend_after_s * 2.0 ** min(attempts, 32))
