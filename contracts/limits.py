"""Bounds of every field that comes from outside, in one place."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, StringConstraints

MAX_AMOUNT: Final = 2**53 - 1
"""Largest amount or total, in minor units: what every JSON reader represents exactly."""

MAX_QUANTITY: Final = 1_000_000
MAX_LINES: Final = 100
MAX_STOCK: Final = 2**53 - 1
MAX_BODY_BYTES: Final = 256 * 1024
"""Largest HTTP body that is read at all."""

PRINTABLE: Final = r"^[^\x00-\x1f\x7f]+$"
"""Text without control characters: what PostgreSQL stores and a terminal shows safely."""


IDENTIFIER: Final = r"^[a-z][a-z0-9_]{0,63}$"
"""Names that programs compare: steps, failure codes."""

PIECE: Final = r"^[a-z][a-z0-9_]{0,63}(\[[1-9][0-9]{0,2}\])?$"
"""Names of pieces of work: a step, or one branch of it, as in ``ship[2]`` (S20)."""


def _without_nul(text: str) -> str:
    """What others say for people is cleaned rather than refused: PostgreSQL stores no NUL."""
    return text.replace("\x00", "\ufffd")


def _text(max_length: int) -> Any:
    return StringConstraints(min_length=1, max_length=max_length, pattern=PRINTABLE)


Text = Annotated[str, _text(1000)]
"""Any text that every service can store and show: what messages and stored orders ask for.

What a field may say is decided once, at the edge, by the types below. Behind it only the shape counts, so
that a rule that became stricter never makes unreadable what was accepted before.
"""

Sku = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
CustomerId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}$")]
Name = Annotated[str, _text(200)]
Line = Annotated[str, _text(200)]
Location = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
"""Where stock is; `DEFAULT_LOCATION` where nobody cares."""

DEFAULT_LOCATION: Final = "default"
PostalCode = Annotated[str, _text(20)]
CountryCode = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
PaymentMethod = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$")]
Reference = Annotated[str, _text(200)]
PieceName = Annotated[str, StringConstraints(pattern=PIECE)]
Code = Annotated[str, StringConstraints(pattern=IDENTIFIER)]
Message = Annotated[str, StringConstraints(max_length=1000), AfterValidator(_without_nul)]
Amount = Annotated[int, Field(strict=True, ge=0, le=MAX_AMOUNT)]
Quantity = Annotated[int, Field(strict=True, ge=1, le=MAX_QUANTITY)]
Pieces = Annotated[int, Field(strict=True, ge=1, le=MAX_AMOUNT)]
"""So many of a product, behind the edge: one at least."""

StockCount = Annotated[int, Field(strict=True, ge=0, le=MAX_STOCK)]
