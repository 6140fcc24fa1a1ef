"""What travels between orchestrator and participants: who takes which commands, who sends which events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel

from contracts.commands import (
    AdvanceLowWaterMark,
    AuthorizePayment,
    CapturePayment,
    ChargePayment,
    ClaimRefund,
    ClaimUnshipped,
    CommitInventory,
    RefundPart,
    RefundPayment,
    RefundUnshipped,
    ReleaseInventory,
    ReleaseRefundClaim,
    ReserveInventory,
    RestockItems,
    SettleStep,
    ShipOrder,
    VoidAuthorization,
    VoidRemainder,
)
from contracts.events import EVENTS, Event, OutcomeEvent, StepRefused, StepSettled
from contracts.routing import INVENTORY, ORCHESTRATOR, PAYMENT, SHIPPING

FOR_ALL: Final[tuple[type[BaseModel], ...]] = (SettleStep, AdvanceLowWaterMark)
"""What every participant takes."""

BY_ALL: Final = (StepRefused, StepSettled)
"""What every participant sends."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """The messages of an installation.

    Attributes:
        asked: participant → the commands that are its own.
        events: every event → the service that sends it; every participant where it is one of `BY_ALL`.
    """

    asked: Mapping[str, tuple[type[BaseModel], ...]]
    events: Mapping[type[Event], str]

    @property
    def participants(self) -> tuple[str, ...]:
        """Whoever takes commands."""
        return tuple(self.asked)

    def taken_by(self, participant: str) -> tuple[type[BaseModel], ...]:
        """The commands and instructions that a participant takes."""
        return (*self.asked[participant], *FOR_ALL)

    def senders(self, event: type[Event]) -> tuple[str, ...]:
        """The services that publish an event."""
        return self.participants if event in BY_ALL else (self.events[event],)

    def outcomes_of(self, participant: str) -> tuple[type[OutcomeEvent], ...]:
        """The events with which a participant answers commands."""
        return tuple(event for event in self.outcomes if participant in self.senders(event))

    @property
    def outcomes(self) -> tuple[type[OutcomeEvent], ...]:
        """Every event that answers a command."""
        return tuple(event for event in self.events if issubclass(event, OutcomeEvent))

    @property
    def commands(self) -> Mapping[str, type[BaseModel]]:
        """Every command and instruction by its type name on the wire."""
        own = [command for commands in self.asked.values() for command in commands]
        return {command.__name__: command for command in (*own, *FOR_ALL)}

    @property
    def models(self) -> Mapping[str, type[BaseModel]]:
        """Every message by its type name on the wire."""
        return {**self.commands, **{event.__name__: event for event in self.events}}


def _sent(events: Iterable[type[Event]]) -> Iterator[tuple[type[Event], str]]:
    """Our own events tell their sender by the first word of their routing key."""
    for event in events:
        first = event.key.partition(".")[0]
        yield event, first if first in (INVENTORY, PAYMENT, SHIPPING) else ORCHESTRATOR


OURS: Final = Traffic(
    asked={
        INVENTORY: (ReserveInventory, ReleaseInventory, CommitInventory, RestockItems),
        PAYMENT: (
            *(ChargePayment, RefundPayment, AuthorizePayment, VoidAuthorization, CapturePayment),
            *(ClaimRefund, ReleaseRefundClaim, RefundPart),
            *(ClaimUnshipped, RefundUnshipped, VoidRemainder),
        ),
        SHIPPING: (ShipOrder,),
    },
    events=dict(_sent(EVENTS.values())),
)
"""Of orders."""
