"""Looks at due sagas in small batches that replicas share: re-sends, deadlines, stuck work (S4, S7, S12)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog

from contracts.routing import OUTCOMES_QUEUE
from messaging.transport import BrokerUnavailable, Transport
from messaging.unit_of_work import UnitOfWork
from orchestrator.core import timers
from orchestrator.core.state import Saga
from orchestrator.core.timers import Observed, Resend, Wait
from orchestrator.core.values import replace
from orchestrator.engine import Engine, Happening, Work
from orchestrator.storage import OrchestratorTransaction

log = structlog.get_logger(__name__)

BATCH: Final = 100

SET_ASIDE: Final = timedelta(seconds=60)
"""Until the next look at a saga that could not be worked on."""


class Reconciler:
    """Finds what is due. Emptying every queue of the broker loses no order because of it."""

    def __init__(
        self,
        unit_of_work: UnitOfWork[OrchestratorTransaction],
        engine: Engine,
        transport: Transport,
    ) -> None:
        self._unit_of_work = unit_of_work
        self._engine = engine
        self._transport = transport
        self._outcomes_empty_at: datetime | None = None
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
            self._outcomes_empty_at = before

    async def _look(self, transaction: OrchestratorTransaction) -> int:
        locked = await transaction.lock_due_sagas(BATCH, self._engine.registry.known)
        found = len(locked.sagas) + len(locked.unreadable)
        if not found:
            self._somebody_waits_for_empty = False
            return 0
        copies = {
            saga.sending.message_id: key for key, saga in locked.sagas.items() if saga.sending.message_id
        }
        in_outbox = {copies[found] for found in await transaction.outbox_holds(list(copies))}
        work = self._engine.work_on(locked.sagas, locked.now, locked.unreadable)
        failed = dict(locked.unreadable)
        for saga_id in sorted(locked.sagas):
            try:
                with work.undone_on_failure(saga_id):
                    self._look_at(work, work.sagas[saga_id], in_outbox)
            except Exception as error:
                log.error("a due saga could not be looked at", saga_id=str(saga_id), exc_info=error)
                failed[saga_id] = f"{type(error).__name__} while it was looked at"
        self._set_aside(transaction, failed, work.now)
        self._somebody_waits_for_empty = any(saga.sending.final_at for saga in work.sagas.values())
        self._engine.write(transaction, work)
        return found

    def _set_aside(
        self, transaction: OrchestratorTransaction, failed: Mapping[UUID, str], now: datetime
    ) -> None:
        """What nothing can be made of harms itself alone: all others have their turn before it (S25)."""
        for saga_id, reason in failed.items():
            log.error("a saga stands still: it cannot be worked on", saga_id=str(saga_id), problem=reason)
        self._engine.counts["unreadable"] += len(failed)
        if failed:
            transaction.set_aside(failed, now + SET_ASIDE)

    def _look_at(self, work: Work, saga: Saga, in_outbox: set[UUID]) -> None:
        definition = self._engine.registry.find(saga.definition, saga.definition_version)
        if definition is None:
            return
        observed = Observed(saga.saga_id in in_outbox, self._outcomes_empty_at)
        finding = timers.look(definition, saga, observed, work.now)
        match finding:
            case Wait():
                work.put(timers.waited(definition, saga, finding, work.now))
            case Resend():
                self._engine.resend(work, definition, saga, finding)
            case _:
                self._engine.fold(work, Happening(saga.saga_id, finding))
                self._not_due_before(work, saga)

    def _not_due_before(self, work: Work, looked_at: Saga) -> None:
        """A saga that was due must not stay due: its lazily kept time is brought up to date."""
        saga = work.sagas[looked_at.saga_id]
        definition = self._engine.registry.find(saga.definition, saga.definition_version)
        if definition is not None and saga.due_at is not None and saga.due_at <= work.now:
            work.put(replace(saga, due_at=timers.due_at(definition, saga, work.now)))
