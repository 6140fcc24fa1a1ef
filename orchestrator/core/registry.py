"""The saga definitions that a process knows, every version of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

from contracts.commands import Command, SettleStep
from contracts.events import OutcomeEvent
from contracts.models import Model
from contracts.sensitive import SENSITIVE_NAMES, sensitive_names
from orchestrator.core.definition import SagaDefinition
from orchestrator.core.soundness import InvalidDefinition, validate


class Registry:
    """The saga definitions that this process knows, every version of each (S13)."""

    def __init__(self, definitions: Iterable[SagaDefinition]) -> None:
        self._definitions: dict[tuple[str, int], SagaDefinition] = {}
        self._latest: dict[str, SagaDefinition] = {}
        self._events: dict[str, type[OutcomeEvent]] = {}
        self._commands: dict[str, type[Command]] = {SettleStep.__name__: SettleStep}
        for definition in definitions:
            self._register(definition)

    def _register(self, definition: SagaDefinition) -> None:
        validate(definition)
        key = (definition.name, definition.version)
        if key in self._definitions:
            raise InvalidDefinition(f"saga definition {key[0]!r} version {key[1]} is registered twice")
        for name, event in definition.events.items():
            if self._events.setdefault(name, event) is not event:
                raise InvalidDefinition(f"two different events are both called {name}")
        for command in definition.commands:
            self._commands.setdefault(command.__name__, command)
        self._definitions[key] = definition
        latest = self._latest.get(definition.name)
        if definition.starts_sagas and (latest is None or latest.version < definition.version):
            self._latest[definition.name] = definition

    def find(self, name: str, version: int) -> SagaDefinition | None:
        """The definition a saga instance runs, or None where this process does not know it (S13)."""
        return self._definitions.get((name, version))

    def latest(self, name: str) -> SagaDefinition:
        """The version that new sagas start on. Raises KeyError when there is none."""
        return self._latest[name]

    @property
    def started_here(self) -> Mapping[str, SagaDefinition]:
        """The definitions that new sagas start on, by name (S24)."""
        return self._latest

    def __iter__(self) -> Iterator[SagaDefinition]:
        return iter(self._definitions.values())

    @property
    def events(self) -> Mapping[str, type[OutcomeEvent]]:
        """Every event that can answer a command of some saga, by its type."""
        return self._events

    @property
    def commands(self) -> Mapping[str, type[Command]]:
        """Every command that some saga may ask for, by its type."""
        return self._commands

    @cached_property
    def sensitive(self) -> frozenset[str]:
        """The names of all fields that the models of its sagas mark as sensitive.

        These are the models of inputs, commands, answers, signals and announcements.
        """
        return SENSITIVE_NAMES | sensitive_names(model for each in self for model in _models_of(each))

    @property
    def known(self) -> tuple[tuple[str, int], ...]:
        """Every (name, version) known here, sorted."""
        return tuple(sorted(self._definitions))

    @property
    def outcome_keys(self) -> frozenset[str]:
        """Routing keys that the outcome queue must be bound to."""
        return frozenset().union(*(definition.outcome_keys for definition in self._definitions.values()))

    @property
    def participants(self) -> tuple[str, ...]:
        """Every participant that some step addresses, sorted."""
        return tuple(sorted({step.participant for each in self._definitions.values() for step in each.steps}))


def _models_of(definition: SagaDefinition) -> Iterator[type[Model]]:
    yield definition.input
    yield definition.asked
    if definition.accepted is not None:
        yield definition.accepted
    for step in definition.steps:
        yield step.command
        yield from step.events()
        if step.compensation is not None:
            yield step.compensation.command
        if step.announces is not None:
            yield step.announces.event
    yield from (wait.signal for wait in definition.waits.values() if wait.signal is not None)
    yield from (each.event for each in definition.announces.values())
