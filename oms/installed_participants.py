"""The participants of an installation: our own three, and those that other distributions bring."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache
from typing import Final

from sqlalchemy import MetaData

from migrations.run import History, histories_of_kit, history_of
from oms.extensions import KIT_PARTICIPANTS, Extension, everything_installed, failure, installed, load
from oms.failures import Failure
from participants.inventory.handlers import inventory
from participants.kit.declaring import InvalidParticipant
from participants.kit.participant import RESERVED, Participant
from participants.payment.handlers import payment
from participants.shipping.handlers import shipping
from participants.tables import participant_metadata

OUR_OWN: Final[Mapping[str, Participant]] = {each.name: each for each in (inventory, payment, shipping)}


def participant_names(off: Collection[str]) -> tuple[str, ...]:
    """The participants of this installation, our own first. Imports none of them."""
    found = installed(KIT_PARTICIPANTS, off)
    for each in found:
        if each.name in RESERVED:
            raise failure(each, "has a name that is taken")
    return (*OUR_OWN, *(each.name for each in found))


def require_participant(name: str, off: Collection[str]) -> None:
    """Raises Failure unless this installation has a participant of this name."""
    names = participant_names(off)
    if name not in names:
        raise Failure(f"there is no participant {name!r}; there are {', '.join(names)}")


@cache
def participant_named(name: str) -> Participant:
    """A participant by its name: one of ours, or an installed one, switched off or not.

    Raises:
        Failure: there is none, or it cannot be loaded.
    """
    if name in OUR_OWN:
        return OUR_OWN[name]
    for each in everything_installed():
        if (each.group, each.name) == (KIT_PARTICIPANTS, name):
            return _participant(each)
    raise Failure(f"there is no participant {name!r}; there are {', '.join(participant_names(()))}")


def takes_batches(name: str) -> bool:
    """Whether a participant of this name takes commands by the batch (M5). Unknown are foreign ones."""
    if name in OUR_OWN:
        return True
    known = [each.name for each in everything_installed() if each.group == KIT_PARTICIPANTS]
    return name in known and participant_named(name).takes_batches


def _participant(extension: Extension) -> Participant:
    try:
        found = load(extension)
    except InvalidParticipant as error:
        raise failure(extension, str(error)) from None
    if not isinstance(found, Participant):
        raise failure(extension, f"is {type(found).__name__}, not a Participant")
    if found.name != extension.name:
        raise failure(extension, f"must be called as its participant is, {found.name}")
    if not found.steps:
        raise failure(extension, "declares no step")
    if found.at_provider and found.provider is None:
        raise failure(extension, "has provider steps, so it must say who makes the client: provider=...")
    return found


def histories(service: str) -> tuple[History, ...]:
    """How the schema of a service comes to be, in order. Raises Failure where there is no such service."""
    try:
        return (history_of(service),)
    except ValueError:
        return histories_of_kit(service, participant_named(service).migrations)


def tables_of_kit(name: str) -> tuple[MetaData, ...]:
    """The tables of an installed participant: the kit's, and its author's. Raises Failure."""
    own = participant_named(name).tables
    return (participant_metadata(name), *(() if own is None else (own,)))
