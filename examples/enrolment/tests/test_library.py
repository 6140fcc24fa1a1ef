"""The library on a stage."""

from __future__ import annotations

from enrolment.library import library
from enrolment.messages import CardIssued, CardRevoked, IssueCard, RevokeCard

from oms.kit.testing import in_memory


async def test_a_card_is_issued_once_and_revoked() -> None:
    async with in_memory(library) as stage:
        saga = stage.saga()
        issued = await saga.ask(IssueCard, student="s-1")
        assert isinstance(issued, CardIssued)
        assert await saga.ask(IssueCard, student="s-1") == issued
        assert isinstance(await saga.ask(RevokeCard), CardRevoked)
