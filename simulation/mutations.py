"""Takes one safety rule away at a time and requires the simulation to notice.

Run it with ``python -m simulation.mutations``. Each mutant is the production code with a few functions
exchanged while it runs. Guards that back each other up are taken away together. Where re-sends would heal the
damage, they are switched off, for the mutant and for a control run of the unharmed code, which must not
complain.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from itertools import count
from typing import Any, Final

from contracts.envelope import Direction
from messaging import relay
from messaging.consumer import Consumer
from messaging.unit_of_work import PatientUnitOfWork
from orchestrator.core import machine, rules, timers
from orchestrator.core.course import undo_next
from orchestrator.core.effects import Stale
from orchestrator.core.inputs import OutcomeUnknown, SagaStarted
from orchestrator.core.state import Saga, Undo
from orchestrator.core.values import replace as replaced
from orchestrator.dead_letters import collector
from orchestrator.intake import Intake
from orchestrator.reconciler import Reconciler
from participants import external, fence, questions
from participants.external import Patience, Plan, Planner
from participants.fence import Cell, Move, State
from participants.inventory import handlers
from participants.inventory.stock import Shelf, StockLevel
from simulation.patches import Patch, applied
from simulation.plan import Plan as WorldPlan
from simulation.plan import plan_of
from simulation.run import Run
from simulation.storage.database import Session
from simulation.storage.orchestrator import SAGAS, MemoryOrchestratorTransaction
from simulation.storage.participants import STOCK, MemoryInventoryTransaction
from simulation.storage.transaction import MemoryTransaction
from simulation.weather import Fault

_F, _C = "forward", "compensating"
WITHIN: Final = 300
"""Seeds within which a mutant must be noticed, unless it says otherwise."""

Adjust = Callable[[WorldPlan], WorldPlan]


def _as_it_is(plan: WorldPlan) -> WorldPlan:
    return plan


@dataclass(frozen=True, slots=True)
class Mutation:
    """A rule, and how it is taken away.

    Attributes:
        instead: what the mutant does, in a person's words.
        setting: patches under which mutant and control run alike, such as healing switched off.
        adjust: changes each seed's plan, for mutant and control alike.
        within: seeds within which it must be noticed.
    """

    rule: str
    instead: str
    patches: tuple[Patch, ...]
    setting: tuple[Patch, ...] = ()
    adjust: Adjust = _as_it_is
    within: int = WITHIN


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a mutant fared: after how many seeds which checker noticed it; None where nobody did."""

    mutation: Mutation
    seeds: int | None
    noticed: str = ""


def try_out(mutation: Mutation) -> Verdict:
    """Run seeds until the mutant is noticed."""
    for number in range(mutation.within):
        run = Run(mutation.adjust(plan_of(number)))
        with applied((*mutation.setting, *mutation.patches)):
            run.execute()
        if run.violations:
            return Verdict(mutation, number + 1, run.violations[0].rule)
    return Verdict(mutation, None)


def control(mutation: Mutation, seeds: int) -> str | None:
    """Run the unharmed code in the mutant's setting; what is wrong with it, if anything."""
    for number in range(seeds):
        run = Run(mutation.adjust(plan_of(number)))
        with applied(mutation.setting):
            run.execute()
        if run.violations:
            return f"seed {number}: {run.violations[0]}"
    return None


# -- how rules are taken away ---------------------------------------------------------------------------


def always(value: Any) -> Callable[[Any], Any]:
    """A function that returns the same whatever it is given."""
    return lambda original: lambda *arguments, **named: value


def _async_nothing(original: Any) -> Any:
    async def nothing(*arguments: Any) -> int:
        return 0

    return nothing


def _published_before_the_commit(original: Any) -> Any:
    async def run(self: PatientUnitOfWork[Any], work: Any) -> Any:
        confirmed = self._outbox.take_confirmed()
        async with self._begin() as transaction:
            result = await work(transaction)
            self._outbox.publish(transaction.outgoing)
            await transaction.commit(confirmed)
        return result

    return run


def _acknowledged_before_the_commit(original: Any) -> Any:
    async def serve(self: Consumer[Any], deliveries: Any) -> None:
        self._subscription.acknowledge(deliveries)
        await original(self, deliveries)

    return serve


def _read_without_locks(original: Any) -> Any:
    async def lock_existing(self: Session, table: str, keys: Any) -> Any:
        if table != SAGAS:
            return await original(self, table, keys)
        return {key: self.get(table, key) for key in keys if self.get(table, key) is not None}

    return lock_existing


def _written_over(original: Any) -> Any:
    def save_sagas(self: MemoryOrchestratorTransaction, changes: Any) -> None:
        async def write() -> None:
            for change in changes:
                await self.session.lock(SAGAS, change.saga.saga_id)
                self.session.put(SAGAS, change.saga.saga_id, change.saga)

        self.write(write)

    return save_sagas


def _history_written_over(original: Any) -> Any:
    def add_history(self: MemoryOrchestratorTransaction, entries: Any) -> None:
        async def write() -> None:
            for entry in entries:
                key = (entry.saga_id, entry.version)
                await self.session.lock("history", key)
                self.session.put("history", key, entry)

        self.write(write)

    return add_history


def _given_up_at_the_deadline(original: Any) -> Any:
    return lambda saga, step, observed, now: OutcomeUnknown(step.name)


def _compensation_given_up(original: Any) -> Any:
    def report_stuck(at: Any) -> Any:
        if not at.saga.awaits(at.happened.step, _C):
            return Stale("not awaited")
        step = replaced(at.saga.step(at.happened.step), undo=Undo.UNDONE)
        return at.accept(*undo_next(at, replaced(at.saga, steps=at.saga.steps_with(step))))

    return report_stuck


def _never_held(original: Any) -> Any:
    def report_dead_letter(at: Any) -> Any:
        decision = original(at)
        saga = getattr(decision, "saga", None)
        if saga is None or saga.awaiting is None:
            return decision
        return replace(decision, saga=replaced(saga, awaiting=replaced(saga.awaiting, held=False)))

    return report_dead_letter


def _silent_when_repeated(original: Any) -> Any:
    def start(self: Planner, received: Any, row: Any, now: Any) -> Plan:
        plan: Plan = original(self, received, row, now)
        told = row is not None and row.outcome(received.direction) in plan.answers
        return replace(plan, answers=()) if told else plan

    return start


def _nothing_is_buried(original: Any) -> Any:
    def bury(self: Any, received: Any, row: Any, ledger_or_now: Any, now: Any = None) -> Any:
        if now is None:
            plan: Plan = original(self, received, row, ledger_or_now)
            return replace(plan, row=None)
        return original(self, received, row, _Forgetful(), now)

    return bury


class _Forgetful:
    def put(self, row: Any) -> None:
        """Forget it."""


def _cells(**moves: Move) -> Callable[[Any], Any]:
    """The fence with other moves in some cells, named ``state_direction``."""

    def instead(table: Any) -> Any:
        changed = dict(table)
        for name, move in moves.items():
            state, _, direction = name.rpartition("_")
            key = (None if state == "none" else State(state), Direction(direction))
            changed[key] = Cell(move, changed[key].rule, without_outcome=Move.BURY)
        return changed

    return instead


_keys = count()


def _another_key_each_time(original: Any) -> Any:
    return lambda *work: f"{original(*work)}:{next(_keys)}"


def _not_consumed(original: Any) -> Any:
    def reduce(self: Any, received: Any, command: Any, ledger: Any, shelf: Any, now: Any) -> Any:
        before = ledger.of_saga(command.saga_id)
        outcome = original(self, received, command, ledger, shelf, now)
        for row in before:
            ledger.put(row)
        return outcome

    return reduce


def _sold_whatever_is_there(original: Any) -> Any:
    def reserve(self: Shelf, lines: Any) -> None:
        for sku, quantity in lines.items():
            self._levels.setdefault(sku, StockLevel(0, 0))
            self._change(sku, reserved=quantity)

    return reserve


def _unchecked_stock(original: Any) -> Any:
    def put_stock(self: MemoryInventoryTransaction, sku: str, row: Any) -> None:
        self.session.put(STOCK, sku, row)

    return put_stock


def _keys_never_stand(original: Any) -> Any:
    async def claim_keys(self: Any, claims: Any, now: Any, expired_before: Any) -> Any:
        return {}

    return claim_keys


def _nothing_was_committed(original: Any) -> Any:
    async def committed(self: Intake, transaction: Any, submissions: Any) -> Any:
        return set()

    return committed


def _nothing_in_the_outbox(original: Any) -> Any:
    async def outbox_holds(self: Any, message_ids: Any) -> set[Any]:
        return set()

    return outbox_holds


def _nobody_is_told(original: Any) -> Any:
    return lambda *arguments: SagaStarted()


def _any_word_is_proof(original: Any) -> Any:
    return lambda self, question, result, row: not isinstance(result, external.Took)


def _late_success_ignored(original: Any) -> Any:
    return lambda at: Stale("ignored")


def rule(name: str, instead: Callable[[Any], Any]) -> Patch:
    """A patch of one rule of the transition table."""

    def table(rows: Any) -> Any:
        return {
            key: replace(row, rule=wraps(row.rule)(instead(row.rule))) if row.rule.__name__ == name else row
            for key, row in rows.items()
        }

    return Patch(machine, "TABLE", table)


# -- settings -------------------------------------------------------------------------------------------

NO_RECONCILER: Final = (Patch(Reconciler, "run_once", _async_nothing),)


def _only_crashes_before_commits(plan: WorldPlan) -> WorldPlan:
    """Faults from which redelivery alone recovers; one replica each, so that nobody else has a copy."""
    return replace(
        plan,
        rates={Fault.CRASH_BEFORE_COMMIT: 0.03},
        storms=(),
        garbage=0,
        meddling=0,
        new_version_at_s=None,
        replicas=dict.fromkeys(plan.replicas, 1),
        faults=frozenset({Fault.CRASH_BEFORE_COMMIT}),
    )


def _with(**rates: float) -> Adjust:
    """Every seed has these faults, at these rates, beside its own."""
    more = {Fault[name]: rate for name, rate in rates.items()}

    def adjust(plan: WorldPlan) -> WorldPlan:
        return replace(plan, rates={**plan.rates, **more}, faults=plan.faults | frozenset(more))

    return adjust


# -- the list -------------------------------------------------------------------------------------------

MUTATIONS: Final[Sequence[Mutation]] = (
    Mutation(
        "S1 match",
        "any outcome is taken for the one awaited",
        (Patch(Saga, "awaits", lambda original: lambda self, step, direction: self.awaiting is not None),),
    ),
    Mutation(
        "S2 outbox",
        "messages leave before the commit",
        (Patch(PatientUnitOfWork, "_run", _published_before_the_commit),),
    ),
    Mutation(
        "S2 acknowledge after the commit",
        "messages are acknowledged before it; re-sends are off",
        (Patch(Consumer, "_serve", _acknowledged_before_the_commit),),
        setting=NO_RECONCILER,
        adjust=_only_crashes_before_commits,
    ),
    Mutation(
        "S2 row lock and version guard",
        "sagas are read without locks and written over whatever is there",
        (
            Patch(Session, "lock_existing", _read_without_locks),
            Patch(MemoryOrchestratorTransaction, "save_sagas", _written_over),
            Patch(MemoryOrchestratorTransaction, "add_history", _history_written_over),
        ),
    ),
    Mutation(
        "S4 grace",
        "a step is given up at its deadline",
        (Patch(timers, "_look_past_deadline", _given_up_at_the_deadline),),
    ),
    Mutation(
        "S4 copy in the outbox",
        "a command is sent again while its last copy has not left",
        (Patch(MemoryTransaction, "outbox_holds", _nothing_in_the_outbox),),
    ),
    Mutation(
        "S5 late success",
        "a late success is ignored",
        (rule("late_success", _late_success_ignored),),
        adjust=_with(VOID_LIES=1.0, EFFECT_LATE=0.4),
    ),
    Mutation(
        "S7 compensation never fails silently",
        "a compensation without an answer is taken for done",
        (rule("report_stuck", _compensation_given_up),),
    ),
    Mutation(
        "S9 no cancel after the pivot",
        "a cancel is always honoured",
        (Patch(rules, "cancellable", always(value=True)),),
    ),
    Mutation(
        "S10 permanent failures hold",
        "re-sends and deadline go on",
        (rule("report_dead_letter", _never_held),),
    ),
    Mutation("S12 reconciler", "nobody looks at due sagas", NO_RECONCILER),
    Mutation(
        "S14 idempotency keys",
        "a key never stands in the way",
        (Patch(MemoryOrchestratorTransaction, "claim_keys", _keys_never_stand),),
    ),
    Mutation(
        "S17 ambiguous commits",
        "a repeated submission does not look for what was committed",
        (Patch(Intake, "_committed", _nothing_was_committed),),
    ),
    Mutation(
        "P2 repeated commands are answered",
        "a provider's participant keeps silent when asked again",
        (Patch(Planner, "start", _silent_when_repeated),),
    ),
    Mutation(
        "P2 done once",
        "a repeated command is done again",
        (Patch(fence, "TABLE", _cells(done_forward=Move.ACT, consumed_forward=Move.ACT)),),
    ),
    Mutation(
        "P4 tombstone",
        "a compensation without an effect leaves no trace",
        (
            Patch(handlers.InventoryHandler, "_bury", _nothing_is_buried),
            Patch(Planner, "_bury", _nothing_is_buried),
        ),
    ),
    Mutation(
        "P5 refusal",
        "a forward command after its compensation takes effect",
        (
            Patch(
                fence,
                "TABLE",
                _cells(tombstone_forward=Move.ACT, undone_forward=Move.ACT, undoing_forward=Move.ACT_AGAIN),
            ),
        ),
    ),
    Mutation(
        "P6 idempotency key",
        "every call has a key of its own",
        (Patch(questions, "idempotency_key", _another_key_each_time),),
    ),
    Mutation(
        "P6 settle before undo",
        "a compensation that finds an intent buries it",
        (Patch(fence, "TABLE", _cells(intent_compensating=Move.BURY, undoing_compensating=Move.BURY)),),
    ),
    Mutation(
        "P6 old keys are looked up",
        "an old intent is called blind",
        (Patch(Patience, "key_is_old", always(value=False)),),
    ),
    Mutation(
        "P10 proof",
        "not found is taken for proof at once",
        (Patch(Planner, "proves_nothing_happened", _any_word_is_proof),),
    ),
    Mutation(
        "P11 consumed",
        "a reduced reservation is kept",
        (Patch(handlers.InventoryHandler, "_reduce", _not_consumed),),
    ),
    Mutation(
        "stock code and CHECK",
        "whatever is asked for is reserved",
        (
            Patch(Shelf, "reserve", _sold_whatever_is_there),
            Patch(StockLevel, "__post_init__", always(value=None)),
            Patch(MemoryInventoryTransaction, "put_stock", _unchecked_stock),
        ),
    ),
    Mutation(
        "D2 dead letters tell their saga",
        "they are recorded and nobody is told",
        (Patch(collector, "CommandDeadLettered", _nobody_is_told),),
    ),
    Mutation(
        "D3 dead letters end with their work",
        "they stay open",
        (Patch(MemoryOrchestratorTransaction, "resolve_dead_letters", always(value=None)),),
    ),
    Mutation(
        "M2 relay",
        "what was left in the outbox stays there",
        (Patch(relay.Relay, "run_once", _async_nothing),),
    ),
)


def table(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """One line a mutant."""
    yield f"{'rule taken away':36} {'noticed after':>13}  {'of':>4}  by"
    for verdict in verdicts:
        after = "never" if verdict.seeds is None else f"{verdict.seeds} seeds"
        yield f"{verdict.mutation.rule:36} {after:>13}  {verdict.mutation.within:>4}  {verdict.noticed}"


def main() -> int:
    """Try every mutant; 0 when all were noticed and no control run complained."""
    gc.collect()
    gc.freeze()
    verdicts = []
    for mutation in MUTATIONS:
        verdicts.append(try_out(mutation))
        sys.stdout.write(list(table(verdicts))[-1] + "\n")
        sys.stdout.flush()
    missed = sum(verdict.seeds is None for verdict in verdicts)
    sys.stdout.write(f"{len(verdicts) - missed} of {len(verdicts)} mutants noticed\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
