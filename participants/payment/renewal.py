"""Capturing what expired: set aside anew by the stored method, once, and captured with another key (S27).

Every key is derived from that of the capture, so that whoever repeats it finds what was done before.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeGuard

from participants.payment.gateway import (
    EXPIRED,
    Authorized,
    Charged,
    Declined,
    FoundCharge,
    RenewingGateway,
)
from participants.provider_terms import Voided, VoidNotOffered


class Renewal:
    """What becomes of one capture whose authorization has expired."""

    def __init__(self, gateway: RenewingGateway, key: str) -> None:
        """
        Args:
            key: of the capture that may be declined.
        """
        self._gateway = gateway
        self._key = key
        self._set_aside, self._captured, self._given_up = (
            f"{key}:{work}" for work in ("renew", "again", "release")
        )

    async def capture(
        self, order_id: str, reference: str, amount: int, refused: Declined
    ) -> Charged | Declined:
        """Set aside anew and capture; what was not captured of it is not left set aside.

        Args:
            reference: of the authorization of which the gateway has said that it has expired.
            refused: what it said.
        """
        renewed = await self._renewed(order_id, reference)
        if isinstance(renewed, Declined):
            return Declined(refused.code, f"{refused.message} Not set aside anew: {renewed.message}")
        if not isinstance(renewed, Authorized):
            return refused
        answer = await self._gateway.capture(self._captured, renewed.reference, amount)
        await self._gateway.release(self._given_up, renewed.reference)
        return answer

    async def _renewed(self, order_id: str, reference: str) -> object:
        """One renewal for good: a gateway that has forgotten its key has it in its books still (P6)."""
        for found in await self._gateway.authorizations_of(order_id):
            if found.key == self._set_aside:
                return Authorized(found.reference)
        return await self._gateway.renew(self._set_aside, reference)

    async def close(self) -> Charged | Voided | VoidNotOffered:
        """Nothing is captured any more, and nothing left set aside; or what was captured (P10)."""
        renewed = await self._gateway.close_authorization(self._set_aside)
        if isinstance(renewed, VoidNotOffered):
            renewed = await self._gateway.find_authorization(self._set_aside) or renewed
        if isinstance(renewed, Declined):
            return Voided()
        if isinstance(renewed, Authorized):
            await self._gateway.release(self._given_up, renewed.reference)
        answer = await self._gateway.void(self._captured)
        return answer if isinstance(answer, Charged | VoidNotOffered) else Voided()

    async def find(self, first: Declined | None) -> Charged | Declined | Voided | None:
        """What the gateway remembers of the capture.

        Args:
            first: what it remembers of the first one, the truth where nothing is ever set aside anew.
        """
        renewed = await self._gateway.find_authorization(self._set_aside)
        if isinstance(renewed, Declined | Voided):
            return first
        return await self._gateway.find_charge(self._captured)

    def own(self, found: tuple[FoundCharge, ...]) -> tuple[FoundCharge, ...]:
        """Of an order's charges that of the renewal as if it were the first capture's."""
        return tuple(replace(each, key=self._key) if each.key == self._captured else each for each in found)


def has_expired(answer: object) -> TypeGuard[Declined]:
    """Whether a capture is declined since what was set aside has expired."""
    return isinstance(answer, Declined) and answer.code == EXPIRED
