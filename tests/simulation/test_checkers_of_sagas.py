"""Each checker of sagas and messages objects to a trace that breaks its rule, and to nothing before."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from contracts.envelope import Direction
from contracts.routing import OUTCOMES_QUEUE
from messaging.compose import stored_event_message
from messaging.identifiers import first_id_at
from messaging.relay import LEASE_S
from messaging.transport import Message
from orchestrator.core import machine
from orchestrator.core.effects import Transition
from orchestrator.core.inputs import (
    Actor,
    CancelRequested,
    OutcomeReceived,
    OutcomeUnknown,
    RetryRequested,
    SagaStarted,
)
from orchestrator.core.state import Awaited, Incident, IncidentKind, Saga, Sending, Status
from orchestrator.sagas.order_fulfillment import OrderStatus
from orchestrator.storage import DeadLetterStatus
from participants.fence import State
from simulation.cast import old_definition
from simulation.checkers import messages, patience, retention, sagas, strangers, submissions
from simulation.checkers.messages import AFTERMATH_S, AGAIN_WITHIN_S
from simulation.facts import (
    Acknowledged,
    Aged,
    Arrived,
    Blundered,
    Charged,
    Deadlocked,
    Decided,
    Delivered,
    HandedOut,
    NamedBefore,
    Published,
    Refused,
    Struck,
    Submitted,
)
from simulation.servers import BEGINNING
from simulation.storage.database import Change
from simulation.storage.transaction import INSTALLATION, OutboxRow
from simulation.strangers import ITS_WORDS
from simulation.weather import Fault
from tests.simulation.bad_traces import (
    ORDER,
    ORDER_ID,
    SAGA_ID,
    STARTED,
    Trace,
    command,
    dead_letter,
    delivery_of,
    entry,
    gone,
    outgoing,
)

ENDED = replace(
    STARTED,
    status=Status.COMPENSATED,
    label=OrderStatus.REJECTED,
    ended_at=BEGINNING,
    awaited=(),
    version=2,
)
RESERVED = OutcomeReceived("InventoryReservedEvent", "reserve", Direction.FORWARD)
YOUNG_ID = first_id_at(BEGINNING)
CANCELLED = CancelRequested(Actor("customer", "why"))
PATIENCE = old_definition()["reserve"].policy


def sent(attempts: int) -> tuple[Awaited, ...]:
    """What a saga that has begun awaits, after so many copies."""
    [awaited] = STARTED.awaited
    return (replace(awaited, sending=Sending(attempts=attempts)),)


def begun(checker: type) -> Trace:
    trace = Trace(checker)
    trace.begins()
    return trace


def test_an_ended_saga_that_goes_on() -> None:
    trace = begun(sagas.TerminalIsTerminal)
    assert trace.commits("orchestrator", trace.saga(ENDED)) == []
    risen = replace(ENDED, label=OrderStatus.COMPLETED, status=Status.COMPLETED)
    assert trace.commits("orchestrator", trace.saga(risen)) == ["it had ended as rejected, now completed"]
    waiting = replace(risen, awaited=(Awaited("ship", Direction.FORWARD, BEGINNING),))
    assert trace.commits("orchestrator", trace.saga(waiting)) == ["it has ended and awaits something"]


def test_a_change_without_an_entry_and_an_entry_without_a_change() -> None:
    trace = begun(sagas.HistoryIsWhole)
    paid = replace(STARTED, label=OrderStatus.PAID)
    assert trace.commits("orchestrator", trace.saga(paid)) == ["its state changes without an entry"]
    assert trace.commits("orchestrator", entry(RESERVED, 2)) == ["entries [2] without a change of the saga"]
    later = trace.saga(replace(paid, version=3))
    assert trace.commits("orchestrator", later, entry(RESERVED, 3)) == ["version 1 becomes 3, entries [3]"]


def test_timers_are_no_state() -> None:
    trace = begun(sagas.HistoryIsWhole)
    resent = replace(STARTED, awaited=sent(2), attempts={"reserve": 2}, due_at=BEGINNING)
    assert trace.commits("orchestrator", trace.saga(resent)) == []


def test_a_history_that_does_not_lead_to_the_row() -> None:
    trace = begun(sagas.HistoryIsWhole)
    decided = machine.decide(old_definition(), STARTED, RESERVED, BEGINNING)
    assert isinstance(decided, Transition)
    paid = replace(decided.saga, label=OrderStatus.PAID)
    trace.commits("orchestrator", trace.saga(paid), entry(RESERVED, 2))
    [objection] = trace.at_the_end()
    assert objection.startswith("its history leads to")


def test_a_history_that_cannot_be_replayed() -> None:
    trace = begun(sagas.HistoryIsWhole)
    trace.commits("orchestrator", trace.saga(replace(STARTED, version=2)), entry(SagaStarted(), 2))
    [objection] = trace.at_the_end()
    assert objection.startswith("its history cannot be replayed")


def test_charged_before_it_is_reserved() -> None:
    trace = begun(sagas.AsksInOrder)
    assert trace.commits("orchestrator", outgoing(command("ChargePayment"))) == [
        "ChargePayment is sent while ReserveInventory is None"
    ]
    trace.reserves()
    assert trace.commits("orchestrator", outgoing(command("ChargePayment"))) == []
    assert trace.commits("orchestrator", outgoing(command("ShipOrder"))) == [
        "ShipOrder is sent while ChargePayment is None"
    ]


def test_sent_again_while_the_last_copy_is_in_the_outbox() -> None:
    trace = begun(patience.ResentOnlyAfterLeaving)
    first, second, third = (command("ReserveInventory") for _ in range(3))
    assert trace.commits("orchestrator", outgoing(first)) == []
    assert trace.commits("orchestrator", gone(first), outgoing(second)) == []
    assert trace.commits("orchestrator", outgoing(third)) == [
        "ReserveInventory is sent again before it has left"
    ]


def test_a_person_may_have_it_sent_again_at_any_time() -> None:
    trace = begun(patience.ResentOnlyAfterLeaving)
    trace.commits("orchestrator", outgoing(command("ReserveInventory")))
    asked = entry(RetryRequested(Actor("ann", "why")), 2)
    assert trace.commits("orchestrator", asked, outgoing(command("ReserveInventory"))) == []


def given_up(trace: Trace, at_s: float) -> list[str]:
    at = BEGINNING + timedelta(seconds=at_s)
    return trace.commits("orchestrator", entry(OutcomeUnknown("reserve"), 2, at=at))


def test_given_up_without_a_copy_past_the_deadline() -> None:
    trace = begun(patience.GivesUpPatiently)
    first = command("ReserveInventory", at_s=PATIENCE.deadline_s - 1)
    trace.commits("orchestrator", outgoing(first))
    trace.commits("orchestrator", gone(first))
    assert given_up(trace, PATIENCE.deadline_s + PATIENCE.grace_s) == [
        "reserve is given up without one more copy past its deadline"
    ]


def test_given_up_without_a_grace_while_the_copy_is_still_here() -> None:
    trace = begun(patience.GivesUpPatiently)
    trace.commits("orchestrator", outgoing(command("ReserveInventory", at_s=PATIENCE.deadline_s + 1)))
    assert given_up(trace, PATIENCE.deadline_s + PATIENCE.grace_s) == [
        "reserve is given up without a grace",
        "reserve is given up while its last copy has not left",
    ]


def held() -> Saga:
    incident = Incident(IncidentKind.DEAD_LETTER, "reserve", Direction.FORWARD, BEGINNING, "")
    return replace(STARTED, version=2, incidents=(incident,))


def test_a_dead_letter_of_which_the_saga_has_not_heard() -> None:
    trace = begun(patience.DeadLettersStopTheClock)
    assert trace.commits("orchestrator", trace.dead(dead_letter())) == [
        "ReserveInventory is dead and its saga has not been told"
    ]


def test_time_goes_on_although_a_command_failed_for_good() -> None:
    trace = begun(patience.DeadLettersStopTheClock)
    assert trace.commits("orchestrator", trace.dead(dead_letter()), trace.saga(held())) == []
    resent = replace(held(), awaited=sent(1))
    assert trace.commits("orchestrator", trace.saga(resent)) == [
        "another copy although ReserveInventory has failed for good"
    ]
    assert trace.commits("orchestrator", entry(OutcomeUnknown("reserve"), 3)) == [
        "OutcomeUnknown although ReserveInventory has failed for good"
    ]


def test_cancelled_after_the_shipment_was_asked_for() -> None:
    trace = begun(sagas.CancelledInTime)
    assert trace.commits("orchestrator", entry(CANCELLED, 2)) == []
    trace.commits("orchestrator", outgoing(command("ShipOrder")))
    assert trace.commits("orchestrator", entry(CANCELLED, 3)) == [
        "it is cancelled although its pivot has been asked for"
    ]


def test_a_dead_letter_left_open() -> None:
    trace = begun(sagas.DeadLettersFollowTheSaga)
    assert trace.commits("orchestrator", trace.dead(dead_letter())) == []
    assert trace.commits("orchestrator", trace.dead(dead_letter(number=6))) == [
        "reserve (forward) has two open dead letters"
    ]
    closed = dead_letter(number=6, status=DeadLetterStatus.RESOLVED)
    assert trace.commits("orchestrator", trace.dead(closed)) == []
    assert trace.commits("orchestrator", trace.saga(ENDED)) == [
        "a dead letter of reserve (forward) is left open"
    ]


def test_an_incident_left_open() -> None:
    trace = begun(sagas.IncidentsAreAboutSomething)
    assert trace.commits("orchestrator", trace.saga(held())) == []
    elsewhere = replace(held(), awaited=(Awaited("charge", Direction.FORWARD, BEGINNING),))
    assert trace.commits("orchestrator", trace.saga(elsewhere)) == ["dead_letter about reserve is left open"]
    ended = replace(ENDED, incidents=held().incidents)
    assert trace.commits("orchestrator", trace.saga(ended)) == ["dead_letter about reserve is left open"]


def test_an_orphan_outlives_the_end() -> None:
    trace = begun(sagas.IncidentsAreAboutSomething)
    orphan = Incident(IncidentKind.ORPHANED_EFFECT, "charge", Direction.COMPENSATING, BEGINNING, "")
    assert trace.commits("orchestrator", trace.saga(replace(ENDED, incidents=(orphan,)))) == []


# -- messages -------------------------------------------------------------------------------------------


def told(event_id: int, body: bytes = b"{}", name: str = "InventoryReservedEvent") -> Message:
    return stored_event_message(
        name,
        "inventory.reserved",
        body,
        SAGA_ID,
        command("ReserveInventory").message_id,
        ORDER_ID.__class__(int=event_id),
        BEGINNING,
        "inventory",
        mandatory=True,
    )


def test_a_message_that_was_never_committed() -> None:
    trace = begun(messages.SentFromTheOutbox)
    letter = command("ReserveInventory")
    assert trace.see(Published("orchestrator", letter)) == [
        "ReserveInventory leaves without having been committed"
    ]
    trace.commits("orchestrator", outgoing(letter))
    assert trace.see(Published("orchestrator", letter)) == []


def test_a_transition_whose_command_is_not_in_the_outbox() -> None:
    trace = begun(messages.SentFromTheOutbox)
    letter = command("ChargePayment")
    assert trace.commits("orchestrator", entry(RESERVED, 2, letter), outgoing(letter)) == []
    assert trace.commits("orchestrator", entry(RESERVED, 3, command("ShipOrder"))) == [
        "ShipOrder is not in the outbox with its cause"
    ]


def test_acknowledged_without_an_answer() -> None:
    trace = begun(messages.AnswersBeforeAcknowledging)
    delivery = delivery_of(command("ReserveInventory"), "inventory.commands")
    trace.see(Delivered("inventory-0.1", delivery))
    assert trace.see(Acknowledged("inventory-0.1", delivery)) == [
        "ReserveInventory is acknowledged without an answer"
    ]
    trace.commits("inventory", outgoing(told(7)))
    assert trace.see(Acknowledged("inventory-0.1", delivery)) == []


def test_an_outcome_told_in_two_ways() -> None:
    trace = begun(messages.SaysTheSameAgain)
    assert trace.commits("inventory", outgoing(told(7))) == []
    assert trace.commits("inventory", outgoing(told(7))) == []
    assert trace.commits("inventory", outgoing(told(8))) == ["InventoryReservedEvent is told in two ways"]
    assert trace.commits("inventory", outgoing(told(7, b"[]"))) == [
        "InventoryReservedEvent is told in two ways"
    ]


def test_two_orders_for_one_key() -> None:
    trace = begun(submissions.OneOrderForAKey)
    first = Submitted("c", "key", b"order", ORDER_ID)
    assert trace.see(first) == trace.see(first) == []
    assert trace.see(Submitted("c", "key", b"order", SAGA_ID)) == [
        f"key ('c', 'key') stands for {ORDER_ID} as well"
    ]
    assert trace.see(Submitted("c", "key", b"other", ORDER_ID)) == [
        f"key ('c', 'key') stands for {ORDER_ID} as well"
    ]
    assert trace.see(Submitted("c", "key", b"other", None)) == []
    assert trace.see(Submitted("c", "key", b"order", None)) == ["the same order again was refused"]


def test_two_sagas_for_one_order() -> None:
    trace = begun(submissions.OneOrderForAKey)
    second = Trace(submissions.OneOrderForAKey).saga(replace(STARTED, saga_id=ORDER_ID))
    who = ORDER.shipping_address.name
    assert trace.commits("orchestrator", second) == [f"the order of {who} has a second saga"]


def test_a_failure_that_nobody_foresaw() -> None:
    trace = begun(messages.FailsOnlyInKnownWays)
    assert trace.see(Decided("P8 retry hop", "ProviderUnavailable", SAGA_ID, "forward")) == []
    assert trace.see(Decided("P8 retry hop", "KeyError", SAGA_ID, "forward")) == [
        "a message fails with KeyError"
    ]
    bare = dead_letter(error_type="uncollectable", error_message="could not be collected")
    assert trace.commits("orchestrator", trace.dead(bare)) == ["a dead letter could not be collected"]


def test_a_command_of_another_installation_that_is_done() -> None:
    trace = begun(strangers.StrangersAreRefused)
    sent = command("ReserveInventory")
    ours = replace(sent, headers={**sent.headers, "installation": str(INSTALLATION)})
    theirs = replace(sent, headers={**sent.headers, "installation": "another"})
    assert trace.see(HandedOut("inventory.commands", ours)) == []
    assert trace.commits("inventory", trace.row("inventory", "ReserveInventory", State.DONE)) == []
    assert trace.see(HandedOut("inventory.commands", theirs)) == []
    assert trace.commits("inventory", trace.row("inventory", "ReserveInventory", State.UNDONE)) == [
        "ReserveInventory is done for another installation"
    ]


def test_an_outcome_of_another_installation_that_is_believed() -> None:
    trace = begun(strangers.StrangersAreRefused)
    said = OutcomeReceived("InventoryRejectedEvent", "reserve", Direction.FORWARD, {"code": ITS_WORDS})
    assert trace.commits("orchestrator", entry(said, 2)) == ["its saga believes another installation"]


def test_an_error_that_nobody_promised() -> None:
    trace = begun(messages.PeopleAreToldProperly)
    assert trace.see(Blundered("KeyError: 'x'")) == ["they are shown KeyError: 'x'"]


def test_the_ledger_of_a_reservation_is_read_by_its_command() -> None:
    trace = begun(sagas.AsksInOrder)
    trace.commits("inventory", trace.row("inventory", "ReserveInventory", State.REJECTED, details={}))
    assert trace.commits("orchestrator", outgoing(command("ChargePayment"))) == [
        "ChargePayment is sent while ReserveInventory is rejected"
    ]


def test_a_circle_of_waiting() -> None:
    trace = begun(messages.LocksAreTakenInOrder)
    assert trace.see(Deadlocked("orchestrator")) == ["transactions have waited for each other in a circle"]


def test_a_row_claimed_while_its_lease_runs() -> None:
    trace = begun(messages.LeasesAreKept)
    letter = command("ReserveInventory")
    mine, later = OutboxRow(letter, BEGINNING + timedelta(seconds=10)), timedelta(seconds=LEASE_S)

    def claimed_at(seconds: float) -> list[str]:
        until = BEGINNING + timedelta(seconds=seconds) + later
        after = replace(mine, claimed_until=until, attempts=1)
        return trace.commits("orchestrator", Change("outbox", letter.message_id, mine, after))

    assert claimed_at(9) == ["claimed while it is leased for 1 s more"]
    assert claimed_at(10) == []


def test_a_refused_message_that_waits_although_its_queue_is_free_again() -> None:
    trace = begun(messages.RefusedGoesAgainSoon)
    mine, another, elsewhere = (
        command(each) for each in ("ReserveInventory", "ReserveInventory", "ShipOrder")
    )
    elsewhere = replace(elsewhere, routing_key="shipping")

    def looked_at(after_s: float) -> list[str]:
        trace.at_s += after_s
        return trace.commits("orchestrator")

    assert trace.see(Refused(mine)) == []
    assert looked_at(AGAIN_WITHIN_S - 2) == []
    trace.see(Refused(replace(another, message_id=SAGA_ID)))
    assert looked_at(AGAIN_WITHIN_S - 2) == [], "the queue is still full"
    trace.see(Struck(Fault.CRASH, "orchestrator"))
    assert looked_at(AFTERMATH_S) == []
    assert looked_at(AGAIN_WITHIN_S) == ["ReserveInventory waits although its queue is free again"] * 2

    trace.see(Refused(elsewhere))
    trace.see(Published("orchestrator", elsewhere))
    assert looked_at(1000) == []


def test_a_time_that_goes_back() -> None:
    trace = begun(sagas.TimeNeverGoesBack)
    later = BEGINNING + timedelta(seconds=2)
    assert trace.commits("orchestrator", entry(RESERVED, 2, at=later)) == []
    [objection] = trace.commits("orchestrator", entry(RESERVED, 3, at=later - timedelta(seconds=1)))
    assert objection.startswith("entry 3 is of")


def waiting_answer(trace: Trace, after_s: float) -> Message:
    """The answer to a reservation lies in the orchestrator's queue, so long after the last copy."""
    answer = told(7, b'{"step": "reserve", "direction": "forward"}')
    trace.commits("orchestrator", outgoing(command("ReserveInventory", at_s=PATIENCE.deadline_s)))
    trace.at_s += after_s
    trace.see(Arrived(answer))
    trace.at_s += PATIENCE.grace_s
    return answer


def test_given_up_while_the_answer_waits_in_the_queue() -> None:
    trace = begun(patience.ReadsItsBacklog)
    waiting_answer(trace, 0.0)
    assert given_up(trace, PATIENCE.deadline_s + 60) == [
        "reserve is given up while InventoryReservedEvent waits in the queue"
    ]


def test_given_up_when_the_answer_came_too_late_or_was_purged_or_is_in_hand() -> None:
    for what in (None, Struck(Fault.QUEUE_PURGED, "broker"), Struck(Fault.CLOCK_JUMPED, "database")):
        trace = begun(patience.ReadsItsBacklog)
        waiting_answer(trace, PATIENCE.grace_s + 5 if what is None else 0.0)
        if what is not None:
            trace.see(what)
        assert given_up(trace, PATIENCE.deadline_s + 60) == []
    trace = begun(patience.ReadsItsBacklog)
    answer = waiting_answer(trace, 0.0)
    trace.see(HandedOut(OUTCOMES_QUEUE, answer))
    assert given_up(trace, PATIENCE.deadline_s + 60) == []


# -- what is let go of ------------------------------------------------------------------------------------


def test_pruned_while_its_saga_runs_or_is_young() -> None:
    trace = begun(retention.PrunesWhatIsAtRest)
    trace.see(Aged(timedelta(days=9)))
    running = replace(STARTED, saga_id=YOUNG_ID)
    row = replace(trace.row("inventory", "ReserveInventory", State.REJECTED).after, saga_id=YOUNG_ID)
    gone_row = Change("ledger", row.key, row, None)
    trace.commits("orchestrator", Change("sagas", YOUNG_ID, None, running))
    assert trace.commits("inventory", gone_row) == ["ReserveInventory is pruned while its saga is running"]
    ended = replace(ENDED, saga_id=YOUNG_ID)
    trace.commits("orchestrator", Change("sagas", YOUNG_ID, running, ended))
    assert trace.commits("inventory", gone_row) == []

    trace = begun(retention.PrunesWhatIsAtRest)
    trace.commits("orchestrator", Change("sagas", YOUNG_ID, None, ended))
    assert trace.commits("inventory", gone_row) == ["ReserveInventory is pruned although its saga is young"]


def test_something_comes_of_what_was_pruned() -> None:
    trace = begun(retention.NothingComesOfTheForgotten)
    row = trace.row("payment", "ChargePayment", State.REJECTED).after
    assert trace.commits("payment", Change("ledger", row.key, row, None)) == []
    assert trace.commits("payment", Change("ledger", row.key, None, row)) == [
        "ChargePayment was pruned, and is rejected again"
    ]
    charged = Charged(str(ORDER_ID), "key", 1000, "EUR")
    assert trace.see(charged) == ["it is charged long after its end"]


def test_two_orders_of_one_reference() -> None:
    named = replace(STARTED, input=ORDER.model_copy(update={"reference": "R-1"}))
    second = replace(named, saga_id=UUID(int=3), subject_id=UUID(int=4))
    trace = Trace(submissions.OneSagaForAReference)
    assert trace.commits("orchestrator", trace.saga(named)) == []
    assert trace.see(NamedBefore("c-1", "R-1", ORDER_ID)) == []
    assert trace.see(NamedBefore("c-1", "R-1", SAGA_ID)) == ["it is said to be called R-1, and is not"]
    other = Trace(submissions.OneSagaForAReference).saga(second)
    assert trace.commits("orchestrator", other) == ["another order is called R-1 already"]
