"""Messages that nobody can understand: what a broken or hostile program would send (S16)."""

from __future__ import annotations

import random
from typing import Any, Final
from uuid import UUID

from contracts.envelope import Direction
from contracts.routing import COMMANDS_EXCHANGE, DEFAULT_EXCHANGE, EVENTS_EXCHANGE, OUTCOMES_QUEUE
from messaging.compose import command_message
from messaging.in_process import InProcessBroker
from messaging.transport import Message
from orchestrator.core.asking import awaited_command
from orchestrator.core.definition import SagaDefinition
from orchestrator.core.registry import Registry
from orchestrator.core.state import Awaited, Forward, Saga
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

    def __init__(self, broker: InProcessBroker, rng: random.Random, registry: Registry) -> None:
        self._broker = broker
        self._rng = rng
        self._registry = registry

    def forge(self) -> None:
        """Send one message to somebody."""
        exchange, key = self._rng.choice(
            (
                (EVENTS_EXCHANGE, "payment.successful"),
                (DEFAULT_EXCHANGE, OUTCOMES_QUEUE),
                (COMMANDS_EXCHANGE, self._rng.choice(self._registry.participants)),
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
        """Undo something that has not been asked for yet, as an old program might (P4, P5)."""
        definition = self._definition_of(saga)
        undoable = [step.name for step in definition.steps if step.compensation is not None]
        first = next((piece.name for piece in saga.steps if piece.name in undoable), None)
        if first is not None:
            self._send(definition, saga, first, Direction.COMPENSATING)

    def repeat_the_past(self, saga: Saga) -> None:
        """Send the commands of a saga that ended long ago once more."""
        definition = self._definition_of(saga)
        for piece in saga.steps:
            if piece.name in definition and piece.forward is not Forward.PENDING:
                self._send(definition, saga, piece.name, Direction.FORWARD)

    def _definition_of(self, saga: Saga) -> SagaDefinition:
        definition = self._registry.find(saga.definition, saga.definition_version)
        assert definition is not None
        return definition

    def _send(self, definition: SagaDefinition, saga: Saga, piece: str, direction: Direction) -> None:
        asked = awaited_command(definition, saga, Awaited(piece, direction, BEGINNING))
        message = command_message(asked.command, asked.participant, self.new_id(), BEGINNING, "forger")
        self._broker.publish(message)

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
