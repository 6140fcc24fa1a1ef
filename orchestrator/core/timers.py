"""When a saga wants to be looked at, and what a look finds (S4, S7, S11, S20, S23).

Pure: time and chance are passed in.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from contracts.envelope import Direction
from orchestrator.core.definition import SagaDefinition, Step, StepKind, StepPolicy
from orchestrator.core.inputs import CompensationStuck, OutcomeUnknown, StepOverdue, WaitElapsed
from orchestrator.core.state import Awaited, IncidentKind, Saga, Sending
from orchestrator.core.values import replace


@dataclass(frozen=True, slots=True)
class Observed:
    """What the looker knows beside the saga.

    Attributes:
        in_outbox: of the latest copies of awaited commands, those that have not left yet (S4).
        outcomes_empty_at: when our outcome queue was last seen empty, of which the looker has by now served
            all that it had taken; None if never. What other replicas have taken and cannot serve, say because
            they alone have lost the database, is not seen: such an answer comes late (S5).
    """

    in_outbox: Set[UUID]
    outcomes_empty_at: datetime | None


@dataclass(frozen=True, slots=True)
class Resend:
    """Send the awaited command once more: same work, new message id."""

    final: bool
    """It is the one after the deadline (S4)."""


@dataclass(frozen=True, slots=True)
class StayAsItIs:
    """Nothing to do yet. ``grace_begins``: the final copy was seen to have left the outbox (S4)."""

    grace_begins: bool = False


Finding = Resend | StayAsItIs | OutcomeUnknown | StepOverdue | CompensationStuck | WaitElapsed


def look(
    definition: SagaDefinition, saga: Saga, awaited: Awaited, observed: Observed, now: datetime
) -> Finding:
    """What to do about one of the pieces that a saga awaits, looked at now."""
    wait = definition.waits.get(awaited.step)
    if wait is not None:
        over_at = awaited.since + timedelta(seconds=wait.deadline_s)
        return WaitElapsed(wait.name) if now >= over_at else StayAsItIs()
    if awaited.settling is not None:
        return _resend_if_due(awaited, observed, now)
    if awaited.held:
        return StayAsItIs()
    step = definition[awaited.step]
    if awaited.direction is Direction.COMPENSATING:
        if _is_stuck(saga, awaited, step.policy):
            return CompensationStuck(awaited.step)
        return _resend_if_due(awaited, observed, now)
    if now < _deadline(awaited, step.policy):
        return _resend_if_due(awaited, observed, now)
    if step.kind is StepKind.COMPENSATABLE:
        return _look_past_deadline(awaited, step, observed)
    if not saga.has_incident(IncidentKind.OVERDUE, awaited.step, awaited.direction):
        return StepOverdue(awaited.step)
    return _resend_if_due(awaited, observed, now)


def _is_stuck(saga: Saga, awaited: Awaited, policy: StepPolicy) -> bool:
    known = saga.has_incident(IncidentKind.COMPENSATION_STUCK, awaited.step, awaited.direction)
    return awaited.sending.attempts >= policy.stuck_after_attempts and not known


def _look_past_deadline(awaited: Awaited, step: Step, observed: Observed) -> Finding:
    """One more copy; then unknown, only when neither an outage nor our own backlog can be the reason (S4).

    The grace runs from when the copy was seen to have left. The queue must be seen empty after the grace: an
    answer given within it has then been read.
    """
    sending = awaited.sending
    if sending.message_id in observed.in_outbox:
        return StayAsItIs()
    if sending.final_at is None:
        return Resend(final=True)
    if sending.grace_since is None:
        return StayAsItIs(grace_begins=True)
    graced_at = sending.grace_since + timedelta(seconds=step.policy.grace_s)
    emptied_at = observed.outcomes_empty_at
    is_unknown = emptied_at is not None and emptied_at >= graced_at
    return OutcomeUnknown(awaited.step) if is_unknown else StayAsItIs()


def _resend_if_due(awaited: Awaited, observed: Observed, now: datetime) -> Finding:
    sending = awaited.sending
    if sending.message_id in observed.in_outbox:
        return StayAsItIs()
    if sending.resend_at is not None and now < sending.resend_at:
        return StayAsItIs()
    return Resend(final=False)


def sent(
    definition: SagaDefinition,
    saga: Saga,
    awaited: Awaited,
    message_id: UUID,
    now: datetime,
    jitter: float,
    *,
    final: bool,
) -> Saga:
    """The saga after one more copy of what it waits for was written to the outbox.

    Args:
        jitter: chance in [0, 1): takes up to a quarter off the delay before the next copy.
        final: it is the copy after the deadline (S4).

    Raises:
        ValueError: the saga does not await this piece.
    """
    if saga.waiting_for(awaited.step, awaited.direction) is None:
        raise ValueError(f"{awaited.step} is not awaited")
    before = awaited.sending
    delay_s = _delay_s(definition[awaited.step].policy, before.attempts) * (1 - jitter / 4)
    sending = Sending(
        attempts=before.attempts + 1,
        message_id=message_id,
        resend_at=now + timedelta(seconds=delay_s),
        final_at=now if final else None,
    )
    key = attempts_key(awaited)
    attempts = {**saga.attempts, key: saga.attempts.get(key, 0) + 1}
    waiting = saga.awaited_with(replace(awaited, sending=sending))
    return replace(saga, awaited=waiting, attempts=attempts)


def stayed(saga: Saga, awaited: Awaited, finding: StayAsItIs, now: datetime) -> Saga:
    """The saga after a look that found nothing to do about a piece: only its timers move."""
    if not finding.grace_begins:
        return saga
    sending = replace(awaited.sending, grace_since=now)
    return replace(saga, awaited=saga.awaited_with(replace(awaited, sending=sending)))


LOOK_AGAIN_S: Final = 1.0
"""Least seconds until the next look at a saga that waits for something that no clock tells."""


NEARLY: Final = 4
"""A look is near in the last quarter of the time until something can be done."""

_BEFORE_ALL: Final = datetime.min.replace(tzinfo=UTC)

SELDOM_S: Final = 60.0
"""Most seconds until the next look at a wait that is over and could not be ended."""


def due_at(definition: SagaDefinition, saga: Saga, now: datetime) -> datetime | None:
    """When the saga next wants to be looked at: the earliest of its pieces (S11, S20).

    None when only an answer or a person moves it. A saga that is past its time and still cannot move, say
    because its command is still in the outbox, is looked at ever more seldom, so that an outage does not make
    every saga ask every second.
    """
    earliest: datetime | None = None
    for awaited in saga.awaited:
        wanted = _piece_due_at(definition, saga, awaited, now)
        if wanted is not None and (earliest is None or wanted < earliest):
            earliest = wanted
    return earliest


def moved_lazily(
    definition: SagaDefinition, saga: Saga, standing: datetime | None, now: datetime
) -> datetime | None:
    """The ``due_at`` to write with a transition: an earlier one that stands is kept, unless it is near.

    An early look is harmless, and not moving the time spares the index. But a look that would find nothing
    reads and writes the saga once more, while here its row is written anyway: of sagas that wait in a backlog
    few are looked at before there is something to do about them. What can be done already is never put off.
    """
    wanted = due_at(definition, saga, now)
    if standing is None or wanted is None or standing > wanted:
        return wanted
    if standing - now >= (wanted - now) / NEARLY:
        return standing
    possible_from = due_at(definition, saga, _BEFORE_ALL)
    return standing if possible_from is None or possible_from <= now else wanted


def attempts_key(awaited: Awaited) -> str:
    """The name under which a saga counts copies: ``step``, ``step:compensating`` or ``step:settle``."""
    if awaited.settling is not None:
        return f"{awaited.step}:settle"
    forward = awaited.direction is Direction.FORWARD
    return awaited.step if forward else f"{awaited.step}:{awaited.direction}"


def _piece_due_at(definition: SagaDefinition, saga: Saga, awaited: Awaited, now: datetime) -> datetime | None:
    wait = definition.waits.get(awaited.step)
    if wait is not None:
        over_at = awaited.since + timedelta(seconds=wait.deadline_s)
        return _ahead(over_at, now, SELDOM_S)
    if awaited.held and awaited.settling is None:
        return None
    policy = definition[awaited.step].policy
    return _ahead(_wanted_at(policy, saga, awaited) or now, now, policy.resend_cap_s)


def _ahead(wanted: datetime, now: datetime, cap_s: float) -> datetime:
    if wanted > now:
        return wanted
    late_s = (now - wanted).total_seconds()
    return now + timedelta(seconds=max(LOOK_AGAIN_S, min(late_s / 4, cap_s)))


def _wanted_at(policy: StepPolicy, saga: Saga, awaited: Awaited) -> datetime | None:
    """When something can next be done, as far as a clock tells."""
    sending = awaited.sending
    if awaited.settling is not None or awaited.direction is Direction.COMPENSATING:
        return sending.resend_at
    if sending.grace_since is not None:
        return sending.grace_since + timedelta(seconds=policy.grace_s)
    if sending.final_at is not None:
        return sending.final_at
    if saga.incidents and saga.has_incident(IncidentKind.OVERDUE, awaited.step, awaited.direction):
        return sending.resend_at
    deadline = _deadline(awaited, policy)
    return deadline if sending.resend_at is None else min(sending.resend_at, deadline)


def _deadline(awaited: Awaited, policy: StepPolicy) -> datetime:
    return awaited.since + timedelta(seconds=policy.deadline_s)


def _delay_s(policy: StepPolicy, attempts: int) -> float:
    """Seconds before the copy after the next: doubling, up to the cap (S4)."""
    return min(policy.resend_cap_s, policy.resend_after_s * 2.0 ** min(attempts, 32))
