"""Stand-in participants: made from saga definitions, for whoever they name that is none of our own.

A stand-in keeps a step ledger by the production fence. Its effects are in its own database, as inventory's
are; what it answers is made from the events that the definition names.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel

from contracts.envelope import Direction
from contracts.events import Effect, OutcomeEvent, StepRefused, StepSettled
from contracts.samples import sample
from messaging.consumer import Consumer, Failed, Hops
from messaging.errors import PermanentFailure, TransientFailure
from messaging.identifiers import NewId
from messaging.installation import Identity
from messaging.transport import Delivery, Message, Subscription
from messaging.unit_of_work import UnitOfWork
from orchestrator.core.definition import BRANCH, SagaDefinition, Step
from participants.commands import Offer, Received, Works
from participants.fence import State
from participants.gate import opened
from participants.ledger import Ledger, LedgerRow, LedgerTransaction, StoredOutcome
from participants.own_effects import OwnEffects
from participants.replies import identity, stored
from participants.retention import advance
from participants.service import ParticipantDeployment, ParticipantService, Storage
from simulation.process import Host
from simulation.weather import Chance, Fault

REJECTS: Final = 0.08
"""The share of pieces of work to which a stand-in says no, where it may."""

LONGEST_S: Final = 6.0
"""How long a slow stand-in takes at most."""


class Outside:
    """What all stand-ins of a world have in common: whom they refuse, and what is wrong with them."""

    def __init__(self, chance: Chance) -> None:
        self.down_until = 0.0
        self.broken: dict[UUID, None] = {}
        """Sagas whose work fails for good until somebody repairs what is wrong."""
        self._chance = chance

    def says_no(self, saga_id: UUID, piece: str) -> bool:
        """Whether a piece of work is refused for a business reason: the same whenever it is asked for."""
        return self._chance.stream(f"answer to {saga_id} {piece}").random() < REJECTS

    def repair(self) -> None:
        """Somebody repairs everything."""
        self.broken.clear()


class Offers:
    """What one participant does, as some definitions have it."""

    def __init__(self, name: str, definitions: Iterable[SagaDefinition]) -> None:
        self.name = name
        self.steps: dict[str, Step] = {
            step.name: step for each in definitions for step in each.steps if step.participant == name
        }
        works: dict[str, Offer] = {}
        for step in self.steps.values():
            work = _work_of(step)
            known = works.get(work.name)
            works[work.name] = work if known is None or known.compensation is None else known
        self.works = Works(works.values())
        self._works = works
        events: list[type[OutcomeEvent]] = [StepRefused, StepSettled]
        for step in self.steps.values():
            events += step.events()
        self.events: Mapping[str, type[OutcomeEvent]] = {event.__name__: event for event in events}

    def step(self, piece: str) -> Step | None:
        """The step of a piece of work; None for one that no definition has."""
        return self.steps.get(BRANCH.sub("", piece))

    def work(self, command: str) -> Offer:
        """The kind of work that a forward command asks for."""
        return self._works[command]


def _work_of(step: Step) -> Offer:
    undo = step.compensation
    return Offer(
        step.command,
        step.success,
        step.rejection,
        None if undo is None else undo.command,
        None if undo is None else undo.outcome,
    )


class StandIn(OwnEffects):
    """Serves batches of commands."""

    def __init__(self, offers: Offers, outside: Outside, host: Host, new_id: NewId) -> None:
        super().__init__(offers.name, offers.works, new_id, offers.events)
        self._offers = offers
        self._outside = outside
        self._host = host

    async def __call__(
        self, transaction: LedgerTransaction, deliveries: Sequence[Delivery]
    ) -> Sequence[Failed]:
        """Serve a batch in order (P1–P5, P7)."""
        decoded = self._offers.works.decode_all(deliveries)
        failures = [*decoded.failures, *await advance(transaction, decoded.advances)]
        received = decoded.received
        if not received:
            return failures
        if self._host.strikes(Fault.PROVIDER_SLOW):
            await asyncio.sleep(self._host.weather.amount(Fault.PROVIDER_SLOW, 0.05, LONGEST_S))
        rows = await transaction.lock({one.saga_id for one in received})
        ledger = Ledger(rows, transaction.low_water_mark)
        now = await transaction.now()
        answers: list[Message] = []
        for one in received:
            try:
                outcome = self._serve(one, ledger, now)
            except (PermanentFailure, TransientFailure) as failure:
                failures.append(Failed(one.delivery, failure))
            else:
                answers.append(self._sender.message(outcome, one, now))
        transaction.save(ledger.changed)
        transaction.send(answers)
        return failures

    def _serve(self, received: Received, ledger: Ledger, now: datetime) -> StoredOutcome:
        told = self._told_by_the_ledger(received, ledger, now)
        if told is not None:
            return told
        self._check_possible(received)
        if received.direction is Direction.FORWARD:
            return self._act(received, ledger, now)
        row = ledger.get(received.saga_id, received.step)
        assert row is not None
        return self._undid(row, self._undone(received, Effect.UNDONE), ledger, now)

    def _check_possible(self, received: Received) -> None:
        """Raises what is wrong with the world just now."""
        if received.saga_id in self._outside.broken:
            raise PermanentFailure("misuse", f"{received.step} cannot be done until somebody repairs it")
        if self._host.loop.time() < self._outside.down_until:
            raise TransientFailure("nobody is there")
        if self._host.strikes(Fault.PROVIDER_UNREACHED, received.saga_id):
            raise TransientFailure("nobody answers")

    def _act(self, received: Received, ledger: Ledger, now: datetime) -> StoredOutcome:
        step = self._offers.step(received.step)
        if step is None:
            raise PermanentFailure("unknown_step", f"{received.step} is none that anybody does here")
        no = step.rejection is not None and self._outside.says_no(received.saga_id, received.step)
        said = step.rejection if no and step.rejection is not None else step.success
        work = self._offers.work(type(received.command).__name__)
        return self._did(received, work, answer(said, received), ledger, now, {})

    def _bury(
        self, received: Received, row: LedgerRow | None, ledger: Ledger, now: datetime
    ) -> StoredOutcome:
        """P4; even that cannot be done while something is wrong with the world."""
        self._check_possible(received)
        work = received.work
        assert work is not None
        row = row or opened(received, work, State.TOMBSTONE, now)
        outcome = self._undone(received, Effect.NOTHING)
        ledger.put(replace(row, state=State.TOMBSTONE, compensation=outcome, updated_at=now))
        return outcome

    def _undone(self, received: Received, effect: Effect) -> StoredOutcome:
        work = received.work
        assert work is not None
        assert work.undone is not None
        return stored(answer(work.undone, received, effect=effect), self._new_id())


def answer(model: type[OutcomeEvent], received: Received, **said: Any) -> OutcomeEvent:
    """A sound event of this kind in answer to a command. Raises NoSample where none can be made up."""
    own = {"reference": f"{received.step} of {str(received.saga_id)[-6:]}"}
    told = {**_plain(model), **identity(received), **said}
    if "reference" in model.model_fields and is_sound(model, {**told, **own}):
        told |= own
    return model.model_validate(told)


@cache
def _plain(model: type[BaseModel]) -> Mapping[str, Any]:
    return sample(model).model_dump(mode="json")


def is_sound(model: type[BaseModel], fields: Mapping[str, Any]) -> bool:
    """Whether these fields make such a document."""
    try:
        model.model_validate(fields)
    except ValueError:
        return False
    return True


def stand_in_service(
    offers: Offers, outside: Outside, host: Host, deployment: ParticipantDeployment, storage: Storage
) -> ParticipantService:
    """A participant that does whatever the definitions ask of it."""

    def worker(
        subscription: Subscription, unit_of_work: UnitOfWork[Any], hops: Hops, identity: Identity
    ) -> Consumer[Any]:
        handler = StandIn(offers, outside, host, deployment.new_id)
        limit, tracing = deployment.pace.batch_limit, deployment.tracing
        return Consumer(subscription, unit_of_work, handler, hops, limit, tracing, identity)

    return ParticipantService(offers.name, deployment, storage, worker)
