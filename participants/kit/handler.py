"""Serves the commands whose effects are in a participant's own database: the ledger says what may be done,
the author's classes do it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

from contracts.envelope import Direction
from contracts.events import OutcomeEvent
from messaging.consumer import Failed
from messaging.errors import PermanentFailure
from messaging.identifiers import NewId
from messaging.transport import Delivery
from participants.commands import Received
from participants.kit.participant import Bench, DeclaredStep, Participant
from participants.kit.storage import KitTransaction
from participants.kit.work import Work
from participants.ledger import Ledger, StoredOutcome
from participants.own_effects import OwnEffects
from participants.provider_batch import Served
from participants.replies import stored
from participants.retention import advance


class WrongAnswer(PermanentFailure):
    """An effect returned what nobody awaits. What it has done by then must not stand."""


@dataclass(slots=True)
class _Batch:
    """The commands of one transaction, and what they decide upon."""

    transaction: KitTransaction
    works: Sequence[Work]
    benches: dict[type[Bench], Bench] = field(default_factory=dict)
    _asked: dict[type[Bench], list[Work]] = field(default_factory=dict)

    async def open(self, steps: Sequence[DeclaredStep | None]) -> None:
        """Open the benches that the commands need, each once for all of them."""
        for step, work in zip(steps, self.works, strict=True):
            if step is not None and step.bench is not None:
                self._asked.setdefault(step.bench, []).append(work)
        for kind, works in self._asked.items():
            self.benches[kind] = await kind.opened(self.transaction, works)

    async def save(self) -> None:
        """Write what has changed on the benches."""
        for kind, bench in self.benches.items():
            await bench.save(self.transaction, self._asked[kind])


class KitHandler(OwnEffects):
    """The handler of every participant."""

    def __init__(self, participant: Participant, new_id: NewId) -> None:
        super().__init__(participant.name, participant.works, new_id, participant.outcomes)
        self._participant = participant

    async def __call__(self, transaction: KitTransaction, deliveries: Sequence[Delivery]) -> Sequence[Failed]:
        """Serve a batch in order (P1-P5, P7, P11)."""
        decoded = self._works.decode_all(deliveries)
        failures = [*decoded.failures, *await advance(transaction, decoded.advances)]
        if not decoded.received:
            return failures
        rows = await transaction.lock({one.saga_id for one in decoded.received})
        ledger = Ledger(rows, transaction.low_water_mark)
        served = await self.serve(transaction, decoded.received, ledger, await transaction.now())
        transaction.save(ledger.changed)
        transaction.send(served.answers)
        return [*failures, *served.failures]

    async def serve(
        self, transaction: KitTransaction, received: Sequence[Received], ledger: Ledger, now: datetime
    ) -> Served:
        """Serve commands in order; those of one saga see each other's effects.

        Whatever an effect raises ends the transaction, for it may have written something: the batch is run
        again command by command, so that only the culprit fails. On a bench a `PermanentFailure` changes
        nothing and is its command's alone.
        """
        steps = [None if one.work is None else self._participant.declared(one.work.name) for one in received]
        batch = _Batch(transaction, [Work(one.command, now, transaction, ledger) for one in received])
        await batch.open(steps)
        served = Served()
        for one, step, work in zip(received, steps, batch.works, strict=True):
            try:
                outcome = self._told_by_the_ledger(one, ledger, now)
                if outcome is None and step is not None and step.bench is not None:
                    outcome = await self._at_work(step, one, work, ledger, (batch.benches[step.bench],))
            except WrongAnswer:
                raise
            except PermanentFailure as failure:
                served.failures.append(Failed(one.delivery, failure))
                continue
            if outcome is None:
                assert step is not None
                outcome = await self._alone(transaction, step, one, work, ledger)
            served.answers.append(self._sender.message(outcome, one, now))
        await batch.save()
        return served

    async def _alone(
        self,
        transaction: KitTransaction,
        step: DeclaredStep,
        received: Received,
        work: Work,
        ledger: Ledger,
    ) -> StoredOutcome:
        """P8: behind a savepoint, so that nothing stands of what a rejection wrote."""
        if received.direction is Direction.COMPENSATING or step.work.rejection is None:
            return await self._at_work(step, received, work, ledger)
        async with transaction.savepoint() as savepoint:
            outcome = await self._at_work(step, received, work, ledger)
            if outcome.type == step.work.rejection.__name__:
                await savepoint.rollback()
        return outcome

    async def _at_work(
        self,
        step: DeclaredStep,
        received: Received,
        work: Work,
        ledger: Ledger,
        bench: tuple[Bench, ...] = (),
    ) -> StoredOutcome:
        """P1, P3: what its author says, checked and entered into the ledger."""
        command = received.command
        if received.direction is Direction.FORWARD:
            event = await step.effects.do(*bench, work, command)
            _check(event, received, step.work.success, step.work.rejection)
            return self._did(received, step.work, event, ledger, work.now, work.notes)
        row = ledger.get(received.saga_id, received.step)
        assert row is not None
        assert row.forward is not None
        done = step.work.success.model_validate_json(row.forward.body)
        event = await step.effects.undo(*bench, work, command, done)
        _check(event, received, step.work.undone)
        return self._undid(row, stored(event, self._new_id()), ledger, work.now)


def _check(event: object, received: Received, *kinds: type[OutcomeEvent] | None) -> None:
    """Raises PermanentFailure for an answer that nobody awaits: it would never be heard."""
    if type(event) not in kinds:
        names = " or ".join(kind.__name__ for kind in kinds if kind is not None)
        raise WrongAnswer("wrong_answer", f"it returned {type(event).__name__}, not {names}")
    command, answered = received.command, cast(OutcomeEvent, event)
    saga = answered.saga_id is command.saga_id or answered.saga_id == command.saga_id
    subject = answered.order_id is command.order_id or answered.order_id == command.order_id
    if not (saga and subject and (answered.step, answered.direction) == (command.step, command.direction)):
        raise WrongAnswer("wrong_answer", f"{type(event).__name__} answers another command: use work.answer")
