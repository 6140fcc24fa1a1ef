"""Worlds of one saga definition of this deployment, with stand-ins for participants that are none of ours."""

from __future__ import annotations

from functools import cache, partial

from contracts.samples import NoSample, sample
from oms.definitions import registry
from oms.failures import Failure
from oms.settings import load_settings
from orchestrator.core.definition import SagaDefinition
from simulation.courses.plan import plan_for
from simulation.kinds import NOT_OF_GIVEN, Kind
from simulation.plan import Plan


def kind_of(name: str) -> Kind:
    """The worlds of a definition, every version of it.

    Raises:
        Failure: there is none of this name, or it cannot be played.
    """
    for definition in definitions(name):
        _check_playable(definition)
    return Kind(name, partial(_plan_of, name), NOT_OF_GIVEN)


@cache
def definitions(name: str) -> tuple[SagaDefinition, ...]:
    """Every version of a definition. Raises Failure where there is none."""
    known = registry(load_settings())
    found = tuple(each for each in known if each.name == name)
    if not found:
        names = ", ".join(sorted({each.name for each in known}))
        raise Failure(f"there is no saga definition {name!r} here; there are: {names}")
    return found


def _plan_of(name: str, seed: int) -> Plan:
    return plan_for(seed, definitions(name))


def _check_playable(definition: SagaDefinition) -> None:
    """Stand-ins make their answers up, and people their signals."""
    models = [event for step in definition.steps for event in step.events()]
    signals = [wait.signal for wait in definition.waits.values() if wait.signal is not None]
    for model in (*models, *signals):
        try:
            sample(model)
        except NoSample as error:
            raise Failure(f"saga definition {definition.name!r} cannot be simulated: {error}") from None
