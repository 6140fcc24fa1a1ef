"""Rules about messages that travel several in one: none is lost with its neighbours."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final

from contracts.envelope import BATCH_CONTENT_TYPE
from messaging.transport import Message
from simulation.checkers.inspection import Checker, Objections, Reaction
from simulation.checkers.knowledge import Knowledge
from simulation.facts import Acknowledged, TakenOff


class DoneWhenAllPartsAre(Checker):
    """What the broker forgets has been acknowledged, each part of it, by whoever it was handed to (M5)."""

    rule = "a batch is done when all of its parts are (M5)"

    def __init__(self, known: Knowledge) -> None:
        super().__init__(known)
        self._acknowledged: defaultdict[Any, set[str | None]] = defaultdict(set)

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Acknowledged: self._one, TakenOff: self._taken_off}

    def _one(self, fact: Acknowledged) -> Objections:
        side, tag, _ = fact.delivery.tag
        self._acknowledged[side, tag].add(fact.delivery.message_id)
        return ()

    def _taken_off(self, fact: TakenOff) -> Objections:
        acknowledged = self._acknowledged.pop((fact.side, fact.tag), set())
        for saga_id, message_id, what in _parts(fact.message):
            if message_id not in acknowledged:
                yield saga_id, f"{what} is forgotten by the broker with others, and nobody was done with it"


def _parts(message: Message) -> list[tuple[str, str | None, str]]:
    """The saga, the id and the type of each part, read from the bytes as a stranger would read them."""
    if message.content_type != BATCH_CONTENT_TYPE:
        return [(str(message.correlation_id), str(message.message_id), message.type)]
    written = [
        each
        for each in json.loads(message.body)["messages"]
        if isinstance(each, dict) and "message_id" in each
    ]
    return [(str(each.get("correlation_id")), each["message_id"], each["type"]) for each in written]


ALL: Final = (DoneWhenAllPartsAre,)
