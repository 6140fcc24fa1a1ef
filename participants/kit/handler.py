"""Serves a kit participant's commands: the ledger says what may be done, the author's class does it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from contracts.envelope import Direction
from contracts.events import OutcomeEvent, Rejection
from messaging.consumer import Failed
from messaging.errors import PermanentFailure
from messaging.identifiers import NewId
from messaging.transport import Delivery, Message
from participants.commands import Received
from participants.kit.participant import DeclaredStep, Participant
from participants.kit.storage import KitTransaction
from participants.kit.work import Work
from participants.ledger import Ledger, StoredOutcome
from participants.own_effects import OwnEffects
from participants.replies import identity, stored
from participants.retention import advance


class KitHandler(OwnEffects):
    """The handler of any participant that is made with the kit."""

    def __init__(self, participant: Participant, new_id: NewId) -> None:
        super().__init__(participant.name, participant.works, new_id, participant.outcomes)
        self._participant = participant

    async def __call__(self, transaction: KitTransaction, deliveries: Sequence[Delivery]) -> Sequence[Failed]:
        """Serve a batch in order (P1-P5, P7).

        Whatever an effect raises ends the transaction: it may have written something. The batch is run again
        command by command then, so that only the culprit fails.
        """
        decoded = self._works.decode_all(deliveries)
        failures = [*decoded.failures, *await advance(transaction, decoded.advances)]
        if not decoded.received:
            return failures
        rows = await transaction.lock({one.saga_id for one in decoded.received})
        ledger = Ledger(rows, transaction.low_water_mark)
        now = await transaction.now()
        answers: list[Message] = []
        for one in decoded.received:
            try:
                told = self._told_by_the_ledger(one, ledger, now)
            except PermanentFailure as failure:
                failures.append(Failed(one.delivery, failure))
                continue
            outcome = told or await self._at_work(transaction, one, ledger, now)
            answers.append(self._sender.message(outcome, one, now))
        transaction.save(ledger.changed)
        transaction.send(answers)
        return failures

    async def _at_work(
        self, transaction: KitTransaction, received: Received, ledger: Ledger, now: datetime
    ) -> StoredOutcome:
        assert received.work is not None
        step = self._participant.declared(received.work.name)
        work = Work(received.command, now, transaction.execute)
        if received.direction is Direction.FORWARD:
            return await self._do(transaction, step, work, received, ledger)
        return await self._undo(step, work, received, ledger)

    async def _do(
        self,
        transaction: KitTransaction,
        step: DeclaredStep,
        work: Work,
        received: Received,
        ledger: Ledger,
    ) -> StoredOutcome:
        async with transaction.savepoint() as savepoint:
            event = await step.effects.do(work, received.command)
            _check(event, received, step.work.success, step.work.rejection)
            if isinstance(event, Rejection):
                await savepoint.rollback()
        return self._did(received, step.work, event, ledger, work.now, {})

    async def _undo(
        self, step: DeclaredStep, work: Work, received: Received, ledger: Ledger
    ) -> StoredOutcome:
        row = ledger.get(received.saga_id, received.step)
        assert row is not None
        assert row.forward is not None
        done = step.work.success.model_validate_json(row.forward.body)
        event = await step.effects.undo(work, received.command, done)
        _check(event, received, step.work.undone)
        return self._undid(row, stored(event, self._new_id()), ledger, work.now)


def _check(event: object, received: Received, *kinds: type[OutcomeEvent] | None) -> None:
    """Raises PermanentFailure for an answer that nobody awaits: it would never be heard."""
    allowed = [kind for kind in kinds if kind is not None]
    if type(event) not in allowed:
        names = " or ".join(kind.__name__ for kind in allowed)
        raise PermanentFailure("wrong_answer", f"it returned {type(event).__name__}, not {names}")
    own = identity(received)
    if any(getattr(event, name) != value for name, value in own.items()):
        raise PermanentFailure(
            "wrong_answer", f"{type(event).__name__} answers another command: use work.answer"
        )
