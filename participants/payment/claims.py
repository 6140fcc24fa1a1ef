"""Claims on payments in memory: locked rows on which a whole batch of commands is decided. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Claims:
    """How much of a payment returns have claimed, in minor units."""

    charged: int
    claimed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.claimed <= self.charged:
            raise AssertionError(f"{self.claimed} claimed of {self.charged}")

    @property
    def left(self) -> int:
        """What can still be claimed."""
        return self.charged - self.claimed


class ClaimSheet:
    """The locked claims of one batch, by the gateway's name for the payment."""

    def __init__(self, claims: Mapping[str, Claims]) -> None:
        self._claims = dict(claims)
        self._touched: set[str] = set()

    def left(self, charge: str) -> int:
        """What can still be claimed of a payment."""
        return self._claims[charge].left

    def charged(self, charge: str) -> int:
        """What was taken by it, as the first claim on it said."""
        return self._claims[charge].charged

    def add(self, charge: str, amount: int) -> None:
        """Claim so much, or, where it is negative, give so much of what was claimed up."""
        claims = self._claims[charge]
        self._claims[charge] = replace(claims, claimed=claims.claimed + amount)
        self._touched.add(charge)

    @property
    def changed(self) -> dict[str, Claims]:
        """What is to be written, by payment."""
        return {charge: self._claims[charge] for charge in sorted(self._touched)}
