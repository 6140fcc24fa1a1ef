"""How rules about money are taken away: where none is due (P6), and where it is captured (S27)."""

from __future__ import annotations

from itertools import count
from typing import Any

from participants.payment.gateway import Authorized, HttpPaymentGateway, Released


def asked_for_all_the_same(original: Any) -> Any:
    """P6: an amount of 0 is asked for as any other."""
    return lambda self, row: None


def said_to_be_given_up(original: Any) -> Any:
    """S27: a void is answered and the gateway is not asked."""

    async def release(self: HttpPaymentGateway, key: str, reference: str) -> Released:
        return Released(f"void of {reference}")

    return release


def captured_at_once(original: Any) -> Any:
    """S27: what is authorized is captured in the same breath."""

    async def authorize(
        self: HttpPaymentGateway, key: str, order_id: str, amount: int, *paid_how: str
    ) -> Any:
        answer = await original(self, key, order_id, amount, *paid_how)
        if isinstance(answer, Authorized):
            await self.capture(f"{key}:at once", answer.reference, amount)
        return answer

    return authorize


def captured_under_another_key(original: Any) -> Any:
    """S27: each call for a capture has a key of its own."""
    turns = count()

    async def capture(self: HttpPaymentGateway, key: str, reference: str, amount: int) -> Any:
        return await original(self, f"{key}:{next(turns)}", reference, amount)

    return capture


def renewed_under_another_key(original: Any) -> Any:
    """S27: each call for a renewal has a key of its own, so that none is found again."""
    turns = count()

    async def renew(self: HttpPaymentGateway, key: str, reference: str) -> Any:
        return await original(self, f"{key}:{next(turns)}", reference)

    return renew
