"""What the sandbox accepts: unknown fields are refused, nothing is coerced."""

from __future__ import annotations

import base64
import hashlib
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from contracts.commands import Items
from contracts.limits import Amount, Text
from contracts.orders import Address

Visible = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,255}$")]
"""An id or key: visible ASCII."""


class Submitted(BaseModel):
    """Base of what a participant asks: unknown fields are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class KeyedRequest(Submitted):
    """A request that comes with an idempotency key."""

    def fingerprint(self) -> str:
        """Equal for equal requests: tells a repeat from another request under the same key."""
        return hashlib.blake2b(self.model_dump_json().encode(), digest_size=16).hexdigest()


class ChargeRequest(KeyedRequest):
    """Take money for an order."""

    order_id: Visible
    amount: Amount
    currency: Text
    payment_method: Text


Referred = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,300}$")]
"""A reference of ours."""


class AuthorizationRequest(ChargeRequest):
    """Set money aside for an order."""


class ReleaseRequest(KeyedRequest):
    """Give up what is left of an authorization."""

    authorization: Referred


class RenewalRequest(KeyedRequest):
    """Set aside anew what has expired, or a part of it."""

    authorization: Referred
    amount: Amount


class CaptureRequest(KeyedRequest):
    """Take money of an authorization."""

    authorization: Referred
    amount: Amount


class RefundRequest(KeyedRequest):
    """Give money of a charge back; ``charge`` is its reference."""

    charge: Referred
    amount: Amount


class ShipmentRequest(KeyedRequest):
    """Take a parcel."""

    order_id: Visible
    lines: Items
    address: Address


class VoidRequest(KeyedRequest):
    """Close the key; there is nothing more to say."""


MAX_FILTERS: Final = 200


class Listing(Submitted):
    """Which rows of a book to list: those of any of the orders, those of any of the keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    order_id: Annotated[tuple[Visible, ...], Field(max_length=MAX_FILTERS)] = ()
    key: Annotated[tuple[Visible, ...], Field(max_length=MAX_FILTERS)] = ()
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    after: Visible | None = None
    """The last key of the page before."""


def cursor_after(key: str) -> str:
    """An opaque cursor for the page that follows ``key``."""
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def key_of(cursor: str) -> str:
    """The key in a cursor of `cursor_after`. Raises ValueError when it is not one."""
    padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
    return base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii")
