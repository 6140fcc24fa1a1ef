"""What a story needs of the world in which it is told: the same of real servers and of a simulated world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from contracts.commands import Verdict


class NotAsTold(AssertionError):
    """The story went another way; the message says where."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What somebody was told.

    Attributes:
        subject_id: of the order or return that stands for what was asked; None where it was refused.
        refused: the code of the refusal.
    """

    subject_id: UUID | None = None
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """A saga as it stands.

    Attributes:
        label: what its customer sees.
        incident: whether something is open that a person has to look at.
        verdict_refused: whether that is a verdict which the participant did not take.
        step: what is awaited, if anything.
    """

    label: str
    ended: bool
    incident: bool
    verdict_refused: bool
    step: str | None


class Hands(Protocol):
    """Everything that people do and look at. Orders and returns are named by their subject's id."""

    async def count_stock(self, sku: str, on_hand: int, location: str | None) -> None:
        """Say how many of a product there are, all at this location."""

    async def submit(self, order: Mapping[str, Any], key: str) -> Answer:
        """Submit an order under an idempotency key."""

    async def send_back(self, order_id: UUID, quantities: Mapping[str, int], key: str) -> Answer:
        """Ask for the return of pieces, by SKU."""

    async def cancel(self, subject_id: UUID) -> str | None:
        """Cancel; returns the code of a refusal."""

    async def signal(self, subject_id: UUID, wait: str, body: Mapping[str, Any]) -> str | None:
        """Tell a saga what it waits for, as an operator; returns the code of a refusal."""

    async def let_days_pass(self, subject_id: UUID) -> None:
        """So much time that whatever the saga waits for from outside comes no more."""

    async def settle(self, subject_id: UUID, step: str, verdict: Verdict) -> str | None:
        """See to a piece of work by hand where need be, and say so; returns the code of a refusal."""

    async def replay(self, subject_id: UUID) -> None:
        """Replay the saga's dead letter, where it is still as it was seen."""

    async def retry(self, subject_id: UUID) -> str | None:
        """Send what the saga awaits once more; returns the code of a refusal."""

    async def look(self, subject_id: UUID) -> Look:
        """How a saga stands now: after whatever was done before this was asked."""

    async def pause(self) -> None:
        """Wait until it is worth looking again."""

    async def failure(self, order_id: UUID) -> str | None:
        """The code of why an order turned round."""

    async def stock(self, sku: str) -> tuple[int, int]:
        """Pieces of a product on hand, and how many of these are reserved; none of one that is unknown."""

    async def money(self, order_id: UUID) -> tuple[int, int, int]:
        """What the gateway's books say of an order: taken, given back, set aside still."""

    async def parcels(self, order_id: UUID) -> Sequence[Mapping[str, int]]:
        """Pieces by SKU in each parcel of an order that the carrier took, in the order of their names."""

    async def events(self, subject_id: UUID) -> Sequence[str]:
        """The types of the public events about it, in their order."""

    async def orders_of(self, customer_id: str) -> int:
        """How many orders a customer has."""
