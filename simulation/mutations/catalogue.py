"""Every rule that is taken away, and how."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from messaging import batches, compose, consumer, relay, retries, unit_of_work
from messaging.consumer import Consumer
from messaging.installation import Identity
from messaging.outbox import Outbox
from messaging.parts import InHand
from messaging.unit_of_work import PatientUnitOfWork
from orchestrator import intake
from orchestrator.core import course, machine, rules, timers
from orchestrator.core.registry import Registry
from orchestrator.core.state import Saga
from orchestrator.dead_letters import collector, replay
from orchestrator.intake import Intake
from orchestrator.reconciler import Reconciler
from participants import own_effects, provider_decisions, provider_work, replies
from participants.fence import Move
from participants.inventory.stock import Shelf, StockLevel
from participants.kit.work import Work
from participants.provider_plan import Patience, Planner
from simulation.mutations import (
    message_mutants,
    mutants,
    settings,
)
from simulation.mutations.life_catalogue import OF_AN_ORDERS_LIFE
from simulation.mutations.sql_catalogue import OF_THE_SQL
from simulation.mutations.stage_catalogue import STAGE_MUTATIONS
from simulation.mutations.trial import Mutation
from simulation.patches import Patch
from simulation.storage.database import Session
from simulation.storage.orchestrator import MemoryOrchestratorTransaction
from simulation.storage.participants import MemoryInventoryTransaction
from simulation.storage.transaction import MemoryTransaction

OF_ORDERS: Final[Sequence[Mutation]] = (
    Mutation(
        "S1 match",
        "any outcome is taken for the one awaited",
        (
            Patch(Saga, "awaits", lambda original: lambda self, step, direction: bool(self.awaited)),
            Patch(Saga, "awaited_without", lambda original: lambda self, step, direction: self.awaited[1:]),
        ),
    ),
    Mutation(
        "S2 outbox",
        "messages leave before the commit",
        (Patch(PatientUnitOfWork, "_run", message_mutants.published_before_the_commit),),
    ),
    Mutation(
        "S2 acknowledge after the commit",
        "messages are acknowledged before it; re-sends are off",
        (Patch(Consumer, "_serve", message_mutants.acknowledged_before_the_commit),),
        setting=settings.NO_RECONCILER,
        adjust=settings.only_crashes_before_commits,
    ),
    Mutation(
        "S2 row lock and version guard",
        "sagas are read without locks and written over whatever is there",
        (
            Patch(Session, "lock_existing", mutants.read_without_locks),
            Patch(MemoryOrchestratorTransaction, "save_sagas", mutants.written_over),
            Patch(MemoryOrchestratorTransaction, "add_history", mutants.history_written_over),
        ),
        known=1,
    ),
    Mutation(
        "S3 reverse order",
        "what was done first is undone first",
        (
            Patch(rules, "undo_next", mutants.undone_in_order),
            Patch(course, "undo_next", mutants.undone_in_order),
        ),
        known=2,
    ),
    Mutation(
        "S4 a pivot is never given up",
        "it is, past its deadline",
        (
            Patch(timers, "look", mutants.forgotten_at_the_pivot),
            mutants.rule("give_up_waiting", mutants.given_up_whatever_it_is),
        ),
    ),
    Mutation(
        "S4 grace",
        "a step is given up at its deadline",
        (Patch(timers, "_look_past_deadline", mutants.given_up_at_the_deadline),),
        known=1,
    ),
    Mutation(
        "S4 copy in the outbox",
        "a command is sent again while its last copy has not left",
        (Patch(MemoryTransaction, "outbox_holds", message_mutants.nothing_in_the_outbox),),
        known=1,
    ),
    Mutation(
        "S5 late success",
        "a late success is ignored",
        (mutants.rule("late_success", mutants.late_success_ignored),),
        adjust=settings.with_lies_told_in_time,
    ),
    Mutation(
        "S7 compensation never fails silently",
        "a compensation without an answer is taken for done",
        (mutants.rule("report_stuck", mutants.compensation_given_up),),
        known=14,
    ),
    Mutation(
        "S9 no cancel after the pivot",
        "a cancel is always honoured",
        (Patch(rules, "cancellable", mutants.always(value=True)),),
        known=5,
    ),
    Mutation(
        "S10 permanent failures hold",
        "re-sends and deadline go on",
        (mutants.rule("report_dead_letter", mutants.never_held),),
    ),
    Mutation(
        "S25 a bad row harms itself",
        "one that cannot be read stops the batch of due sagas",
        (Patch(Reconciler, "_set_aside", mutants.stopped_by_a_bad_row),),
        adjust=settings.with_spoilt_rows,
    ),
    Mutation("S12 reconciler", "nobody looks at due sagas", settings.NO_RECONCILER),
    Mutation(
        "S14 idempotency keys",
        "a key never stands in the way",
        (Patch(MemoryOrchestratorTransaction, "claim_keys", mutants.keys_never_stand),),
    ),
    Mutation(
        "S14 another order under the key",
        "whatever comes under a key is the same order",
        (Patch(intake, "fingerprint", mutants.always(b"")),),
    ),
    Mutation(
        "S17 patience with the database",
        "a unit of work is run once",
        (Patch(PatientUnitOfWork, "run", mutants.never_again),),
    ),
    Mutation(
        "S17 ambiguous commits",
        "a repeated submission does not look for what was committed",
        (Patch(Intake, "_committed", mutants.nothing_was_committed),),
        known=4,
    ),
    Mutation(
        "S17 commits that are under way",
        "whoever meets a row of its own id does not look again",
        (Patch(unit_of_work, "is_collision", mutants.always(0)),),
        adjust=settings.with_rates(COMMIT_LATE=0.2),
        known=2,
    ),
    Mutation(
        "P2 repeated commands are answered",
        "a provider's participant keeps silent when asked again",
        (Patch(Planner, "start", mutants.silent_when_repeated),),
        adjust=settings.with_rates(MESSAGE_FORGOTTEN=0.1),
    ),
    Mutation(
        "P2 done once",
        "a repeated command is done again",
        (mutants.fence_with(done_forward=Move.ACT, consumed_forward=Move.ACT),),
        known=1,
    ),
    Mutation(
        "P3 undo",
        "a compensation says that there was nothing to undo",
        (mutants.fence_with(done_compensating=Move.BURY),),
    ),
    Mutation(
        "P4 tombstone",
        "a compensation without an effect leaves no trace",
        (
            Patch(own_effects.OwnEffects, "_bury", mutants.nothing_is_buried),
            Patch(Planner, "_bury", mutants.nothing_is_buried),
        ),
        known=1,
    ),
    Mutation(
        "P5 refusal",
        "a forward command after its compensation takes effect",
        (
            mutants.fence_with(
                tombstone_forward=Move.ACT, undone_forward=Move.ACT, undoing_forward=Move.ACT_AGAIN
            ),
        ),
        known=1,
    ),
    Mutation(
        "P6 idempotency key",
        "every call has a key of its own",
        (Patch(provider_work, "idempotency_key", mutants.another_key_each_time),),
    ),
    Mutation(
        "P6 settle before undo",
        "a compensation that finds an intent buries it",
        (mutants.fence_with(intent_compensating=Move.BURY, undoing_compensating=Move.BURY),),
        known=14,
    ),
    Mutation(
        "P6 old keys are looked up",
        "an old intent is called blind",
        (Patch(Patience, "key_is_old", mutants.always(value=False)),),
        adjust=settings.with_a_long_outage,
        known=33,
    ),
    Mutation(
        "P10 proof",
        "not found is taken for proof at once",
        (Patch(Planner, "proves_nothing_happened", mutants.any_word_is_proof),),
        adjust=settings.with_hasty_people,
        known=11,
    ),
    Mutation(
        "P7 behind the mark",
        "a command without a row is new work, however old its saga is",
        (
            Patch(own_effects, "check_not_expired", mutants.always(value=None)),
            Patch(provider_decisions, "check_not_expired", mutants.always(value=None)),
        ),
        adjust=settings.with_days_that_go_by,
    ),
    Mutation(
        "P11 consumed",
        "a reduced reservation is kept",
        (Patch(Work, "consume", mutants.not_consumed),),
    ),
    Mutation(
        "P11 stock code and CHECK",
        "whatever is asked for is reserved",
        (
            Patch(Shelf, "reserve", mutants.sold_whatever_is_there),
            Patch(StockLevel, "__post_init__", mutants.always(value=None)),
            Patch(MemoryInventoryTransaction, "put_stock", mutants.unchecked_stock),
        ),
        known=1,
    ),
    Mutation(
        "D2 dead letters tell their saga",
        "they are recorded and nobody is told",
        (Patch(collector, "CommandDeadLettered", mutants.nobody_is_told),),
    ),
    Mutation(
        "D3 dead letters end with their work",
        "they stay open",
        (Patch(MemoryOrchestratorTransaction, "resolve_dead_letters", mutants.always(value=None)),),
    ),
    Mutation(
        "M4 another installation",
        "its messages are taken for our own",
        (Patch(Identity, "foreign_sender", mutants.always(value=None)),),
        adjust=settings.with_strangers,
    ),
    Mutation(
        "M5 all of its parts",
        "the broker hears of a batch when one of its parts is done",
        (Patch(InHand, "done", message_mutants.done_with_its_first_part),),
        adjust=settings.with_orders_at_once,
    ),
    Mutation(
        "M5 parts fail by themselves",
        "a part that cannot be read takes its neighbours with it",
        (Patch(batches, "unpacked", message_mutants.lost_with_its_neighbour),),
        adjust=settings.with_orders_at_once,
        known=1,
    ),
    Mutation(
        "M2 relay",
        "what was left in the outbox stays there",
        (Patch(relay.Relay, "run_once", mutants.async_nothing),),
        known=1,
    ),
    Mutation(
        "M2 refused rows are released",
        "they wait for the end of their leases",
        (Patch(Outbox, "take_unaccepted", mutants.always(value=[])),),
        adjust=settings.only_full_queues,
        within=40,
        known=1,
    ),
    Mutation(
        "S4 our own backlog",
        "the outcome queue is taken for empty whatever lies in it",
        (Patch(Reconciler, "_look_at_outcome_queue", mutants.backlog_overlooked),),
        setting=settings.SELDOM_READ,
    ),
    Mutation(
        "S8 an end is final",
        "a late success changes the status of an ended order",
        (mutants.rule("late_success", mutants.ended_sagas_go_on),),
        adjust=settings.with_lies_told_in_time,
    ),
    Mutation(
        "S11 one clock",
        "every other input is dated by a clock that is behind",
        (Patch(machine, "decide", mutants.dated_by_another_clock),),
    ),
    Mutation(
        "S13 unknown version",
        "a replica takes the version that it knows for the one it does not",
        (Patch(Registry, "find", mutants.any_version_is_the_first),),
        adjust=settings.with_a_slow_deployment,
        known=22,
    ),
    Mutation(
        "S18 lock order",
        "rows are locked in any order",
        (Patch(Session, "lock_existing", mutants.locked_in_any_order),),
        known=1,
    ),
    Mutation(
        "S19 the participant answers",
        "a verdict ends the step before the participant has answered",
        (mutants.rule("resolve", mutants.moved_by_the_person),),
        adjust=settings.with_people_at_once,
        known=7,
    ),
    Mutation(
        "S6 only forward",
        "a step after the pivot is given up past its deadline",
        (
            Patch(timers, "look", mutants.given_up_after_the_pivot),
            mutants.rule("give_up_waiting", mutants.given_up_whatever_it_is),
        ),
        known=6,
    ),
    Mutation(
        "S15 history",
        "what gave up is left out of it",
        (Patch(MemoryOrchestratorTransaction, "add_history", mutants.dead_letters_left_out),),
    ),
    Mutation(
        "S16 poison",
        "what cannot be understood is tried again for ever",
        (Patch(consumer, "after_failure", message_mutants.poison_goes_round),),
    ),
    Mutation(
        "P1 effect and answer",
        "the answer is given and the effect left out",
        (Patch(Shelf, "reserve", mutants.promised_and_not_held),),
    ),
    Mutation(
        "P8 rejection",
        "a rejection is a failure of the message",
        (Patch(Shelf, "reserve", message_mutants.rejection_as_failure),),
        known=1,
    ),
    Mutation(
        "P9 attempts",
        "a command that an open breaker keeps from its provider uses up an attempt",
        (Patch(consumer, "postpone", message_mutants.attempts_burnt),),
        known=8,
    ),
    Mutation(
        "M3 event id",
        "each copy of an event has an id of its own",
        tuple(
            Patch(module, "stored_event_message", message_mutants.named_anew_each_time)
            for module in (compose, replies)
        ),
        known=1,
    ),
    Mutation(
        "D1 story",
        "a dead letter does not say why it died",
        (Patch(retries, "_failure_headers", message_mutants.without_its_story),),
    ),
    Mutation(
        "D4 replay",
        "a dead command is sent as it was, whatever its saga awaits",
        (Patch(replay.DeadLetterOperations, "_plan", message_mutants.sent_as_it_was),),
        known=104,
    ),
    Mutation(
        "D6 audit log",
        "actions leave no entry",
        (Patch(MemoryOrchestratorTransaction, "add_audit", mutants.always(value=None)),),
    ),
)

MUTATIONS: Final[Sequence[Mutation]] = (*OF_ORDERS, *OF_AN_ORDERS_LIFE, *OF_THE_SQL, *STAGE_MUTATIONS)
"""All of them."""
