"""Amounts: ours are in the minor unit of ISO 4217, Stripe's in its own smallest unit; a few differ."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from oms.kit.providers import ProviderMisuse

STRIPES_UNITS: Final = {"ISK": Fraction(100), "UGX": Fraction(100), "MGA": Fraction(1, 100)}
"""How many of Stripe's units one of ours is, where it is not one."""


class NoSuchUnit(ProviderMisuse):
    """An amount that is no whole number of Stripe's units."""


def to_stripe(amount: int, currency: str) -> int:
    """Raises NoSuchUnit for an amount that Stripe has no unit for."""
    units = amount * STRIPES_UNITS.get(currency, Fraction(1))
    if units.denominator != 1:
        raise NoSuchUnit(f"{amount} {currency} cannot be charged: Stripe knows no such fraction")
    return int(units)


def from_stripe(units: int, currency: str) -> int:
    """The same the other way round."""
    return int(units / STRIPES_UNITS.get(currency, Fraction(1)))
