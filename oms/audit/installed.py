"""What other distributions bring, as the audit knows it: whose ledgers there are, who does which step."""

from __future__ import annotations

from contracts.routing import PARTICIPANTS
from oms.audit.orphans import Undoing
from oms.audit.sources import Installed
from oms.definitions import registry
from oms.installed_participants import participant_named, participant_names
from oms.settings import Settings


def installed_of(settings: Settings) -> Installed:
    """Installed participants and sagas. Raises Failure where one of them cannot be used."""
    own = [name for name in participant_names(settings.extensions_off) if name not in PARTICIPANTS]
    places: dict[str, dict[str, str]] = {}
    for definition in registry(settings):
        known = places.setdefault(definition.name, {})
        known.update({step.name: step.participant for step in definition.steps})
    return Installed(tuple(own), places)


def undoing_of(settings: Settings) -> Undoing:
    """What undoes the work of each installed participant. Raises Failure where one cannot be loaded."""
    own = [name for name in participant_names(settings.extensions_off) if name not in PARTICIPANTS]
    return {
        name: {step.work.name: step.work.compensation for step in participant_named(name).steps}
        for name in own
    }
