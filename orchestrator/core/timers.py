"""When a saga wants to be looked at, and what a look finds (S4, S7, S11).

Pure: time and chance are passed in.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from contracts.envelope import Direction
from orchestrator.core.definition import SagaDefinition, StepKind, StepPolicy
from orchestrator.core.inputs import CompensationStuck, OutcomeUnknown, StepOverdue
from orchestrator.core.state import IncidentKind, Saga, Sending
from orchestrator.core.values import replace


@dataclass(frozen=True, slots=True)
class Observed:
    """What the looker knows beside the saga.

    Attributes:
        copy_in_outbox: the latest copy of the awaited command has not left yet (S4).
        outcomes_empty_at: a moment at or after which our outcome queue was seen empty; None if never.
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
    """Nothing to do yet. ``grace_restarts``: the final copy has not left, so its grace begins anew."""

    grace_restarts: bool = False


Finding = Resend | Wait | OutcomeUnknown | StepOverdue | CompensationStuck


def look(definition: SagaDefinition, saga: Saga, observed: Observed, now: datetime) -> Finding:
    """What to do about a saga that is looked at now."""
    awaiting = saga.awaiting
    if saga.settling is not None:
        return _resend_if_due(saga, observed, now)
    if awaiting is None or awaiting.held:
        return Wait()
    policy = definition[awaiting.step].policy
    if awaiting.direction is Direction.COMPENSATING:
        known = saga.has_incident(IncidentKind.COMPENSATION_STUCK, awaiting.step, awaiting.direction)
        if saga.sending.attempts >= policy.stuck_after_attempts and not known:
            return CompensationStuck(awaiting.step)
        return _resend_if_due(saga, observed, now)
    past_deadline = now >= awaiting.since + timedelta(seconds=policy.deadline_s)
    if not past_deadline:
        return _resend_if_due(saga, observed, now)
    if definition[awaiting.step].kind is StepKind.COMPENSATABLE:
        return _look_past_deadline(saga, awaiting.step, policy, observed, now)
    if not saga.has_incident(IncidentKind.OVERDUE, awaiting.step, awaiting.direction):
        return StepOverdue(awaiting.step)
    return _resend_if_due(saga, observed, now)


def _look_past_deadline(
    saga: Saga, step: str, policy: StepPolicy, observed: Observed, now: datetime
) -> Finding:
    """One more copy; then unknown only when neither an outage nor our own backlog can be the reason (S4)."""
    if observed.copy_in_outbox:
        return Wait(grace_restarts=saga.sending.final_at is not None)
    final_at = saga.sending.final_at
    if final_at is None:
        return Resend(final=True)
    graced = now >= final_at + timedelta(seconds=policy.grace_s)
    seen_empty = observed.outcomes_empty_at is not None and observed.outcomes_empty_at >= final_at
    return OutcomeUnknown(step) if graced and seen_empty else Wait()


def _resend_if_due(saga: Saga, observed: Observed, now: datetime) -> Finding:
    resend_at = saga.sending.resend_at
    if observed.copy_in_outbox or (resend_at is not None and now < resend_at):
        return Wait()
    return Resend(final=False)


def sent(
    definition: SagaDefinition, saga: Saga, message_id: UUID, now: datetime, jitter: float, *, final: bool
) -> Saga:
    """The saga after one more copy of what it awaits was written to the outbox.

    Args:
        jitter: chance in [0, 1): spreads the next copy over ±25 % of its delay.
        final: it is the copy after the deadline (S4).
    """
    policy = _policy(definition, saga)
    attempts = saga.sending.attempts + 1
    delay_s = min(policy.resend_cap_s, policy.resend_after_s * 2 ** min(attempts - 1, 32))
    sending = Sending(
        attempts=attempts,
        message_id=message_id,
        resend_at=now + timedelta(seconds=delay_s * (0.75 + jitter / 2)),
        final_at=now if final else saga.sending.final_at,
    )
    counted = dict(saga.attempts)
    if (key := _attempts_key(saga)) is not None:
        counted[key] = counted.get(key, 0) + 1
    saga = replace(saga, sending=sending, attempts=counted)
    return replace(saga, due_at=due_at(definition, saga, now))


def waited(definition: SagaDefinition, saga: Saga, finding: Wait, now: datetime) -> Saga:
    """The saga after a look that found nothing to do: only its timers move."""
    if finding.grace_restarts:
        saga = replace(saga, sending=replace(saga.sending, final_at=now))
    return replace(saga, due_at=due_at(definition, saga, now))


LOOK_AGAIN_S = 1.0
"""Seconds until the next look at a saga that waits for something that no clock tells."""


def due_at(definition: SagaDefinition, saga: Saga, now: datetime) -> datetime | None:
    """When the saga next wants to be looked at; None when only an answer or a person moves it (S11)."""
    awaiting, sending = saga.awaiting, saga.sending
    soon = now + timedelta(seconds=LOOK_AGAIN_S)
    if saga.settling is not None:
        return max(sending.resend_at or soon, soon)
    if awaiting is None or awaiting.held:
        return None
    step = definition[awaiting.step]
    if sending.final_at is not None:
        return max(sending.final_at + timedelta(seconds=step.policy.grace_s), soon)
    candidates = [sending.resend_at or soon]
    overdue_known = saga.has_incident(IncidentKind.OVERDUE, awaiting.step, awaiting.direction)
    if awaiting.direction is Direction.FORWARD and not overdue_known:
        candidates.append(awaiting.since + timedelta(seconds=step.policy.deadline_s))
    return max(min(candidates), soon)


def _policy(definition: SagaDefinition, saga: Saga) -> StepPolicy:
    work = saga.settling or saga.awaiting
    if work is None:
        raise ValueError(f"saga {saga.saga_id} awaits nothing")
    return definition[work.step].policy


def _attempts_key(saga: Saga) -> str | None:
    work = saga.settling or saga.awaiting
    if work is None:
        return None
    if saga.settling is not None:
        return f"{work.step}:settle"
    return work.step if work.direction is Direction.FORWARD else f"{work.step}:{work.direction}"
