"""The library: a card is its number, which it takes from the work's own key. It needs no table."""

from __future__ import annotations

from enrolment import messages as say
from oms.kit import Participant, Work

library = Participant(say.LIBRARY)


@library.step(say.IssueCard, undo=say.RevokeCard)
class Card:
    """A library card."""

    async def do(self, work: Work, command: say.IssueCard) -> say.CardIssued:
        """Issue it. The ledger remembers the answer, and so the card."""
        return work.answer(say.CardIssued, card=f"card-{work.saga_id.hex[-12:]}")

    async def undo(self, work: Work, command: say.RevokeCard, done: say.CardIssued) -> say.CardRevoked:
        """Revoke it."""
        return work.answer(say.CardRevoked)


@library.step(say.ActivateCard)
class Activation:
    """What cannot be undone comes last."""

    async def do(self, work: Work, command: say.ActivateCard) -> say.CardActivated:
        """Activate it."""
        return work.answer(say.CardActivated)
