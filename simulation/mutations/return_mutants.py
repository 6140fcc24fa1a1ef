"""What is done instead where a rule about returns is taken away (S28)."""

from __future__ import annotations

from typing import Any

from contracts.commands import RefundPart, RestockItems
from participants.inventory.stock import Shelf, lines_of
from participants.kit.errands import Errand
from participants.kit.work import Work
from participants.payment.handlers import PartialRefund


def nobody_follows(original: Any) -> Any:
    """No other return of the order is seen."""

    async def followers(self: Any, definition: str, key: str, subject_ids: Any) -> Any:
        return {}

    return followers


def all_is_given_back(original: Any) -> Any:
    """Whatever was claimed, the whole payment is given back."""

    async def call(self: PartialRefund, errand: Errand, command: RefundPart) -> Any:
        return await original(self, errand, command.model_copy(update={"amount": command.charged}))

    return call


def all_is_restocked(original: Any) -> Any:
    """What cannot be sold any more is put into stock, too."""

    async def do(self: Any, shelf: Shelf, work: Work, command: RestockItems) -> Any:
        shelf.restock(lines_of(command.write_off), work.saga_id)
        return await original(self, shelf, work, command)

    return do
