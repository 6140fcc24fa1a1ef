"""How rules are taken away: what stands for a while where the production code stood."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import wraps
from itertools import count
from typing import Any

from contracts.envelope import Direction
from contracts.routing import OUTCOMES_QUEUE
from messaging.unit_of_work import PatientUnitOfWork
from orchestrator.core import machine
from orchestrator.core.course import turn, undo_next
from orchestrator.core.definition import StepKind
from orchestrator.core.effects import Stale
from orchestrator.core.inputs import CommandDeadLettered, OutcomeUnknown, SagaStarted, StepOverdue
from orchestrator.core.state import End, Failure, Forward, Saga, Undo
from orchestrator.core.values import replace as replaced
from orchestrator.intake import Intake
from participants import fence, provider_plan
from participants.fence import Cell, Move, State
from participants.inventory.stock import Shelf
from participants.provider_plan import Plan, Planner
from simulation.patches import Patch
from simulation.storage.database import Session
from simulation.storage.orchestrator import SAGAS, MemoryOrchestratorTransaction
from simulation.storage.participants import STOCK, MemoryInventoryTransaction

FORWARD, COMPENSATING = Direction.FORWARD, Direction.COMPENSATING


def always(value: Any) -> Callable[[Any], Any]:
    """A function that returns the same whatever it is given."""
    return lambda original: lambda *arguments, **named: value


def async_nothing(original: Any) -> Any:
    """Nothing is done, and nothing was there to do."""

    async def nothing(*arguments: Any) -> int:
        return 0

    return nothing


def stopped_by_a_bad_row(original: Any) -> Any:
    """S25: what cannot be read is everybody's trouble."""

    def set_aside(self: Any, transaction: Any, failed: Any, now: Any) -> None:
        if failed:
            raise ValueError("a row cannot be read")

    return set_aside


def read_without_locks(original: Any) -> Any:
    """S11: two may decide on the same saga at once."""

    async def lock_existing(self: Session, table: str, keys: Any) -> Any:
        if table != SAGAS:
            return await original(self, table, keys)
        return {key: self.get(table, key) for key in keys if self.get(table, key) is not None}

    return lock_existing


def written_over(original: Any) -> Any:
    """The guard behind the row lock: whatever is there is written over."""

    def save_sagas(self: MemoryOrchestratorTransaction, changes: Any) -> None:
        async def write() -> None:
            for change in changes:
                await self.session.lock(SAGAS, change.saga.saga_id)
                self.session.put(SAGAS, change.saga.saga_id, change.saga)

        self.write(write)

    return save_sagas


def history_written_over(original: Any) -> Any:
    """The guard behind the version: entries are written over."""

    def add_history(self: MemoryOrchestratorTransaction, entries: Any) -> None:
        async def write() -> None:
            for entry in entries:
                key = (entry.saga_id, entry.version)
                await self.session.lock("history", key)
                self.session.put("history", key, entry)

        self.write(write)

    return add_history


def given_up_at_the_deadline(original: Any) -> Any:
    """S4: neither a further copy nor a grace."""
    return lambda awaited, step, *others: OutcomeUnknown(awaited.step)


def compensation_given_up(original: Any) -> Any:
    """S7: after a few tries a compensation is taken for done."""

    def report_stuck(at: Any) -> Any:
        if not at.saga.awaits(at.happened.step, COMPENSATING):
            return Stale("not awaited")
        return at.accept(*undo_next(at, undone(at.saga, at.happened.step)))

    return report_stuck


def undone(saga: Saga, name: str) -> Saga:
    """The saga as if a compensation had been answered."""
    left = saga.awaited_without(name, COMPENSATING)
    return replaced(saga, steps=saga.steps_with(replaced(saga.step(name), undo=Undo.UNDONE)), awaited=left)


def never_held(original: Any) -> Any:
    """S10: a permanent failure stops nothing."""

    def report_dead_letter(at: Any) -> Any:
        decision = original(at)
        saga = getattr(decision, "saga", None)
        if saga is None:
            return decision
        free = tuple(replaced(each, held=False) for each in saga.awaited)
        return replace(decision, saga=replaced(saga, awaited=free))

    return report_dead_letter


def silent_when_repeated(original: Any) -> Any:
    """P2: what has been answered is not answered again."""

    def start(self: Planner, received: Any, row: Any, now: Any) -> Plan:
        plan: Plan = original(self, received, row, now)
        told = row is not None and row.outcome(received.direction) in plan.answers
        return replace(plan, answers=()) if told else plan

    return start


def nothing_is_buried(original: Any) -> Any:
    """P4: inventory keeps no tombstone; neither does a planner of external work."""

    def bury(self: Any, received: Any, row: Any, ledger_or_now: Any, now: Any = None) -> Any:
        if now is None:
            plan: Plan = original(self, received, row, ledger_or_now)
            return replace(plan, row=None)
        return original(self, received, row, Forgetful(), now)

    return bury


class Forgetful:
    """A ledger that keeps nothing."""

    def put(self, row: Any) -> None:
        """Forget it."""


def fence_with(**moves: Move) -> Patch:
    """The fence with other moves in some cells, named ``state_direction``."""

    def instead(table: Any) -> Any:
        changed = dict(table)
        for name, move in moves.items():
            state, _, direction = name.rpartition("_")
            key = (None if state == "none" else State(state), Direction(direction))
            changed[key] = Cell(move, changed[key].rule, without_outcome=Move.BURY)
        return changed

    return Patch(fence, "TABLE", instead)


_keys = count()


def another_key_each_time(original: Any) -> Any:
    """P6: no two calls have the same key."""
    return lambda *work: f"{original(*work)}:{next(_keys)}"


def not_consumed(original: Any) -> Any:
    """P11: the reservation stands although the stock has left the house."""
    return lambda self, held: None


def sold_whatever_is_there(original: Any) -> Any:
    """P11: nobody looks at what is available."""

    def reserve(self: Shelf, lines: Any) -> Any:
        if any(sku not in self._levels for sku in lines):
            return original(self, lines)
        for sku, quantity in lines.items():
            self._change(sku, reserved=quantity)
        return None

    return reserve


def unchecked_stock(original: Any) -> Any:
    """P11: the CHECK behind the code is gone."""

    def put_stock(self: MemoryInventoryTransaction, sku: str, row: Any) -> None:
        self.session.put(STOCK, sku, row)

    return put_stock


def keys_never_stand(original: Any) -> Any:
    """S14: no claim ever stands in the way."""

    async def claim_keys(self: Any, claims: Any, now: Any, expired_before: Any) -> Any:
        return {}

    return claim_keys


def references_never_stand(original: Any) -> Any:
    """S26: no reference ever stands in the way."""

    async def claim_references(self: Any, claims: Any) -> Any:
        return {}

    return claim_references


def nothing_was_committed(original: Any) -> Any:
    """S17: a repeated unit of work does not look for what its first run committed."""

    async def committed(self: Intake, transaction: Any, submissions: Any) -> Any:
        return set()

    return committed


def forgotten_at_the_pivot(original: Any) -> Any:
    """The look: a pivot past its deadline is given up like any other step."""

    def look(definition: Any, *seen: Any) -> Any:
        finding = original(definition, *seen)
        return OutcomeUnknown(finding.step) if isinstance(finding, StepOverdue) else finding

    return look


def given_up_whatever_it_is(original: Any) -> Any:
    """The rule: any step may be given up, a pivot too."""

    def give_up_waiting(at: Any) -> Any:
        if not at.saga.awaits(at.happened.step, FORWARD):
            return Stale("not awaited")
        step = replaced(at.saga.step(at.happened.step), forward=Forward.UNKNOWN)
        failure = Failure("step_deadline", "", End.REJECTED)
        return at.accept(*turn(at, at.saga, (step,), failure))

    return give_up_waiting


def given_up_after_the_pivot(original: Any) -> Any:
    """S6: a retriable step past its deadline is given up like one that can be undone."""

    def look(definition: Any, *seen: Any) -> Any:
        finding = original(definition, *seen)
        final = isinstance(finding, StepOverdue) and definition[finding.step].kind is StepKind.RETRIABLE
        return OutcomeUnknown(finding.step) if final else finding

    return look


def dead_letters_left_out(original: Any) -> Any:
    """S15: what gave up changes the saga and does not stand in its history."""

    def add_history(self: MemoryOrchestratorTransaction, entries: Any) -> None:
        original(self, [entry for entry in entries if not isinstance(entry.accepted, CommandDeadLettered)])

    return add_history


def promised_and_not_held(original: Any) -> Any:
    """P1: success is answered and the effect is left out."""

    def reserve(self: Shelf, lines: Any) -> Any:
        levels = dict(self._levels)
        shortage = original(self, lines)
        self._levels.update(levels)
        return shortage

    return reserve


def undone_in_order(original: Any) -> Any:
    """S3: the first step is undone first."""

    def undo_next(at: Any, saga: Saga) -> Any:
        backwards = replaced(saga, steps=tuple(reversed(saga.steps)))
        after, effects = original(at, backwards)
        order = {step.name: number for number, step in enumerate(saga.steps)}
        return replaced(after, steps=tuple(sorted(after.steps, key=lambda s: order[s.name]))), effects

    return undo_next


def never_again(original: Any) -> Any:
    """S17: trouble with the database reaches the caller at once."""

    async def run(self: PatientUnitOfWork[Any], work: Any) -> Any:
        return await self._run(work)

    return run


def nobody_is_told(original: Any) -> Any:
    """D2: what the saga is given means nothing to it."""
    return lambda *arguments: SagaStarted()


def any_word_is_proof(original: Any) -> Any:
    """P10: whatever is not a success is proof that nothing happened."""
    return lambda self, question, result, row: not isinstance(result, provider_plan.Took)


def late_success_ignored(original: Any) -> Any:
    """S5: a late success is not recorded."""
    return lambda at: Stale("ignored")


def rule(name: str, instead: Callable[[Any], Any]) -> Patch:
    """A patch of one rule of the transition table."""

    def table(rows: Any) -> Any:
        return {
            key: replace(row, rule=wraps(row.rule)(instead(row.rule))) if row.rule.__name__ == name else row
            for key, row in rows.items()
        }

    return Patch(machine, "TABLE", table)


VERSION_GUARD = (" AND s.version = n.previous_version", "")
"""What the guard of a saga's version is replaced with."""


WRITTEN_OVER = """
ON CONFLICT (saga_id, version) DO UPDATE
SET at = excluded.at, kind = excluded.kind, accepted = excluded.accepted, led_to = excluded.led_to
"""
"""History whose entries are written over."""


def sql_with(*changes: tuple[str, str]) -> Callable[[Any], Any]:
    """A statement in which something stands otherwise."""

    def instead(statement: str) -> str:
        for before, after in changes:
            assert before in statement, f"{before!r} is not in {statement!r}"
            statement = statement.replace(before, after)
        return statement

    return instead


def locked_in_any_order(original: Any) -> Any:
    """S18: rows are locked as chance has it."""
    turns = count()

    async def lock_existing(self: Session, table: str, keys: Any) -> Any:
        listed = list(keys)
        return await original(self, table, reversed(listed) if next(turns) % 2 else listed)

    return lock_existing


def backlog_overlooked(original: Any) -> Any:
    """S4: the queue is taken for empty whatever lies in it."""

    async def look(self: Any) -> None:
        self._emptiness.at = await self._unit_of_work.run(lambda transaction: transaction.now())

    return look


def read_seldom(original: Any) -> Any:
    """No rule is gone: the orchestrator reads its outcomes in the first seconds of every minute alone."""

    def has_room(self: Any) -> bool:
        read = self._subscription.queue != OUTCOMES_QUEUE or self._subscription.now_s % 60 < 5
        return read and bool(original.fget(self))

    return property(has_room)


def any_version_is_the_first(original: Any) -> Any:
    """S13: a definition that is not known here is replaced by the one that is."""
    return lambda self, name, version: original(self, name, version) or original(self, name, 1)


def moved_by_the_person(original: Any) -> Any:
    """S19: a verdict that there was no effect ends the step at once, and nobody asks the participant."""

    def resolve(at: Any) -> Any:
        decision = original(at)
        saga = getattr(decision, "saga", None)
        if saga is None or saga.has_ended or at.happened.verdict != "no_effect":
            return decision
        if not at.saga.awaits(at.happened.step, COMPENSATING):
            return decision
        return at.accept(*undo_next(at, undone(at.saga, at.happened.step)))

    return resolve


def ended_sagas_go_on(original: Any) -> Any:
    """S8: a late success takes an ended saga up again."""

    def late_success(at: Any) -> Any:
        decision = original(at)
        saga = getattr(decision, "saga", None)
        if saga is None or at.saga.ended_at is None:
            return decision
        return replace(decision, saga=replaced(saga, label="paid"))

    return late_success


def dated_by_another_clock(original: Any) -> Any:
    """S11: every other input is dated by a machine whose clock is behind."""
    turns = count()

    def decide(definition: Any, saga: Any, happened: Any, now: Any) -> Any:
        return original(definition, saga, happened, now - timedelta(seconds=45 * (next(turns) % 2)))

    return decide
