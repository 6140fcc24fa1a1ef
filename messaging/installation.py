"""Whose messages these are: an installation marks what it sends and refuses what is another's (M4)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol
from uuid import UUID

from contracts.envelope import INSTALLATION
from messaging.errors import ForeignMessage
from messaging.transport import Delivery, Message

MAX_SHOWN_CHARACTERS: Final = 64
"""Of an id that a message carries: what comes from outside may be anything."""


class IdentityTransaction(Protocol):
    """What a service needs of its storage to know whose it is."""

    async def read_installation(self) -> UUID | None:
        """The identity that `oms migrate` has put into the service's schema; None where it has not yet."""


class IdentityReader(Protocol):
    """A `UnitOfWork` on such storage, as far as it is needed here."""

    async def run(self, work: Callable[[IdentityTransaction], Awaitable[UUID | None]]) -> UUID | None:
        """See `UnitOfWork.run`."""


@dataclass(slots=True)
class Identity:
    """The installation that a service belongs to.

    Without an id nothing is marked and nothing refused: that is how the releases before identities behave.
    """

    installation_id: UUID | None = None
    is_learnt: bool = False
    """The service's storage has been asked; until then nothing of it may leave."""

    async def learn(self, unit_of_work: IdentityReader) -> None:
        """Ask the storage, once. Raises StorageUnavailable."""
        if not self.is_learnt:
            self.installation_id = await unit_of_work.run(lambda each: each.read_installation())
            self.is_learnt = True

    def marked(self, messages: Sequence[Message]) -> Sequence[Message]:
        """The messages with our id in their headers. One with an id keeps it: it is passed on (D1)."""
        if self.installation_id is None:
            return messages
        ours = str(self.installation_id)
        return [
            message
            if INSTALLATION in message.headers
            else replace(message, headers={**message.headers, INSTALLATION: ours})
            for message in messages
        ]

    def refusal(self, delivery: Delivery) -> ForeignMessage | None:
        """Why a delivery must not be served; None for our own, and for one that does not say whose it is.

        Participants in other languages and messages of the releases before carry no id.
        """
        sender = self.foreign_sender(delivery)
        return None if sender is None else ForeignMessage(self._shared_with(sender))

    def foreign_sender(self, delivery: Delivery) -> str | None:
        """The other installation that a delivery is of; None where it is not known to be another's."""
        sender = delivery.headers.get(INSTALLATION)
        if self.installation_id is None or sender is None or sender == str(self.installation_id):
            return None
        printable = "".join(each for each in str(sender) if each.isascii() and each.isprintable())
        return printable[:MAX_SHOWN_CHARACTERS] or "unreadable"

    def _shared_with(self, sender: str) -> str:
        return (
            f"it is of installation {sender}, and this is installation {self.installation_id}: "
            "both use this virtual host, give each one of its own"
        )
