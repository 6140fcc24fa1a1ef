"""A small language for tests of sagas: given a saga, when something happens, then something holds.

    awaiting("charge").when(declined()).then(sends(ReleaseInventory), undoes("reserve"))

Every step also checks what must hold whatever happens (`laws`), so no test has to say it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Self
from uuid import UUID

from pydantic import BaseModel

from contracts.commands import Command
from contracts.orders import Order
from orchestrator.core import machine, timers
from orchestrator.core.definition import SagaDefinition
from orchestrator.core.effects import (
    Decision,
    Effect,
    PublishEvent,
    SendCommand,
    Transition,
)
from orchestrator.core.inputs import Input
from orchestrator.core.state import Awaited, Incident, Saga
from orchestrator.core.timers import Finding, Observed, Resend, StayAsItIs
from tests.unit.core.happenings import (
    COMPENSATING,
    DEFINITION,
    FORWARD,
    NOON,
    ORDER,
    ORDER_ID,
    SAGA_ID,
    cancel,
    declined,
    not_shippable,
    paid,
    reduced,
    refunded,
    released,
    reserved,
    shipped,
)
from tests.unit.core.laws import check_step

Expectation = Callable[["Scenario"], None]


class Scenario:
    """One saga, lived through input by input, with a clock that moves when told."""

    def __init__(self, definition: SagaDefinition = DEFINITION, given: BaseModel | None = None) -> None:
        self.definition = definition
        if given is None:
            given = ORDER if definition.input is Order else definition.examples[0]
        self.now = NOON
        started = machine.start(definition, SAGA_ID, ORDER_ID, given, NOON)
        self.history: list[tuple[datetime, Input]] = [(NOON, started.accepted)]
        self.decision: Decision = started
        self.finding: Finding | None = None
        self.findings: dict[str, Finding] = {}
        self.saga: Saga = started.saga
        self._copies = 0
        self._carry_out(started)

    # -- when ---------------------------------------------------------------------------------------------

    def when(self, *inputs: Input) -> Self:
        """These inputs arrive, one after the other, now."""
        for happened in inputs:
            before = self.saga
            self.decision = machine.decide(self.definition, before, happened, self.now)
            if isinstance(self.decision, Transition):
                self.history.append((self.now, self.decision.accepted))
                self._carry_out(self.decision)
            check_step(self.definition, before, happened, self.decision, self.history)
        return self

    def after(self, seconds: float) -> Self:
        """Time passes; nobody looks."""
        self.now += timedelta(seconds=seconds)
        return self

    def looked_at(
        self, *, copy_in_outbox: bool = False, queue_seen_empty: bool = True, left_behind: str = ""
    ) -> Self:
        """The reconciler looks at each piece that is awaited, and acts on what it finds.

        Args:
            copy_in_outbox: no copy has left yet; or that of the piece ``left_behind`` alone.
        """
        copies = {
            each.sending.message_id
            for each in self.saga.awaited
            if each.sending.message_id is not None and (copy_in_outbox or each.step == left_behind)
        }
        return self.seen(Observed(copies, self.now if queue_seen_empty else None))

    def seen(self, observed: Observed) -> Self:
        """The reconciler knows this beside the saga, and looks."""
        self.findings = {}
        for each in self.saga.awaited:
            awaited = self.saga.waiting_for(each.step, each.direction)
            if awaited is not None:
                finding = timers.look(self.definition, self.saga, awaited, observed, self.now)
                self._act_on(awaited, finding)
        self._rest()
        return self

    def _act_on(self, awaited: Awaited, finding: Finding) -> None:
        """What the reconciler does about a finding."""
        self.finding = self.findings[awaited.step] = finding
        match finding:
            case StayAsItIs():
                self.saga = timers.stayed(self.saga, awaited, finding, self.now)
            case Resend(final):
                self._sent(awaited, final=final)
            case _:
                self.when(finding)

    def until_due(self) -> Self:
        """Time passes until the saga wants to be looked at."""
        assert self.saga.due_at is not None, "it waits for an answer or a person alone"
        self.now = max(self.now, self.saga.due_at)
        return self

    # -- then ---------------------------------------------------------------------------------------------

    def then(self, *expectations: Expectation) -> Self:
        """All of this holds now."""
        for expectation in expectations:
            expectation(self)
        return self

    @property
    def effects(self) -> tuple[Effect, ...]:
        """What the last input made the saga ask for."""
        return self.decision.effects if isinstance(self.decision, Transition) else ()

    @property
    def commands(self) -> tuple[Command, ...]:
        """The commands that the last input sent."""
        return tuple(effect.command for effect in self.effects if isinstance(effect, SendCommand))

    def awaited(self, piece: str) -> Awaited:
        """What is known of an awaited piece."""
        (found,) = (each for each in self.saga.awaited if each.step == piece)
        return found

    @property
    def waiting(self) -> Awaited:
        """The one piece that is awaited."""
        (found,) = self.saga.awaited
        return found

    @property
    def command(self) -> Any:
        """The one command that the last input sent."""
        (command,) = self.commands
        return command

    @property
    def event(self) -> Any:
        """The one event that the last input published."""
        (event,) = (effect.event for effect in self.effects if isinstance(effect, PublishEvent))
        return event

    @property
    def incident(self) -> Incident:
        """The one incident that is open."""
        (incident,) = self.saga.incidents
        return incident

    # -- how ----------------------------------------------------------------------------------------------

    def _carry_out(self, transition: Transition) -> None:
        self.saga = transition.saga
        for effect in transition.effects:
            if isinstance(effect, SendCommand):
                self._sent(self.awaited(effect.command.step), final=False)
        self._rest()

    def _rest(self) -> None:
        self.saga = replace(self.saga, due_at=timers.due_at(self.definition, self.saga, self.now))

    def _sent(self, awaited: Awaited, *, final: bool) -> None:
        self._copies += 1
        copy = UUID(int=1000 + self._copies)
        self.saga = timers.sent(self.definition, self.saga, awaited, copy, self.now, 0.0, final=final)


# -- given ---------------------------------------------------------------------------------------------


def started(definition: SagaDefinition = DEFINITION, given: BaseModel | None = None) -> Scenario:
    """A saga that has just begun."""
    return Scenario(definition, given)


def awaiting(step: str, definition: SagaDefinition = DEFINITION) -> Scenario:
    """A saga whose earlier steps have succeeded and that waits for this one."""
    scenario = started(definition)
    for name, succeeded in (("reserve", reserved), ("charge", paid), ("ship", shipped)):
        if name == step:
            break
        scenario.when(succeeded())
    assert scenario.saga.awaits(step, FORWARD)
    return scenario


def undoing(step: str) -> Scenario:
    """A paid order whose shipment was rejected, and whose compensation has come to this step."""
    scenario = awaiting("ship").when(not_shippable())
    if step == "reserve":
        scenario.when(refunded())
    assert scenario.saga.awaits(step, COMPENSATING)
    return scenario


def completed() -> Scenario:
    """An order fulfilled."""
    return awaiting("commit").when(reduced())


def rejected() -> Scenario:
    """An order whose payment was declined, undone and ended."""
    return awaiting("charge").when(declined(), released())


def cancelled() -> Scenario:
    """An order cancelled while it was paid for, undone and ended."""
    return awaiting("charge").when(cancel(), refunded(), released())
