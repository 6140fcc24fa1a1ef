"""How the rules about stages, branches, waits and starts are taken away (S20 to S24)."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import replace as changed
from typing import Any

from contracts.envelope import Direction
from orchestrator.core import asking, course, timers
from orchestrator.core.course import FORWARD, leave
from orchestrator.core.definition import ForEach
from orchestrator.core.effects import Refused
from orchestrator.core.inputs import WaitElapsed
from orchestrator.core.state import Forward, Signal, Undo
from orchestrator.core.values import replace


def credited_to_another(original: Callable[..., Any]) -> Callable[..., Any]:
    """S20: what one branch answers is taken for the answer of the last one that is awaited."""

    def succeed(at: Any, name: str, data: Any) -> Any:
        beside = [each.step for each in at.saga.awaited if each.direction is FORWARD]
        return original(at, beside[-1] if name in beside else name, data)

    return succeed


def left_at_the_first(original: Callable[..., Any]) -> Callable[..., Any]:
    """S20: a stage is over as soon as one of its pieces is."""

    def succeed(at: Any, name: str, data: Any) -> Any:
        step, number = at.definition[name], at.definition.stage_index(name)
        done = replace(at.saga.step(name), forward=Forward.SUCCEEDED, result=course.result_of(step, data))
        saga = course.remember(replace(at.saga, awaited=()), done)
        return leave(at, saga, number)

    return succeed


def due_with_the_last(original: Callable[..., Any]) -> Callable[..., Any]:
    """S20: a saga is looked at when the last of its pieces wants it."""

    def due_at(definition: Any, saga: Any, now: Any) -> Any:
        wanted = [timers._piece_due_at(definition, saga, each, now) for each in saga.awaited]
        return max((each for each in wanted if each is not None), default=None)

    return due_at


def siblings_forgotten(original: Callable[..., Any]) -> Callable[..., Any]:
    """S21: when a saga turns round, what else of its stage was asked for is not thought of."""

    def turn(at: Any, saga: Any, known: Any, failure: Any) -> Any:
        told = {piece.name for piece in known}
        forgotten = tuple(
            replace(piece, forward=Forward.PENDING)
            for piece in saga.steps
            if piece.forward is Forward.AWAITED and piece.name not in told
        )
        return original(at, replace(saga, steps=saga.steps_with(*forgotten)), known, failure)

    return turn


def one_of_a_stage_undone(original: Callable[..., Any]) -> Callable[..., Any]:
    """S21: of a stage only its last piece is undone before the stages before it are."""

    def undo_next(at: Any, saga: Any) -> Any:
        undone, effects = original(at, saga)
        if len(undone.awaited) < 2 or undone.awaited == saga.awaited:
            return undone, effects
        last = undone.awaited[-1]
        others = [replace(undone.step(each.step), undo=Undo.NONE) for each in undone.awaited[:-1]]
        left = replace(undone, awaited=(last,), steps=undone.steps_with(*others))
        return left, tuple(effect for effect in effects if effect.command.step == last.step)

    return undo_next


def all_stages_at_once(original: Callable[..., Any]) -> Callable[..., Any]:
    """S21: a stage is undone beside the one after it."""

    def undo_next(at: Any, saga: Any) -> Any:
        held = [
            replace(piece, undo=Undo.AWAITED)
            for piece in saga.steps
            if piece.may_hold_something
            and piece.name in at.definition
            and at.definition[piece.name].compensation is not None
        ]
        if not held:
            return original(at, saga)
        return course._await(at, saga, held, Direction.COMPENSATING)

    return undo_next


def worked_out_for_each_copy(original: Callable[..., Any]) -> Callable[..., Any]:
    """S22: what a branch is about is worked out each time that it is asked for."""

    def command_for(definition: Any, saga: Any, awaited: Any) -> Any:
        stage = definition.stage_of(awaited.step)
        if not isinstance(stage, ForEach) or awaited.direction is not FORWARD or awaited.settling:
            return original(definition, saga, awaited)
        number = definition.stage_index(awaited.step)
        items = list(stage.over(saga.input, asking.results_of(definition, saga, number)))
        at = int(awaited.step.rpartition("[")[2][:-1]) - 1
        piece = replace(saga.step(awaited.step), item=items[at] if at < len(items) else None)
        return original(definition, replace(saga, steps=saga.steps_with(piece)), awaited)

    return command_for


def worked_out_in_the_fold(original: Callable[..., Any]) -> Callable[..., Any]:
    """S22, S15: what the history says of items and waits is not listened to."""

    def work_out(self: Any, name: str, function: Callable[[], Any]) -> Any:
        deaf = copy(self)
        object.__setattr__(deaf, "happened", changed(self.happened, worked_out={}))
        return original(deaf, name, function)

    return work_out


def turned_by_one_branch(original: Callable[..., Any]) -> Callable[..., Any]:
    """S22: one rejected branch of a pivot turns the saga round, whatever the others did."""

    def branch_rejected(at: Any, name: str, failure: Any) -> Any:
        no = replace(at.saga.step(name), forward=Forward.REJECTED)
        return course.turn(at, at.saga, (no,), failure)

    return branch_rejected


def on_with_none(original: Callable[..., Any]) -> Callable[..., Any]:
    """S22: a for-each pivot of which no branch succeeded is gone on from."""
    return leave


def early_signal_lost(original: Callable[..., Any]) -> Callable[..., Any]:
    """S23: a signal that comes before its wait is accepted and forgotten."""

    def take_signal(at: Any) -> Any:
        decision = original(at)
        early = at.saga.waiting_for(at.happened.wait, FORWARD) is None
        if not early or not hasattr(decision, "saga"):
            return decision
        kept = {name: each for name, each in decision.saga.signals.items() if name != at.happened.wait}
        return _with_saga(decision, replace(decision.saga, signals=kept))

    return take_signal


def signal_taken_twice(original: Callable[..., Any]) -> Callable[..., Any]:
    """S23: a further signal takes the place of the first."""

    def take_signal(at: Any) -> Any:
        asked = at.happened
        if asked.wait not in at.saga.signals or asked.wait not in at.definition.waits:
            return original(at)
        signal = Signal(asked.body, asked.actor.name, at.now)
        return at.accept(replace(at.saga, signals={**at.saga.signals, asked.wait: signal}))

    return take_signal


def impatient(original: Callable[..., Any]) -> Callable[..., Any]:
    """S23: a wait is over when somebody looks."""

    def look(definition: Any, saga: Any, awaited: Any, observed: Any, now: Any) -> Any:
        if awaited.step in definition.waits:
            return WaitElapsed(awaited.step)
        return original(definition, saga, awaited, observed, now)

    return look


def always_due(original: Callable[..., Any]) -> Callable[..., Any]:
    """And somebody looks all the time."""

    def due_at(definition: Any, saga: Any, now: Any) -> Any:
        wanted = original(definition, saga, now)
        return None if wanted is None else now

    return due_at


def refused_when_repeated(original: Callable[..., Any]) -> Callable[..., Any]:
    """S23: the same signal once more is refused."""

    def take_signal(at: Any) -> Any:
        if at.happened.wait in at.saga.signals:
            return Refused("signalled", "it was told before")
        return original(at)

    return take_signal


def _with_saga(decision: Any, saga: Any) -> Any:
    return type(decision)(saga, decision.effects, decision.accepted)
