"""A saga walked through by hand, for tests of its definition: what it asks for, given what it was answered.

No storage, no broker, no waiting: the machine itself, fed with answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from contracts.commands import Command
from contracts.envelope import Direction
from contracts.events import Event, OutcomeEvent
from contracts.wire import written
from orchestrator.core.asking import awaited_command
from orchestrator.core.definition import SagaDefinition
from orchestrator.core.effects import Decision, PublishEvent, Transition
from orchestrator.core.inputs import (
    Actor,
    CancelRequested,
    Input,
    SignalReceived,
    WaitElapsed,
    outcome_of,
)
from orchestrator.core.machine import decide, start
from orchestrator.core.soundness import validate
from orchestrator.core.state import Saga

_IDS = (UUID(int=1), UUID(int=2))
_TESTER = Actor("test", "walking through")


class NotAwaited(Exception):
    """The saga does not wait for this now; the message says what it waits for."""


class Walk:
    """One saga of a definition, which must be sound."""

    def __init__(self, definition: SagaDefinition, given: BaseModel) -> None:
        """
        Args:
            given: its input. Raises InvalidDefinition where the definition must not run.
        """
        validate(definition)
        model = definition.accepted or definition.input
        accepted = model.model_validate_json(given.model_dump_json())
        self._definition = definition
        self._now = datetime(2026, 1, 1, tzinfo=UTC)
        self.told: list[Event] = []
        """What it has told the world, oldest first."""
        self._saga = self._after(start(definition, *_IDS, accepted, self._now))

    @property
    def asked(self) -> Mapping[str, Command]:
        """The commands whose answers it waits for, by their pieces of work, in their order."""
        at_work = [each for each in self._saga.awaited if each.step in self._definition]
        return {each.step: awaited_command(self._definition, self._saga, each).command for each in at_work}

    @property
    def waits(self) -> tuple[str, ...]:
        """The waits that it waits in."""
        return tuple(each.step for each in self._saga.awaited if each.step not in self._definition)

    @property
    def label(self) -> str:
        """The customer's word for where it stands."""
        return self._saga.label

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will happen."""
        return self._saga.has_ended

    def answer(self, event: type[OutcomeEvent], piece: str | None = None, **fields: Any) -> None:
        """A participant answers.

        Args:
            piece: which work; needed only where several that are awaited may be answered so.

        Raises:
            NotAwaited: nobody waits for it.
        """
        for name, command in self.asked.items():
            if piece in (None, name) and event in self._answers(name, command):
                identity = {"saga_id": self._saga.saga_id, "order_id": self._saga.subject_id}
                made = event(**identity, step=name, direction=command.direction, **fields)
                self._happens(outcome_of(event.model_validate_json(written(made))))
                return
        raise NotAwaited(f"{event.__name__} answers nothing: {self._awaited()}")

    def signal(self, wait: str, body: BaseModel | None = None) -> None:
        """Something comes from outside. Raises NotAwaited where it is refused."""
        said = {} if body is None else body.model_dump(mode="json")
        self._happens(SignalReceived(_TESTER, wait, said))

    def let_time_run_out(self, wait: str) -> None:
        """The time of a wait has run out. Raises NotAwaited where it waits for something else."""
        self._now += timedelta(seconds=self._definition.waits[wait].deadline_s)
        self._happens(WaitElapsed(wait))

    def cancel(self) -> None:
        """The customer wants it undone. Raises NotAwaited where that is not possible any more."""
        self._happens(CancelRequested(_TESTER))

    def _answers(self, piece: str, command: Command) -> tuple[type[OutcomeEvent] | None, ...]:
        step = self._definition[piece]
        if command.direction is Direction.FORWARD:
            return step.success, step.rejection
        return (None if step.compensation is None else step.compensation.outcome,)

    def _happens(self, happened: Input) -> None:
        self._now += timedelta(seconds=1)
        self._saga = self._after(decide(self._definition, self._saga, happened, self._now))

    def _after(self, decision: Decision) -> Saga:
        if not isinstance(decision, Transition):
            raise NotAwaited(f"{decision.reason}; {self._awaited()}")
        self.told += [each.event for each in decision.effects if isinstance(each, PublishEvent)]
        return decision.saga

    def _awaited(self) -> str:
        names = [*self.asked, *self.waits]
        return f"the saga is {self._saga.status} and waits for {', '.join(names) or 'nothing'}"
