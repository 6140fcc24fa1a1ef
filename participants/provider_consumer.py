"""Serves the commands of a participant with a provider: intents by the batch, calls side by side (P6, P9).

    deliveries ─► flow ──► one transaction: known answers, intents ─► calls ─┐
        ▲ (again: what waited for a call)                                      │
        └───────────── one transaction: answers, by compare-and-set ◄──────────┘

A delivery is acknowledged when its answer, or its hop to another queue, is committed. For one piece of
work there is one call under way in a process; what else arrives for it meanwhile waits for its end.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

import structlog

from contracts.events import OutcomeEvent
from messaging.background import finished
from messaging.batching import Arrivals
from messaging.consumer import Failed, Hops, sorted_out
from messaging.errors import TransientFailure
from messaging.installation import Identity
from messaging.measures import MESSAGES, SECONDS, Distribution
from messaging.tracing import UNTRACED, Tracing
from messaging.transport import Delivery, Subscription
from messaging.unit_of_work import UnitOfWork
from participants.breaker import Admission, BreakerState, CallResult, CircuitBreaker
from participants.commands import Decoded, Received, Works
from participants.flow import Flow
from participants.ledger import Key, Ledger, LedgerRow, LedgerTransaction
from participants.provider_batch import Batch, Call, OwnSteps
from participants.provider_decisions import Decisions
from participants.provider_plan import Ask, Finding, Plan, Question
from participants.provider_terms import ProviderUnavailable, judge
from participants.provider_work import ProviderWork, put
from participants.replies import Sender
from participants.retention import advance

log = structlog.get_logger(__name__)

RESULTS_AT_ONCE: Final = 200


class ProviderConsumer:
    """Takes the commands of one participant to its provider and the answers back."""

    def __init__(
        self,
        subscription: Subscription,
        unit_of_work: UnitOfWork[LedgerTransaction],
        works: Works,
        providers: Sequence[ProviderWork],
        own: OwnSteps,
        outcomes: Mapping[str, type[OutcomeEvent]],
        breaker: CircuitBreaker,
        hops: Hops,
        clock: Callable[[], float],
        concurrency: int = 64,
        longest_call_s: float = 30.0,
        tracing: Tracing = UNTRACED,
        identity: Identity | None = None,
    ) -> None:
        """
        Args:
            works: all that the participant does.
            providers: those of them that are done by its provider.
            own: does the others.
            outcomes: the events that it answers with, by type.
            identity: what is another installation's is not served (M4); None serves everybody.
            clock: monotonic, in seconds.
            concurrency: most calls under way at once.
            longest_call_s: seconds within which every call has ended, its quick retries included.
        """
        self.calls: Counter[tuple[Ask, CallResult]] = Counter()
        """How many questions ended how, since the start."""
        self.call_seconds: dict[Ask, Distribution] = {}
        """How long questions took until they ended."""
        self.batches = Distribution(MESSAGES)
        """Sizes of the batches since the start."""
        self._tracing = tracing
        self._identity = identity or Identity()
        self._subscription = subscription
        self._unit_of_work = unit_of_work
        self._own = own
        self._breaker = breaker
        self._hops = hops
        self._clock = clock
        self._works = works
        self._providers = {each.work.name: each for each in providers}
        self._decisions = Decisions(providers, hops.new_id, longest_call_s)
        self._sender = Sender(hops.app_id, hops.new_id, outcomes)
        self._under_way: dict[Key, Call] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._results: Arrivals[tuple[Call, Finding | Exception]] = Arrivals()
        self._released = asyncio.Event()
        self._refusal: Exception | None = None
        self._longest_call_s = longest_call_s
        self._flow = Flow(subscription, breaker, clock, lambda: len(self._under_way), concurrency)

    @property
    def breaker_state(self) -> BreakerState:
        """Where the circuit breaker stands."""
        return self._breaker.state(self._clock())

    @property
    def under_way(self) -> int:
        """How many calls have been begun and not yet answered."""
        return len(self._under_way)

    async def run_once(self) -> int:
        """Wait for commands, serve one batch; returns its size. Calls go on after it."""
        deliveries = await self._flow.next_batch()
        self.batches.add(len(deliveries))
        self._tracing.began(deliveries)
        await finished(self._take(deliveries))
        self._complain()
        return len(deliveries)

    async def answer_once(self) -> int:
        """Wait for answers, write and send those that have come; returns how many."""
        results = await self._results.take(RESULTS_AT_ONCE)
        await finished(self._answer(results))
        self._complain()
        return len(results)

    async def stop(self, within_s: float) -> None:
        """Let the calls under way end and be answered; what takes longer is cut off.

        `run_once` must have been stopped before, `answer_once` after it.
        """
        await self._flow.close()
        try:
            async with asyncio.timeout(within_s):
                while self._under_way:
                    self._released.clear()
                    await self._released.wait()
        except TimeoutError:
            log.warning("calls cut off while stopping", calls=len(self._under_way))
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    # -- commands -----------------------------------------------------------------------------------------

    async def _take(self, deliveries: Sequence[Delivery]) -> None:
        ours, foreign = sorted_out(self._identity, deliveries)
        decoded = self._works.decode_all(ours)
        failures = (*foreign, *decoded.failures)
        await self._serve(replace(decoded, received=self._turn(decoded.received), failures=failures))

    def _turn(self, received: Sequence[Received]) -> list[Received]:
        """One command for each piece of work; the others wait for the call, or for the next batch."""
        turn: dict[Key, Received] = {}
        again: list[Delivery] = []
        for one in received:
            key = (one.saga_id, one.step)
            if key in self._under_way:
                self._under_way[key].waiting.append(one)
            elif key in turn:
                again.append(one.delivery)
            else:
                turn[key] = one
        if again:
            self._flow.hold_back(again)
        return list(turn.values())

    async def _serve(self, decoded: Decoded) -> None:
        """One transaction for all; if that fails, one for each (S2)."""
        admissions: dict[Key, Admission | None] = {}
        try:
            batch = await self._unit_of_work.run(
                lambda transaction: self._begin(transaction, decoded, admissions)
            )
        except Exception as error:
            self._give_back(admissions, ())
            await self._serve_singly(decoded, error)
            return
        self._give_back(admissions, batch.calls)
        self._done_with(batch.done)
        self._start_calls(batch, admissions)

    async def _serve_singly(self, decoded: Decoded, error: Exception) -> None:
        if len(decoded) > 1:
            for one in decoded.singly():
                await self._serve(one)
        elif decoded.failures:
            # Not even its failure could be committed; let go, it would be nobody's while the channel lives.
            self._flow.hold_back([failed.delivery for failed in decoded.failures])
            self._refusal = error
        else:
            await self._serve(decoded.failed(error))

    def _complain(self) -> None:
        """Raise why something had to be held back, so that the loop pauses before it is tried again."""
        refusal, self._refusal = self._refusal, None
        if refusal is not None:
            raise refusal

    async def _begin(
        self,
        transaction: LedgerTransaction,
        decoded: Decoded,
        admissions: dict[Key, Admission | None],
    ) -> Batch:
        """Answer what the ledger knows, write intents for what may be called at once (P6)."""
        batch = Batch(self._clock(), failures=list(decoded.failures))
        await self._advance(transaction, decoded, batch)
        received = decoded.received
        rows = await transaction.lock({one.saga_id for one in received}) if received else ()
        ledger = Ledger(rows, transaction.low_water_mark)
        now = await transaction.now()
        own: list[Received] = []
        for one in received:
            row = ledger.get(one.saga_id, one.step)
            if self._decisions.are_about(one, row):
                earlier = ledger.of_saga(one.saga_id)
                plan = self._decisions.start(one, row, ledger.low_water_mark, now, earlier)
                self._carry_out(transaction, batch, one, row, plan, admissions, now)
            else:
                own.append(one)
        if own:
            await self._serve_own(transaction, batch, own, ledger, now)
        await self._close(transaction, batch)
        return batch

    async def _serve_own(
        self,
        transaction: LedgerTransaction,
        batch: Batch,
        own: Sequence[Received],
        ledger: Ledger,
        now: datetime,
    ) -> None:
        """What needs no call is done in the same transaction."""
        served = await self._own.serve(transaction, own, ledger, now)
        transaction.send(served.answers)
        batch.rows.extend(ledger.changed)
        batch.failures.extend(served.failures)
        failed = [each.delivery for each in served.failures]
        batch.done.extend(one.delivery for one in own if one.delivery not in failed)

    async def _advance(self, transaction: LedgerTransaction, decoded: Decoded, batch: Batch) -> None:
        """Take the marks of the batch (P7)."""
        refused = await advance(transaction, decoded.advances)
        batch.failures.extend(refused)
        not_done = [failed.delivery for failed in refused]
        batch.done.extend(one.delivery for one in decoded.advances if one.delivery not in not_done)

    # -- answers ------------------------------------------------------------------------------------------

    async def _answer(self, results: Sequence[tuple[Call, Finding | Exception]]) -> None:
        """One transaction for all; if that fails, one for each (S2)."""
        admissions: dict[Key, Admission | None] = {}
        try:
            batch = await self._unit_of_work.run(
                lambda transaction: self._end(transaction, results, admissions)
            )
        except Exception as error:
            self._give_back(admissions, ())
            await self._answer_singly(results, error)
            return
        self._give_back(admissions, batch.calls)
        self._done_with(batch.done)
        going_on = {(one.saga_id, one.step) for one, _ in batch.calls}
        for call, _ in results:
            if call.question.row.key not in going_on:
                self._release(call)
        self._start_calls(batch, admissions)

    async def _answer_singly(
        self, results: Sequence[tuple[Call, Finding | Exception]], error: Exception
    ) -> None:
        if len(results) > 1:
            for result in results:
                await self._answer([result])
            return
        [(call, _)] = results
        self._release(call)
        failed = Failed(call.received.delivery, error, call.question.row.noted)
        await self._serve(Decoded(failures=(failed,)))

    async def _end(
        self,
        transaction: LedgerTransaction,
        results: Sequence[tuple[Call, Finding | Exception]],
        admissions: dict[Key, Admission | None],
    ) -> Batch:
        """Write what the provider said, compared and set on the rows as they stand now (P6)."""
        batch = Batch(self._clock())
        ledger = Ledger(await transaction.lock({call.received.saga_id for call, _ in results}))
        now = await transaction.now()
        for call, result in results:
            one, row = call.received, ledger.get(call.received.saga_id, call.received.step)
            plan = self._decisions.finish(one, call.question, result, row, now)
            if plan.failure is not None and _probed_in_vain(call, result):
                batch.postponed.append(one.delivery)
            else:
                self._carry_out(transaction, batch, one, row, plan, admissions, now)
        await self._close(transaction, batch)
        return batch

    # -- plans --------------------------------------------------------------------------------------------

    def _carry_out(
        self,
        transaction: LedgerTransaction,
        batch: Batch,
        received: Received,
        row: LedgerRow | None,
        plan: Plan,
        admissions: dict[Key, Admission | None],
        now: datetime,
    ) -> None:
        """Enter one plan into the batch and the transaction."""
        if plan.answers:
            transaction.send([self._sender.message(answer, received, now) for answer in plan.answers])
        to_save = plan.row
        if plan.failure is not None:
            about = None if row is None else row.noted
            batch.failures.append(Failed(received.delivery, plan.failure, about))
        elif plan.ask is None:
            batch.done.append(received.delivery)
        elif self._admitted((received.saga_id, received.step), admissions):
            asked = plan.row or row
            assert asked is not None
            batch.calls.append((received, Question(plan.ask, asked, now)))
        else:
            to_save = plan.unasked
            batch.postponed.append(received.delivery)
        if to_save is not None:
            batch.rows.append(to_save)

    async def _close(self, transaction: LedgerTransaction, batch: Batch) -> None:
        transaction.save(sorted(batch.rows, key=lambda row: row.key))
        for failed in batch.failures:
            self._tracing.failed(failed.delivery, failed.error)
        await self._hops.after_failures(transaction, batch.failures)
        await self._hops.postpone(transaction, batch.postponed)
        batch.done.extend(failed.delivery for failed in batch.failures)
        batch.done.extend(batch.postponed)

    def _admitted(self, key: Key, admissions: dict[Key, Admission | None]) -> bool:
        """Whether the breaker lets this be called now; asked once, however often the transaction is run."""
        if key not in admissions:
            admissions[key] = self._breaker.admit(self._clock())
        return admissions[key] is not None

    def _give_back(
        self, admissions: dict[Key, Admission | None], calls: Sequence[tuple[Received, Question]]
    ) -> None:
        """Leave for calls that will not be made after all."""
        needed = {(received.saga_id, received.step) for received, _ in calls}
        for key, admission in admissions.items():
            if admission is not None and key not in needed:
                self._breaker.record(admission, CallResult.ABANDONED, self._clock())

    # -- calls --------------------------------------------------------------------------------------------

    def _start_calls(self, batch: Batch, admissions: dict[Key, Admission | None]) -> None:
        for received, question in batch.calls:
            key = question.row.key
            admission = admissions[key]
            assert admission is not None
            before = self._under_way.get(key)
            begin_by = batch.began + self._longest_call_s
            call = Call(received, question, admission, begin_by, before.waiting if before else [])
            self._under_way[key] = call
            task = asyncio.create_task(self._perform(call))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _perform(self, call: Call) -> None:
        """Ask the provider; whatever comes of it goes to `answer_once`."""
        result: Finding | Exception
        verdict, began = CallResult.ABANDONED, self._clock()
        try:
            with self._tracing.within(call.received.traceparent):
                result = await self._ask(call)
            verdict = judge(None)
        except Exception as error:
            verdict = judge(error)
            result = error
        finally:
            ended = self._clock()
            self._breaker.record(call.admission, verdict, ended)
            self._count(call.question.ask, verdict, ended - began)
            self._flow.wake()
        self._results.add((call, result))

    def _count(self, ask: Ask, verdict: CallResult, seconds: float) -> None:
        self.calls[ask, verdict] += 1
        taken = self.call_seconds.get(ask)
        if taken is None:
            taken = self.call_seconds[ask] = Distribution(SECONDS)
        taken.add(seconds)

    async def _ask(self, call: Call) -> Finding:
        if self._clock() > call.begin_by:
            raise TransientFailure("held up for too long between intent and call")
        try:
            async with asyncio.timeout(self._longest_call_s):
                row = call.question.row
                return await put(self._providers[row.command], call.question.ask, row)
        except TimeoutError:
            raise ProviderUnavailable(f"no answer within {self._longest_call_s:g} s") from None

    def _release(self, call: Call) -> None:
        """The work is free again: its copies are served with it, whatever else waited takes its turn."""
        del self._under_way[call.question.row.key]
        self._released.set()
        copies = [one.delivery for one in call.waiting if one.command == call.received.command]
        others = [one.delivery for one in call.waiting if one.command != call.received.command]
        self._done_with(copies)
        self._flow.hold_back(others)

    def _done_with(self, deliveries: Sequence[Delivery]) -> None:
        self._subscription.acknowledge(deliveries)
        self._tracing.ended(deliveries)


def _probed_in_vain(call: Call, result: Finding | Exception) -> bool:
    """Whether a probe found the provider still down: its command hops on, no attempt burnt (P9).

    However long the outage, the same few commands must not be probed to death.
    """
    failed = isinstance(result, Exception) and judge(result) is CallResult.FAILED
    return call.admission.probe and failed
