"""What can be expected of a saga after something has happened."""

from __future__ import annotations

from contracts.commands import Command
from contracts.envelope import Direction
from contracts.events import (
    Event,
)
from orchestrator.core import machine
from orchestrator.core.effects import (
    PublishEvent,
    Refused,
    ResolveDeadLetters,
    Stale,
    Transition,
)
from orchestrator.core.state import IncidentKind, Status
from orchestrator.core.timers import Finding
from tests.unit.core.happenings import (
    COMPENSATING,
    FORWARD,
)
from tests.unit.core.scenario import (
    Expectation,
    Scenario,
)


def sends(*commands: type[Command]) -> Expectation:
    """The last input sent exactly these commands."""
    return lambda it: _equal([type(command) for command in it.commands], list(commands))


def publishes(*events: type[Event]) -> Expectation:
    """The last input published exactly these events."""

    def holds(it: Scenario) -> None:
        published = [type(each.event) for each in it.effects if isinstance(each, PublishEvent)]
        _equal(published, list(events))

    return holds


def asks_for(step: str) -> Expectation:
    """The saga runs and awaits this step."""

    def holds(it: Scenario) -> None:
        assert it.saga.status is Status.RUNNING
        assert it.saga.awaits(step, FORWARD), it.saga.awaited

    return holds


def undoes(step: str) -> Expectation:
    """The saga compensates and awaits the compensation of this step."""

    def holds(it: Scenario) -> None:
        assert it.saga.status is Status.COMPENSATING
        assert it.saga.awaits(step, COMPENSATING), it.saga.awaited

    return holds


def awaits(*pieces: str, direction: Direction = FORWARD) -> Expectation:
    """The saga awaits exactly these pieces of work, in the order of its course (S20)."""

    def holds(it: Scenario) -> None:
        expected = [(piece, direction) for piece in pieces]
        _equal([(each.step, each.direction) for each in it.saga.awaited], expected)

    return holds


def undoes_exactly(*pieces: str) -> Expectation:
    """The saga compensates, and undoes exactly these pieces side by side (S21)."""

    def holds(it: Scenario) -> None:
        assert it.saga.status is Status.COMPENSATING
        awaits(*pieces, direction=COMPENSATING)(it)

    return holds


def asked(*pieces: str) -> Expectation:
    """The last input sent one command to each of these pieces."""
    return lambda it: _equal([command.step for command in it.commands], list(pieces))


def order_is(label: str) -> Expectation:
    """What the customer sees."""
    return lambda it: _equal(it.saga.label, label)


def ends(status: Status, label: str, because: str | None = None) -> Expectation:
    """The saga is over: nothing is awaited, nothing is due."""

    def holds(it: Scenario) -> None:
        assert (it.saga.status, it.saga.label) == (status, label)
        assert it.saga.failure is None or it.saga.failure.code == because
        assert (it.saga.awaited, it.saga.due_at) == ((), None)
        assert it.saga.ended_at == it.now

    return holds


def stale(it: Scenario) -> None:
    """The last input changed nothing, and nobody minds (S1)."""
    assert isinstance(it.decision, Stale), it.decision


def accepted(it: Scenario) -> None:
    """The last input was accepted."""
    assert isinstance(it.decision, Transition), it.decision


def refuses(code: str) -> Expectation:
    """The last input was refused to the person who asked."""

    def holds(it: Scenario) -> None:
        assert isinstance(it.decision, Refused), it.decision
        assert it.decision.code == code
        assert it.decision.reason

    return holds


def opens(kind: IncidentKind, *words: str) -> Expectation:
    """An incident of this kind is open, and its message has these words."""

    def holds(it: Scenario) -> None:
        (incident,) = (each for each in it.saga.incidents if each.kind is kind)
        missing = [word for word in words if word not in incident.message]
        assert not missing, f"{incident.message!r} lacks {missing}"

    return holds


def no_incident(it: Scenario) -> None:
    """Nothing is open."""
    assert it.saga.incidents == ()


def closes_dead_letters(step: str, direction: Direction = FORWARD, cause: str | None = None) -> Expectation:
    """The last input ends the dead letters of this work (D3)."""

    def holds(it: Scenario) -> None:
        (closed,) = (each for each in it.effects if isinstance(each, ResolveDeadLetters))
        assert (closed.step, closed.direction) == (step, direction)
        assert cause is None or closed.cause == cause

    return holds


def closes_no_dead_letters(it: Scenario) -> None:
    """The last input leaves dead letters as they are."""
    assert not [each for each in it.effects if isinstance(each, ResolveDeadLetters)]


def finds(finding: Finding) -> Expectation:
    """The last look found exactly this."""
    return lambda it: _equal(it.finding, finding)


def may(*actions: str) -> Expectation:
    """A person may do exactly this now."""
    return lambda it: _equal(machine.allowed_actions(it.definition, it.saga), actions)


def _equal(actual: object, expected: object) -> None:
    assert actual == expected
