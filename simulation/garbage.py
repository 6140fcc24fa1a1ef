"""Messages that nobody can understand: what a broken or hostile program would send (S16)."""

from __future__ import annotations

import random
from typing import Any, Final
from uuid import UUID

from contracts.commands import ChargePayment, ItemQuantity, ReleaseInventory, ReserveInventory, ShipOrder
from contracts.envelope import Direction
from contracts.routing import (
    COMMANDS_EXCHANGE,
    DEFAULT_EXCHANGE,
    EVENTS_EXCHANGE,
    INVENTORY,
    OUTCOMES_QUEUE,
    PARTICIPANTS,
    PAYMENT,
    SHIPPING,
)
from messaging.compose import command_message
from messaging.in_process import InProcessBroker
from messaging.transport import Message
from orchestrator.core.state import Saga
from simulation.servers import BEGINNING

_BODIES: Final = (
    b"",
    b"\xff\xfe",
    b"not json",
    b"[1, 2]",
    b'{"saga_id": 7}',
    b"null",
    b'{"saga_id": "00000000-0000-0000-0000-000000000000", "order_id": "x", "step": "\\u0000"}',
)
_TYPES: Final = ("ReserveInventory", "PaymentSuccessfulEvent", "StepSettled", "SettleStep", "Nonsense", "")


class Forger:
    """Sends garbage, and true-looking messages of sagas that never were."""

    def __init__(self, broker: InProcessBroker, rng: random.Random) -> None:
        self._broker = broker
        self._rng = rng

    def forge(self) -> None:
        """Send one message to somebody."""
        exchange, key = self._rng.choice(
            (
                (EVENTS_EXCHANGE, "payment.successful"),
                (DEFAULT_EXCHANGE, OUTCOMES_QUEUE),
                (COMMANDS_EXCHANGE, self._rng.choice(PARTICIPANTS)),
            )
        )
        saga_id = UUID(int=self._rng.getrandbits(128))
        headers: dict[str, Any] = {"attempt": self._rng.choice((1, -3, "x", 2**40)), "schema-version": 1}
        if self._rng.random() < 0.3:
            headers["schema-version"] = 99
        self._broker.publish(
            Message(
                message_id=UUID(int=self._rng.getrandbits(128)),
                type=self._rng.choice(_TYPES),
                exchange=exchange,
                routing_key=key,
                body=self._body(saga_id),
                correlation_id=self._rng.choice((saga_id, None)),
                app_id="forger",
                timestamp=BEGINNING,
                mandatory=False,
                headers=headers,
            )
        )

    def release_too_early(self, saga: Saga) -> None:
        """Send a release of something that has not been asked for yet, as an old program might (P4, P5)."""
        command = ReleaseInventory(
            saga_id=saga.saga_id,
            order_id=saga.subject_id,
            step="reserve",
            direction=Direction.COMPENSATING,
        )
        message_id = UUID(int=self._rng.getrandbits(128))
        self._broker.publish(command_message(command, INVENTORY, message_id, BEGINNING, "forger"))

    def repeat_the_past(self, saga: Saga) -> None:
        """Send a command of a saga that ended long ago once more."""
        identity: dict[str, Any] = {"saga_id": saga.saga_id, "order_id": saga.subject_id}
        identity["direction"] = Direction.FORWARD
        lines = tuple(ItemQuantity(sku=line.sku, quantity=line.quantity) for line in saga.input.lines)
        address = saga.input.shipping_address
        charged = ChargePayment(
            **identity,
            step="charge",
            customer_id=saga.input.customer_id,
            amount=saga.input.total,
            currency=saga.input.currency,
            payment_method=saga.input.payment_method,
        )
        for participant, command in (
            (INVENTORY, ReserveInventory(**identity, step="reserve", lines=lines)),
            (PAYMENT, charged),
            (SHIPPING, ShipOrder(**identity, step="ship", lines=lines, shipping_address=address)),
        ):
            self._broker.publish(command_message(command, participant, self.new_id(), BEGINNING, "forger"))

    def new_id(self) -> UUID:
        """An id of a message."""
        return UUID(int=self._rng.getrandbits(128))

    def _body(self, saga_id: UUID) -> bytes:
        if self._rng.random() < 0.7:
            return self._rng.choice(_BODIES)
        return (
            f'{{"saga_id": "{saga_id}", "order_id": "{saga_id}", "step": "charge", "direction": "forward",'
            ' "amount": 500, "currency": "EUR", "reference": "r"}'
        ).encode()
