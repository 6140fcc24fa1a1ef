"""Another installation in the same virtual host: it sends sound messages of its own to our queues (M4)."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, Final
from uuid import UUID

from contracts.commands import ChargePayment, Command, ItemQuantity, ReserveInventory
from contracts.envelope import Direction
from contracts.events import InventoryRejectedEvent, OutcomeEvent, PaymentDeclinedEvent
from contracts.routing import INVENTORY, PAYMENT, command_queue
from messaging.compose import command_message, event_message
from messaging.errors import PermanentFailure
from messaging.in_process import InProcessBroker
from messaging.installation import Identity
from messaging.retries import after_failure
from messaging.transport import Delivery, Message
from orchestrator.core.state import Saga
from simulation.plan import RETRIES
from simulation.servers import BEGINNING
from simulation.weather import Fault

ITS_INSTALLATION: Final = UUID("0197a000-0000-7000-8000-0000000000ff")
ITS_WORDS: Final = "of_another_installation"
"""Stands in everything that it says, so that whoever believed it can be told."""

Struck = Callable[[Fault, str, UUID | None], None]


class Stranger:
    """Sends what a deployment of the same program sends: commands, outcomes, dead letters."""

    def __init__(self, broker: InProcessBroker, rng: random.Random, struck: Struck) -> None:
        self._broker = broker
        self._rng = rng
        self._struck = struck
        self._identity = Identity(ITS_INSTALLATION)

    def call(self, sagas: Sequence[Saga]) -> None:
        """Send one message; outcomes and dead letters name a saga of ours, the worst that could come."""
        chosen = self._rng.choice(sagas) if sagas else None
        kind = self._rng.randrange(3)
        if kind == 0 or chosen is None or not chosen.awaited:
            message, saga_id = self._command(), None
        elif kind == 1:
            message, saga_id = self._outcome(chosen), chosen.saga_id
        else:
            message, saga_id = self._dead_letter(chosen), chosen.saga_id
        self._struck(Fault.FOREIGN_MESSAGE, "another installation", saga_id)
        [marked] = self._identity.marked([message])
        self._broker.publish(marked)

    def _command(self) -> Message:
        """For an order of its own, which would be reserved or charged here."""
        identity: dict[str, Any] = {
            "saga_id": self._new_id(),
            "order_id": self._new_id(),
            "direction": Direction.FORWARD,
        }
        lines = (ItemQuantity(sku="pear", quantity=1),)
        command: Command = ReserveInventory(**identity, step="reserve", lines=lines)
        if self._rng.random() < 0.5:
            paid = {"customer_id": "c", "amount": 700, "currency": "EUR", "payment_method": "pm_card_visa"}
            command = ChargePayment(**identity, step="charge", **paid)
        return command_message(command, _participant(command), self._new_id(), BEGINNING, "stranger")

    def _outcome(self, saga: Saga) -> Message:
        event_type: type[OutcomeEvent] = self._rng.choice((InventoryRejectedEvent, PaymentDeclinedEvent))
        step = "reserve" if event_type is InventoryRejectedEvent else "charge"
        event = event_type.model_validate(
            {
                "saga_id": saga.saga_id,
                "order_id": saga.subject_id,
                "step": step,
                "direction": Direction.FORWARD,
                "code": ITS_WORDS,
            }
        )
        return event_message(event, self._new_id(), self._new_id(), BEGINNING, "stranger")

    def _dead_letter(self, saga: Saga) -> Message:
        """A command that its participant has given up for good."""
        lines = tuple(ItemQuantity(sku=line.sku, quantity=line.quantity) for line in saga.input.lines)
        command = ReserveInventory(
            saga_id=saga.saga_id,
            order_id=saga.subject_id,
            step="reserve",
            direction=Direction.FORWARD,
            lines=lines,
        )
        [sent] = self._identity.marked(
            [command_message(command, INVENTORY, self._new_id(), BEGINNING, "stranger")]
        )
        died = Delivery(
            queue=command_queue(INVENTORY),
            body=sent.body,
            message_id=str(sent.message_id),
            type=sent.type,
            correlation_id=str(sent.correlation_id),
            headers=sent.headers,
            exchange=sent.exchange,
            routing_key=sent.routing_key,
            redelivered=False,
        )
        error = PermanentFailure(ITS_WORDS, ITS_WORDS)
        return after_failure(died, error, RETRIES, self._new_id(), BEGINNING, "stranger")

    def _new_id(self) -> UUID:
        return UUID(int=self._rng.getrandbits(128))


def _participant(command: Command) -> str:
    return INVENTORY if isinstance(command, ReserveInventory) else PAYMENT
