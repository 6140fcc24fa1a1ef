"""Puts questions to a provider, with the key that the piece of work always has (P6)."""

from __future__ import annotations

from typing import Protocol

from contracts.envelope import Direction
from participants.ledger import LedgerRow
from participants.provider_plan import (
    Ask,
    Declined,
    ExternalWork,
    Finding,
    NotFound,
    Reversal,
    Took,
)
from participants.provider_terms import Voided, VoidNotOffered, idempotency_key


class ProviderWork(ExternalWork, Protocol):
    """External work together with the way to ask for it.

    Every method raises `ProviderUnavailable` when there was no answer, and `ProviderMisuse` when asking
    again is useless. ``row`` is the ledger's, with the request as it was made.
    """

    async def act(self, key: str, row: LedgerRow) -> Took | Declined:
        """Do it."""

    async def close(self, key: str, row: LedgerRow) -> Took | Declined | Voided | VoidNotOffered:
        """See to it that nothing can happen under the key any more, or learn what has."""

    async def find(self, key: str, row: LedgerRow) -> Took | Declined | Voided | NotFound:
        """What the provider remembers of the key."""

    async def recall(self, key: str, row: LedgerRow) -> Took | NotFound:
        """What the provider has in its books for the order under this key, however old."""


async def put(provider: ProviderWork, ask: Ask, row: LedgerRow) -> Finding:
    """Ask the provider; returns what became of it.

    Raises:
        ProviderUnavailable, ProviderMisuse: there is no answer.
    """
    if ask in (Ask.REVERSE, Ask.FIND_REVERSAL, Ask.RECALL_REVERSAL):
        assert provider.reversal is not None
        return await _put_to_reversal(provider.reversal, ask, row)
    key = idempotency_key(row.saga_id, row.step, Direction.FORWARD)
    match ask:
        case Ask.ACT:
            return await provider.act(key, row)
        case Ask.CLOSE:
            closed = await provider.close(key, row)
            return await provider.act(key, row) if isinstance(closed, VoidNotOffered) else closed
        case Ask.PROVE:
            closed = await provider.close(key, row)
            return await provider.find(key, row) if isinstance(closed, VoidNotOffered) else closed
        case Ask.FIND:
            return await provider.find(key, row)
        case Ask.RECALL:
            return await provider.recall(key, row)
    raise AssertionError(f"not a question about the effect: {ask}")


async def _put_to_reversal(reversal: Reversal, ask: Ask, row: LedgerRow) -> Took | NotFound:
    key = idempotency_key(row.saga_id, row.step, Direction.COMPENSATING)
    if ask is Ask.REVERSE:
        return await reversal.act(key, row)
    return await (reversal.find(key, row) if ask is Ask.FIND_REVERSAL else reversal.recall(key, row))
