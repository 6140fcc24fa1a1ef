"""What the rows of the transition table about waits do: signals from outside, time that runs out (S23)."""

from __future__ import annotations

from orchestrator.core.course import (
    FORWARD,
    Course,
    characters,
    leave,
    over,
    turn,
)
from orchestrator.core.definition import MAX_RESULTS, OnDeadline, Wait
from orchestrator.core.effects import Decision, Refused, Stale
from orchestrator.core.inputs import (
    SignalReceived,
    WaitElapsed,
)
from orchestrator.core.moment import Moment
from orchestrator.core.state import (
    End,
    Failure,
    Forward,
    Saga,
    Signal,
)
from orchestrator.core.values import replace


def take_signal(at: Moment) -> Decision:
    """What a wait waits for has come: it is taken once, and kept where it comes early (S23)."""
    asked: SignalReceived = at.happened
    wait, saga = at.definition.waits.get(asked.wait), at.saga
    if wait is None or wait.signal is None:
        return Refused("unknown_signal", f"nothing here waits for a signal {asked.wait!r}")
    known = saga.signals.get(asked.wait)
    if known is not None:
        same = known.body == asked.body
        return (
            Stale("it was taken before") if same else Refused("signalled", f"{asked.wait} was told otherwise")
        )
    if not _still_to_come(at, wait):
        return Refused("too_late", f"{asked.wait} is not waited for any more")
    unfit = _unfit(at, wait, asked)
    if unfit is not None:
        return Refused("unfit_signal", unfit)
    signal = Signal(asked.body, asked.actor.name, at.now)
    saga = replace(saga, signals={**saga.signals, asked.wait: signal})
    if characters(saga) > MAX_RESULTS:
        return Refused("too_long", f"one saga remembers at most {MAX_RESULTS:,} characters")
    if saga.waiting_for(asked.wait, FORWARD) is None:
        return at.accept(saga)
    return at.accept(*_end_wait(at, saga, wait, signal))


def _unfit(at: Moment, wait: Wait, asked: SignalReceived) -> str | None:
    """Why a signal is none for this saga, by its definition; in a fold, what it said then (S15)."""
    fits = wait.fits
    if fits is None:
        return None
    said = at.work_out(f"{wait.name} fits", lambda: fits(at.saga.input, asked.body))
    return None if said is None else str(said)


def _still_to_come(at: Moment, wait: Wait) -> bool:
    return at.saga.step(wait.name).forward in (Forward.PENDING, Forward.AWAITED)


def end_wait(at: Moment) -> Decision:
    """The time of a wait has run out: go on, or turn round (S23)."""
    elapsed: WaitElapsed = at.happened
    if not at.saga.awaits(elapsed.wait, FORWARD):
        return Stale(f"{elapsed.wait} is not waited for")
    return at.accept(*_end_wait(at, at.saga, at.definition.waits[elapsed.wait], None))


def _end_wait(at: Moment, saga: Saga, wait: Wait, signal: Signal | None) -> Course:
    saga = replace(saga, awaited=saga.awaited_without(wait.name, FORWARD))
    if signal is None and wait.on_deadline is OnDeadline.TURN:
        failure = Failure("wait_deadline", f"{wait.name} did not come within its time", End.REJECTED)
        left = replace(saga.step(wait.name), forward=Forward.LEFT_OUT)
        return turn(at, saga, (left,), failure)
    saga, refusal = over(at, saga, wait, signal)
    if refusal is not None:
        return turn(at, saga, (), refusal)
    return leave(at, saga, at.definition.stage_index(wait.name))


def signal_again(at: Moment) -> Decision:
    """A signal to a saga that waits no more: fine if it was taken before, else too late (S23)."""
    asked: SignalReceived = at.happened
    known = at.saga.signals.get(asked.wait)
    if known is not None and known.body == asked.body:
        return Stale("it was taken before")
    if asked.wait not in at.definition.waits:
        return Refused("unknown_signal", f"nothing here waits for a signal {asked.wait!r}")
    return Refused("too_late", f"{asked.wait} is not waited for any more: the saga is {at.saga.status}")
