"""Looks at due sagas in small batches that replicas share: re-sends, deadlines, stuck work (S4, S7, S12)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID

import structlog

from contracts.routing import OUTCOMES_QUEUE
from messaging.transport import BrokerUnavailable, Transport
from messaging.unit_of_work import UnitOfWork
from orchestrator.core import timers
from orchestrator.core.state import Saga
from orchestrator.core.timers import Observed, Resend, StayAsItIs
from orchestrator.core.values import replace
from orchestrator.engine import SET_ASIDE, Engine, Happening, LockedSagas
from orchestrator.storage import OrchestratorTransaction

log = structlog.get_logger(__name__)

BATCH: Final = 100


class Hands(Protocol):
    """Whoever takes outcomes from the queue in this process, see `messaging.consumer.Consumer`."""

    @property
    def turns(self) -> int:
        """Batches that have been served."""

    @property
    def turns_needed(self) -> int:
        """Batches until all that has arrived by now is served; 0 where nothing has."""


class _Emptiness:
    """When our backlog was last empty: in the queue, and then in the hands of this process.

    What the broker has handed out is not in its queue any more, and an answer only once it is served. What
    another replica has in hand cannot be seen from here.
    """

    def __init__(self, hands: Hands) -> None:
        self.at: datetime | None = None
        self._hands = hands
        self._next: tuple[datetime, int] | None = None
        """When the queue was empty, and the turn after which all that had been taken from it is served."""

    def queue_was_empty(self, moment: datetime) -> None:
        """The queue has been seen empty, at this moment or later."""
        turns, needed = self._hands.turns, self._hands.turns_needed
        if not needed:
            self.at, self._next = moment, None
            return
        if self._next is not None and turns >= self._next[1]:
            self.at, self._next = self._next[0], None
        self._next = self._next or (moment, turns + needed)


class Reconciler:
    """Finds what is due. Emptying every queue of the broker loses no order because of it."""

    def __init__(
        self,
        unit_of_work: UnitOfWork[OrchestratorTransaction],
        engine: Engine,
        transport: Transport,
        hands: Hands,
    ) -> None:
        self._unit_of_work = unit_of_work
        self._engine = engine
        self._transport = transport
        self._emptiness = _Emptiness(hands)
        self._somebody_waits_for_empty = False

    async def run_once(self) -> int:
        """Look at one batch of due sagas; returns how many there were."""
        if self._somebody_waits_for_empty:
            await self._look_at_outcome_queue()
        return await self._unit_of_work.run(self._look)

    async def _look_at_outcome_queue(self) -> None:
        """Remember a moment at which our backlog was empty; read first, so it is never too late."""
        before = await self._unit_of_work.run(lambda transaction: transaction.now())
        try:
            depth = await self._transport.depth(OUTCOMES_QUEUE)
        except BrokerUnavailable:
            return
        if depth.ready == 0:
            self._emptiness.queue_was_empty(before)

    async def _look(self, transaction: OrchestratorTransaction) -> int:
        locked = await transaction.lock_due_sagas(BATCH, self._engine.registry.known)
        found = len(locked.sagas) + len(locked.unreadable)
        if not found:
            self._somebody_waits_for_empty = False
            return 0
        copies = [
            awaited.sending.message_id
            for saga in locked.sagas.values()
            for awaited in saga.awaited
            if awaited.sending.message_id
        ]
        observed = Observed(await transaction.outbox_holds(copies), self._emptiness.at)
        work = self._engine.work_on(locked.sagas, locked.now, locked.unreadable)
        failed = dict(locked.unreadable)
        self._engine.counts["unreadable"] += len(failed)
        for saga_id in sorted(locked.sagas):
            try:
                with work.undone_on_failure(saga_id):
                    self._look_at(work, work.sagas[saga_id], observed)
            except Exception as error:
                self._engine.counts["unreadable"] += 1
                log.error("a due saga could not be looked at", saga_id=str(saga_id), exc_info=error)
                failed[saga_id] = f"{type(error).__name__} while it was looked at"
        self._somebody_waits_for_empty = any(
            awaited.sending.final_at for saga in work.sagas.values() for awaited in saga.awaited
        )
        self._engine.write(transaction, work)
        self._set_aside(transaction, {**work.undecided, **failed}, work.now)
        return found

    def _set_aside(
        self, transaction: OrchestratorTransaction, failed: Mapping[UUID, str], now: datetime
    ) -> None:
        """What nothing can be made of harms itself alone: all others have their turn before it (S25)."""
        for saga_id, reason in failed.items():
            log.error("a saga stands still: it cannot be worked on", saga_id=str(saga_id), problem=reason)
        if failed:
            transaction.set_aside(failed, now + SET_ASIDE)

    def _look_at(self, work: LockedSagas, saga: Saga, observed: Observed) -> None:
        """Look at each piece that the saga awaits; what one look leads to, the next one sees (S20)."""
        definition = self._engine.registry.find(saga.definition, saga.definition_version)
        if definition is None:
            return
        for seen in saga.awaited:
            now_is = work.sagas[saga.saga_id]
            awaited = now_is.waiting_for(seen.step, seen.direction)
            if awaited is None:
                continue
            finding = timers.look(definition, now_is, awaited, observed, work.now)
            match finding:
                case StayAsItIs():
                    work.put(timers.stayed(now_is, awaited, finding, work.now))
                case Resend():
                    self._engine.resend(work, definition, now_is, awaited, finding)
                case _:
                    self._engine.fold(work, Happening(saga.saga_id, finding))
        looked_at = work.sagas[saga.saga_id]
        work.put(replace(looked_at, due_at=timers.due_at(definition, looked_at, work.now)))
