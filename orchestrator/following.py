"""Starts sagas that follow an earlier one: it is locked, so that all who follow it see each other (S28)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from orchestrator.core.definition import SagaDefinition
from orchestrator.core.following import Earlier, Follower, Follows, NotFollowed
from orchestrator.core.state import Saga, StepState
from orchestrator.storage import Followers, Locked, OrchestratorTransaction


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of an earlier saga, by a saga that is to be started with this id."""

    saga_id: UUID
    definition: SagaDefinition
    given: Any

    @property
    def follows(self) -> Follows:
        """How its definition follows."""
        assert self.definition.follows is not None
        return self.definition.follows

    @property
    def subject_id(self) -> UUID:
        """What the earlier saga is about."""
        return self.follows.subject(self.given)


Made = Mapping[UUID, Any]
"""By the id of the saga to be started, its input, or a NotFollowed."""

_NOBODY: Final = Followers()


async def follow(transaction: OrchestratorTransaction, asked: Sequence[Asked]) -> Made:
    """The inputs of sagas that are to be started, each made under the lock of the saga that it follows."""
    earlier = await transaction.sagas_about({each.subject_id for each in asked})
    locked = await transaction.lock_sagas(set(earlier.values()))
    mark = await transaction.low_water_mark()
    made: dict[UUID, Any] = {}
    for definition in {each.definition.name: each.definition for each in asked}.values():
        ours = [each for each in asked if each.definition is definition]
        key, subjects = ours[0].follows.key, {each.subject_id for each in ours}
        found = dict(await transaction.followers(definition.name, key, subjects))
        for each in ours:
            saga_id = earlier.get(each.subject_id)
            others = found.get(each.subject_id, _NOBODY)
            try:
                given = _made(each, _standing(locked, saga_id, mark, each.follows), others)
            except NotFollowed as refused:
                made[each.saga_id] = refused
                continue
            made[each.saga_id] = given
            follower = Follower(each.saga_id, given)
            found[each.subject_id] = Followers((*others.sagas, follower), others.unreadable)
    return made


def _standing(locked: Locked, saga_id: UUID | None, mark: UUID | None, follows: Follows) -> Saga:
    """The saga that is followed. What lies behind the mark is about to be forgotten by all (P7)."""
    if saga_id in locked.unreadable:
        raise NotFollowed("unreadable", "What is stored of it cannot be read; an operator has to look at it.")
    saga = locked.sagas.get(saga_id) if saga_id is not None else None
    if saga is None or saga.definition != follows.definition or (mark is not None and saga.saga_id < mark):
        raise NotFollowed("not_found", "There is nothing of this id that could be followed.")
    return saga


def _made(asked: Asked, saga: Saga, others: Followers) -> Any:
    if others.unreadable:
        detail = (
            f"{others.unreadable} of those that follow it cannot be read; an operator has to look at them."
        )
        raise NotFollowed("unreadable", detail)
    results = {piece.name: _result(piece) for piece in saga.steps if piece.result or piece.item is not None}
    earlier = Earlier(saga.saga_id, saga.subject_id, saga.label, saga.input, results)
    return asked.follows.make(asked.given, earlier, others.sagas)


def _result(piece: StepState) -> Mapping[str, Any]:
    if piece.item is None:
        return piece.result
    return {**piece.result, "item": piece.item, "outcome": piece.forward.value}
