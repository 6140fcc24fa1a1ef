"""A small language for tests of sagas: given a saga, when something happens, then something holds.

    awaiting("charge").when(declined()).then(sends(ReleaseInventory), undoes("reserve"))

Every step also checks what must hold whatever happens (`laws`), so no test has to say it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self
from uuid import UUID

from contracts.commands import Command, Verdict
from contracts.envelope import Direction
from contracts.events import (
    Event,
    InventoryReducedEvent,
    InventoryRejectedEvent,
    InventoryReleasedEvent,
    InventoryReservedEvent,
    OrderFulfilledEvent,
    OutcomeEvent,
    PaymentDeclinedEvent,
    PaymentRefundedEvent,
    PaymentSuccessfulEvent,
    ShipmentRejectedEvent,
    StepRefused,
    StepSettled,
)
from contracts.orders import Order, OrderLine, ShippingAddress
from orchestrator.core import machine, timers
from orchestrator.core.definition import SagaDefinition, StepPolicy
from orchestrator.core.effects import (
    Decision,
    Effect,
    PublishEvent,
    Refused,
    ResolveDeadLetters,
    SendCommand,
    Stale,
    Transition,
)
from orchestrator.core.inputs import (
    Actor,
    CancelRequested,
    CommandDeadLettered,
    Input,
    OutcomeReceived,
    ResolveRequested,
    RetryRequested,
    SagaStarted,
)
from orchestrator.core.state import Incident, IncidentKind, OrderStatus, Saga, Status
from orchestrator.core.timers import Finding, Observed, Resend, Wait
from orchestrator.sagas.order_fulfillment import order_fulfillment
from tests.unit.core.laws import check_step

FORWARD, COMPENSATING = Direction.FORWARD, Direction.COMPENSATING
SAGA_ID, ORDER_ID = UUID(int=1), UUID(int=2)
NOON: Final = datetime(2025, 1, 1, 12, tzinfo=UTC)
POLICY: Final = StepPolicy(
    deadline_s=300, grace_s=30, resend_after_s=5, resend_cap_s=60, stuck_after_attempts=3
)
DEFINITION: Final = order_fulfillment(POLICY)
ORDER: Final = Order(
    customer_id="c-42",
    currency="EUR",
    lines=(
        OrderLine(sku="SKU-1", quantity=2, unit_price=1299),
        OrderLine(sku="SKU-2", quantity=1, unit_price=500),
    ),
    payment_method="pm_card_visa",
    shipping_address=ShippingAddress(
        name="A. Person", line1="1 Street", city="Town", postal_code="12345", country="DE"
    ),
)
SOMEBODY: Final = Actor("somebody", "because")

Expectation = Callable[["Scenario"], None]


class Scenario:
    """One saga, lived through input by input, with a clock that moves when told."""

    def __init__(self, definition: SagaDefinition = DEFINITION, order: Order = ORDER) -> None:
        self.definition = definition
        self.now = NOON
        self.history: list[tuple[datetime, Input]] = [(NOON, SagaStarted())]
        started = machine.start(definition, SAGA_ID, ORDER_ID, order, NOON)
        self.decision: Decision = started
        self.finding: Finding | None = None
        self.saga: Saga = started.saga
        self._copies = 0
        self._carry_out(started)

    # -- when ---------------------------------------------------------------------------------------------

    def when(self, *inputs: Input) -> Self:
        """These inputs arrive, one after the other, now."""
        for happened in inputs:
            before = self.saga
            self.decision = machine.decide(self.definition, before, happened, self.now)
            if isinstance(self.decision, Transition):
                self.history.append((self.now, self.decision.accepted))
                self._carry_out(self.decision)
            check_step(self.definition, before, happened, self.decision, self.history)
        return self

    def after(self, seconds: float) -> Self:
        """Time passes; nobody looks."""
        self.now += timedelta(seconds=seconds)
        return self

    def looked_at(self, *, copy_in_outbox: bool = False, queue_seen_empty: bool = True) -> Self:
        """The reconciler looks and acts on what it finds."""
        observed = Observed(copy_in_outbox, self.now if queue_seen_empty else None)
        return self.acted_on(timers.look(self.definition, self.saga, observed, self.now))

    def acted_on(self, finding: Finding) -> Self:
        """What the reconciler does about a finding."""
        self.finding = finding
        match finding:
            case Wait():
                self.saga = timers.waited(self.definition, self.saga, finding, self.now)
            case Resend(final):
                self._sent(final=final)
            case _:
                self.when(finding)
        return self

    def until_due(self) -> Self:
        """Time passes until the saga wants to be looked at."""
        assert self.saga.due_at is not None, "it waits for an answer or a person alone"
        self.now = max(self.now, self.saga.due_at)
        return self

    # -- then ---------------------------------------------------------------------------------------------

    def then(self, *expectations: Expectation) -> Self:
        """All of this holds now."""
        for expectation in expectations:
            expectation(self)
        return self

    @property
    def effects(self) -> tuple[Effect, ...]:
        """What the last input made the saga ask for."""
        return self.decision.effects if isinstance(self.decision, Transition) else ()

    @property
    def commands(self) -> tuple[Command, ...]:
        """The commands that the last input sent."""
        return tuple(effect.command for effect in self.effects if isinstance(effect, SendCommand))

    @property
    def command(self) -> Any:
        """The one command that the last input sent."""
        (command,) = self.commands
        return command

    @property
    def event(self) -> Any:
        """The one event that the last input published."""
        (event,) = (effect.event for effect in self.effects if isinstance(effect, PublishEvent))
        return event

    @property
    def incident(self) -> Incident:
        """The one incident that is open."""
        (incident,) = self.saga.incidents
        return incident

    # -- how ----------------------------------------------------------------------------------------------

    def _carry_out(self, transition: Transition) -> None:
        self.saga = transition.saga
        if any(isinstance(effect, SendCommand) for effect in transition.effects):
            self._sent(final=False)
        else:
            self.saga = replace(self.saga, due_at=timers.due_at(self.definition, self.saga, self.now))

    def _sent(self, *, final: bool) -> None:
        self._copies += 1
        copy = UUID(int=1000 + self._copies)
        self.saga = timers.sent(self.definition, self.saga, copy, self.now, 0.0, final=final)


# -- given ------------------------------------------------------------------------------------------------


def started(definition: SagaDefinition = DEFINITION) -> Scenario:
    """A saga that has just begun."""
    return Scenario(definition)


def awaiting(step: str, definition: SagaDefinition = DEFINITION) -> Scenario:
    """A saga whose earlier steps have succeeded and that waits for this one."""
    scenario = started(definition)
    for name, succeeded in (("reserve", reserved), ("charge", paid), ("ship", shipped)):
        if name == step:
            break
        scenario.when(succeeded())
    assert scenario.saga.awaits(step, FORWARD)
    return scenario


def undoing(step: str) -> Scenario:
    """A paid order whose shipment was rejected, and whose compensation has come to this step."""
    scenario = awaiting("ship").when(not_shippable())
    if step == "reserve":
        scenario.when(refunded())
    assert scenario.saga.awaits(step, COMPENSATING)
    return scenario


def completed() -> Scenario:
    """An order fulfilled."""
    return awaiting("commit").when(reduced())


def rejected() -> Scenario:
    """An order whose payment was declined, undone and ended."""
    return awaiting("charge").when(declined(), released())


def cancelled() -> Scenario:
    """An order cancelled while it was paid for, undone and ended."""
    return awaiting("charge").when(cancel(), refunded(), released())


# -- what participants say --------------------------------------------------------------------------------


def answer(event: type[OutcomeEvent], step: str, direction: Direction, **data: Any) -> OutcomeReceived:
    """A participant's answer as the saga gets it: a valid event without the identities."""
    whole = event.model_validate(
        {"saga_id": SAGA_ID, "order_id": ORDER_ID, "step": step, "direction": direction, **data}
    )
    identities = {"saga_id", "order_id", "step", "direction"}
    fields = whole.model_dump(mode="json", exclude=identities, exclude_defaults=True)
    return OutcomeReceived(event.__name__, step, direction, fields)


_LINES: Final = [{"sku": "SKU-1", "quantity": 2}, {"sku": "SKU-2", "quantity": 1}]


def reserved() -> OutcomeReceived:
    """Inventory holds the stock."""
    return answer(InventoryReservedEvent, "reserve", FORWARD, lines=_LINES)


def out_of_stock() -> OutcomeReceived:
    """Inventory has not enough."""
    return answer(
        InventoryRejectedEvent, "reserve", FORWARD, code="out_of_stock", message="none left of SKU-1"
    )


def released(effect: str = "undone") -> OutcomeReceived:
    """The reservation no longer stands; ``effect`` nothing: there was none."""
    return answer(InventoryReleasedEvent, "reserve", COMPENSATING, effect=effect)


def paid(reference: str = "ch_1") -> OutcomeReceived:
    """The money was taken."""
    fields = {"amount": 3098, "currency": "EUR", "reference": reference}
    return answer(PaymentSuccessfulEvent, "charge", FORWARD, **fields)


def declined() -> OutcomeReceived:
    """The card was declined."""
    return answer(PaymentDeclinedEvent, "charge", FORWARD, code="card_declined", message="the bank said no")


def refunded(effect: str = "undone") -> OutcomeReceived:
    """The money is back; ``effect`` nothing: none had been taken."""
    return answer(PaymentRefundedEvent, "charge", COMPENSATING, effect=effect)


def shipped(reference: str = "track_1") -> OutcomeReceived:
    """The parcel is with the carrier."""
    return answer(OrderFulfilledEvent, "ship", FORWARD, reference=reference)


def not_shippable() -> OutcomeReceived:
    """The carrier refused the parcel."""
    return answer(ShipmentRejectedEvent, "ship", FORWARD, code="no_service", message="not to 00000")


def reduced() -> OutcomeReceived:
    """The stock was reduced."""
    return answer(InventoryReducedEvent, "commit", FORWARD, lines=_LINES)


def refused(step: str) -> OutcomeReceived:
    """The participant holds the step as compensated and will not do it."""
    return answer(StepRefused, step, FORWARD)


def settled(step: str, direction: Direction, verdict: Verdict, **fields: Any) -> OutcomeReceived:
    """The participant has written the verdict into its ledger."""
    return answer(StepSettled, step, direction, verdict=verdict, accepted=True, **fields)


def not_settled(step: str, direction: Direction, verdict: Verdict, reason: str) -> OutcomeReceived:
    """The participant does not accept the verdict."""
    return answer(StepSettled, step, direction, verdict=verdict, accepted=False, reason=reason)


def died(step: str, direction: Direction = FORWARD) -> CommandDeadLettered:
    """The command used up its attempts."""
    return CommandDeadLettered(step, direction, permanent=False, error="gateway timeout")


def died_for_good(step: str, direction: Direction = FORWARD) -> CommandDeadLettered:
    """The command failed in a way that trying again does not mend."""
    return CommandDeadLettered(step, direction, permanent=True, error="other payload")


# -- what people ask --------------------------------------------------------------------------------------


def cancel(reason: str = "changed my mind") -> CancelRequested:
    """Somebody wants the order undone."""
    return CancelRequested(Actor("somebody", reason))


def retry() -> RetryRequested:
    """An operator wants the awaited command sent again."""
    return RetryRequested(SOMEBODY)


def judge(step: str, verdict: Verdict, reference: str | None = None) -> ResolveRequested:
    """An operator says what became of a stuck piece of work."""
    return ResolveRequested(SOMEBODY, step, verdict, reference)


# -- then -------------------------------------------------------------------------------------------------


def sends(*commands: type[Command]) -> Expectation:
    """The last input sent exactly these commands."""
    return lambda it: _equal([type(command) for command in it.commands], list(commands))


def publishes(*events: type[Event]) -> Expectation:
    """The last input published exactly these events."""

    def holds(it: Scenario) -> None:
        published = [type(each.event) for each in it.effects if isinstance(each, PublishEvent)]
        _equal(published, list(events))

    return holds


def asks_for(step: str) -> Expectation:
    """The saga runs and awaits this step."""

    def holds(it: Scenario) -> None:
        assert it.saga.status is Status.RUNNING
        assert it.saga.awaits(step, FORWARD), it.saga.awaiting

    return holds


def undoes(step: str) -> Expectation:
    """The saga compensates and awaits the compensation of this step."""

    def holds(it: Scenario) -> None:
        assert it.saga.status is Status.COMPENSATING
        assert it.saga.awaits(step, COMPENSATING), it.saga.awaiting

    return holds


def order_is(status: OrderStatus) -> Expectation:
    """What the customer sees."""
    return lambda it: _equal(it.saga.order_status, status)


def ends(status: Status, order_status: OrderStatus, because: str | None = None) -> Expectation:
    """The saga is over: nothing is awaited, nothing is due."""

    def holds(it: Scenario) -> None:
        assert (it.saga.status, it.saga.order_status) == (status, order_status)
        assert it.saga.failure is None or it.saga.failure.code == because
        assert (it.saga.awaiting, it.saga.settling, it.saga.due_at) == (None, None, None)
        assert it.saga.ended_at == it.now

    return holds


def stale(it: Scenario) -> None:
    """The last input changed nothing, and nobody minds (S1)."""
    assert isinstance(it.decision, Stale), it.decision


def accepted(it: Scenario) -> None:
    """The last input was accepted."""
    assert isinstance(it.decision, Transition), it.decision


def refuses(code: str) -> Expectation:
    """The last input was refused to the person who asked."""

    def holds(it: Scenario) -> None:
        assert isinstance(it.decision, Refused), it.decision
        assert it.decision.code == code
        assert it.decision.reason

    return holds


def opens(kind: IncidentKind, *words: str) -> Expectation:
    """An incident of this kind is open, and its message has these words."""

    def holds(it: Scenario) -> None:
        (incident,) = (each for each in it.saga.incidents if each.kind is kind)
        missing = [word for word in words if word not in incident.message]
        assert not missing, f"{incident.message!r} lacks {missing}"

    return holds


def no_incident(it: Scenario) -> None:
    """Nothing is open."""
    assert it.saga.incidents == ()


def closes_dead_letters(step: str, direction: Direction = FORWARD, cause: str | None = None) -> Expectation:
    """The last input ends the dead letters of this work (D3)."""

    def holds(it: Scenario) -> None:
        (closed,) = (each for each in it.effects if isinstance(each, ResolveDeadLetters))
        assert (closed.step, closed.direction) == (step, direction)
        assert cause is None or closed.cause == cause

    return holds


def closes_no_dead_letters(it: Scenario) -> None:
    """The last input leaves dead letters as they are."""
    assert not [each for each in it.effects if isinstance(each, ResolveDeadLetters)]


def finds(finding: Finding) -> Expectation:
    """The last look found exactly this."""
    return lambda it: _equal(it.finding, finding)


def may(*actions: str) -> Expectation:
    """A person may do exactly this now."""
    return lambda it: _equal(machine.allowed_actions(it.definition, it.saga), actions)


def _equal(actual: object, expected: object) -> None:
    assert actual == expected
