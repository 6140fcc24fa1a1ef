"""The course of a saga: which pieces of work are asked for or undone next, and how it ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.envelope import Direction
from orchestrator.core.asking import announced, awaited_command, results_of
from orchestrator.core.definition import (
    MAX_BRANCHES,
    MAX_PIECES,
    MAX_RESULTS,
    ForEach,
    Step,
    StepKind,
    Wait,
    steps_of,
)
from orchestrator.core.effects import Effect
from orchestrator.core.moment import DefinitionFault, Moment
from orchestrator.core.state import (
    Awaited,
    End,
    Failure,
    Forward,
    Saga,
    Signal,
    Status,
    StepState,
    Undo,
)
from orchestrator.core.values import replace

FORWARD, COMPENSATING = Direction.FORWARD, Direction.COMPENSATING

Course = tuple[Saga, tuple[Effect, ...]]
"""The changed saga, and what to send."""


# -- forward --------------------------------------------------------------------------------------------


def begin(at: Moment) -> Course:
    """Start with the first stage; tell the world that the saga is there (S14)."""
    told = announced(at.definition, at.definition.announces.get("started"), at.saga)
    saga, effects = enter(at, at.saga, 0)
    return saga, (*told, *effects)


def enter(at: Moment, saga: Saga, index: int) -> Course:
    """Begin the first stage from ``index`` on that has anything to wait for; or complete."""
    for number in range(index, len(at.definition.course)):
        stage = at.definition.course[number]
        if isinstance(stage, Wait):
            saga, refusal = _open_wait(at, saga, stage)
            if refusal is not None:
                return turn(at, saga, (), refusal)
        elif isinstance(stage, ForEach):
            saga = _open_branches(at, saga, stage)
        opened = [piece for piece in pieces_of(at, saga, number) if piece.forward is Forward.PENDING]
        if opened:
            asked = [replace(piece, forward=Forward.AWAITED) for piece in opened]
            return _await(at, saga, asked, FORWARD)
    return _complete(at, saga)


def pieces_of(at: Moment, saga: Saga, number: int) -> list[StepState]:
    """The pieces of one stage, as far as the saga knows them by now."""
    stage = at.definition.course[number]
    if isinstance(stage, Step | Wait):
        return [saga.step(stage.name)]
    return [piece for piece in saga.steps if at.definition.stage_index(piece.name) == number]


def _open_branches(at: Moment, saga: Saga, stage: ForEach) -> Saga:
    """Work out what the branches are about, once and for all (S22)."""
    at_stage = at.definition.for_eaches[stage.name]
    results = results_of(at.definition, saga, at_stage)
    items = at.work_out(stage.name, lambda: list(stage.over(saga.input, results)))
    if len(items) > MAX_BRANCHES or len(saga.steps) + len(items) > MAX_PIECES:
        raise DefinitionFault(f"{stage.name}: {len(items)} branches are more than one saga may have")
    branches = [StepState(f"{stage.step.name}[{n}]", item=item) for n, item in enumerate(items, 1)]
    place = sum(at.definition.stage_index(piece.name) < at_stage for piece in saga.steps)
    return _within_bounds(replace(saga, steps=(*saga.steps[:place], *branches, *saga.steps[place:])))


def _open_wait(at: Moment, saga: Saga, wait: Wait) -> tuple[Saga, Failure | None]:
    """A wait that is not needed is left out; one whose signal has come already is over at once (S23)."""
    piece = saga.step(wait.name)
    when = wait.when
    if when is not None:
        results = results_of(at.definition, saga)
        if not at.work_out(wait.name, lambda: bool(when(saga.input, results))):
            left_out = replace(piece, forward=Forward.LEFT_OUT)
            return replace(saga, steps=saga.steps_with(left_out)), None
    signal = saga.signals.get(wait.name)
    if signal is None:
        return replace(saga, label=wait.waiting or saga.label), None
    return over(at, saga, wait, signal)


def over(at: Moment, saga: Saga, wait: Wait, signal: Signal | None) -> tuple[Saga, Failure | None]:
    """A wait has ended, with its signal or by its time; the failure is why the saga must turn round."""
    body = signal.body if signal else {}
    done = remember(saga, replace(saga.step(wait.name), forward=Forward.SUCCEEDED, result=body))
    refusal = _refusal(at, wait, body) if signal else None
    if refusal is not None:
        message = str(body.get("reason") or f"{wait.name} was refused")[:1000]
        return done, Failure(refusal, message, End.REJECTED)
    return replace(done, label=wait.milestone or done.label), None


def _refusal(at: Moment, wait: Wait, body: Mapping[str, Any]) -> str | None:
    refuses = wait.refuses
    if refuses is None:
        return None
    said = at.work_out(f"{wait.name} refused", lambda: refuses(body))
    return None if said is None else str(said)


def succeed(at: Moment, name: str, data: Mapping[str, Any]) -> Course:
    """A piece has succeeded: go on when nothing else of its stage is awaited (S6, S20)."""
    step, number = at.definition[name], at.definition.stage_index(name)
    done = replace(at.saga.step(name), forward=Forward.SUCCEEDED, result=result_of(step, data))
    saga = remember(replace(at.saga, awaited=at.saga.awaited_without(name, FORWARD)), done)
    if saga.awaited:
        return saga, ()
    if isinstance(at.definition.course[number], ForEach):
        return leave_branches(at, saga, number)
    return leave(at, saga, number)


def leave(at: Moment, saga: Saga, number: int) -> Course:
    """A stage is over: take its labels, tell the world, and begin the next."""
    told: tuple[Effect, ...] = ()
    for step in steps_of(at.definition.course[number]):
        saga = replace(saga, label=step.milestone or saga.label)
        told += announced(at.definition, step.announces, saga)
    saga, effects = enter(at, saga, number + 1)
    return saga, (*told, *effects)


def leave_branches(at: Moment, saga: Saga, number: int) -> Course:
    """Every branch of a for-each has answered: when none succeeded, turn round (S22)."""
    branches = pieces_of(at, saga, number)
    if any(branch.forward is Forward.SUCCEEDED for branch in branches):
        return leave(at, saga, number)
    first = branches[0].result
    failure = Failure(str(first.get("code", "rejected")), str(first.get("message", "")), End.REJECTED)
    return turn(at, saga, (), failure)


def branch_rejected(at: Moment, name: str, failure: Failure) -> Course:
    """A branch of a for-each pivot says no: a result like the others (S22)."""
    said = {"code": failure.code, "message": failure.message}
    no = replace(at.saga.step(name), forward=Forward.REJECTED, result=said)
    saga = remember(replace(at.saga, awaited=at.saga.awaited_without(name, FORWARD)), no)
    if saga.awaited:
        return saga, ()
    return leave_branches(at, saga, at.definition.stage_index(name))


def is_branch_of_pivot(at: Moment, name: str) -> bool:
    """Whether a piece is a branch of the for-each that is the point of no return."""
    return isinstance(at.definition.stage_of(name), ForEach) and at.definition[name].kind is StepKind.PIVOT


# -- back -----------------------------------------------------------------------------------------------


def turn(at: Moment, saga: Saga, known: tuple[StepState, ...], failure: Failure) -> Course:
    """Turn round, knowing something new of some pieces. Only a running saga turns: the first cause wins (S8).

    What else of the stage is still awaited counts as unknown (S21).
    """
    told = {piece.name for piece in known}
    unknown = [
        replace(piece, forward=Forward.UNKNOWN if piece.name in at.definition else Forward.LEFT_OUT)
        for piece in saga.steps
        if piece.forward is Forward.AWAITED and piece.name not in told
    ]
    changes = (*known, *unknown)
    saga = replace(
        saga,
        status=Status.COMPENSATING,
        direction=COMPENSATING,
        failure=failure,
        awaited=(),
        steps=saga.steps_with(*changes) if changes else saga.steps,
    )
    return undo_next(at, saga)


def undo_next(at: Moment, saga: Saga) -> Course:
    """Undo what may hold something: stages in reverse order, each side by side; or end (S3, S21)."""
    last, held = -1, list[StepState]()
    for piece in reversed(saga.steps):
        if not piece.may_hold_something or piece.name not in at.definition:
            continue
        if at.definition[piece.name].compensation is None:
            continue
        number = at.definition.stage_index(piece.name)
        if held and number != last:
            break
        last, held = number, [replace(piece, undo=Undo.AWAITED), *held]
    return _await(at, saga, held, COMPENSATING) if held else _end_undone(at, saga)


# -- both -----------------------------------------------------------------------------------------------


def result_of(step: Step, data: Mapping[str, Any]) -> dict[str, Any]:
    """What the saga remembers of a step's success: all that it keeps, also what is None.

    Of a history that was written without defaults (`OutcomeReceived`) it is what stands there.
    """
    return {name: data[name] for name in step.keeps if name in data}


def remember(saga: Saga, piece: StepState) -> Saga:
    """The saga with what is new of one piece. Raises DefinitionFault beyond what it may remember."""
    after = replace(saga, steps=saga.steps_with(piece))
    return _within_bounds(after) if piece.result else after


def _within_bounds(saga: Saga) -> Saga:
    if characters(saga) > MAX_RESULTS:
        raise DefinitionFault(f"more than {MAX_RESULTS:,} characters of results and items in one saga")
    return saga


def characters(saga: Saga) -> int:
    """How much the saga remembers: results, what its branches are about, signals for waits to come."""
    told = [each.result for each in saga.steps if each.result]
    told += [each.item for each in saga.steps if each.item is not None]
    told += [signal.body for wait, signal in saga.signals.items() if not saga.step(wait).result]
    return sum(len(str(each)) for each in told)


def _await(at: Moment, saga: Saga, pieces: list[StepState], direction: Direction) -> Course:
    begun = tuple([Awaited(piece.name, direction, at.now) for piece in pieces])
    saga = replace(saga, steps=saga.steps_with(*pieces), awaited=begun)
    commands = [awaited_command(at.definition, saga, each) for each in begun if each.step in at.definition]
    return saga, tuple(commands)


def _complete(at: Moment, saga: Saga) -> Course:
    completed = at.definition.labels.completed
    if callable(completed):
        results = results_of(at.definition, saga)
        label = str(at.work_out("label completed", lambda: completed(saga.input, results)))
        if label not in at.definition.labels.may_complete_as:
            raise DefinitionFault(f"{saga.definition}: it may not complete as {label!r}")
    else:
        label = completed
    return _end(at, saga, Status.COMPLETED, End.COMPLETED, label)


def _end_undone(at: Moment, saga: Saga) -> Course:
    failure = saga.failure
    if failure is None:
        raise ValueError(f"saga {saga.saga_id} was undone for no cause")
    labels = at.definition.labels
    rejected = labels.rejected_as.get(failure.code, labels.rejected)
    label = labels.cancelled if failure.ends_as is End.CANCELLED else rejected
    return _end(at, saga, Status.COMPENSATED, failure.ends_as, label)


def _end(at: Moment, saga: Saga, status: Status, end: End, label: str) -> Course:
    saga = replace(saga, status=status, label=label, ended_at=at.now, awaited=())
    announces = at.definition.announces
    own = announces.get(label) if end is End.COMPLETED else None
    return saga, announced(at.definition, own or announces.get(end.value), saga)
