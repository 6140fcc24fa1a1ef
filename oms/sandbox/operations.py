"""The sandbox's routes as data, so that HTTP and the in-process exchange offer the same."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Table

from contracts.problems import ProblemError, invalid, parsed
from oms.sandbox.requests import (
    AuthorizationRequest,
    CaptureRequest,
    ChargeRequest,
    KeyedRequest,
    Listing,
    RefundRequest,
    ReleaseRequest,
    RenewalRequest,
    ShipmentRequest,
    Visible,
    VoidRequest,
    key_of,
)
from oms.sandbox.service import ClientLeft, Sandbox
from oms.sandbox.tables import AUTHORIZATIONS, CHARGES, REFUNDS, RELEASES, SHIPMENTS
from participants.provider_http import Reply

R = TypeVar("R", bound=KeyedRequest)


@dataclass(frozen=True, slots=True)
class Posting(Generic[R]):
    """A request with an idempotency key: its body's model and what carries it out."""

    summary: str
    body: type[R]
    perform: Callable[[Sandbox, str, R, ClientLeft], Awaitable[Reply]]

    def parse(self, body: bytes | Mapping[str, Any]) -> R:
        """The validated body. Raises ProblemError."""
        if isinstance(body, bytes):
            return parsed(self.body, body or b"{}")
        try:
            return self.body.model_validate(body)
        except ValidationError as error:
            raise invalid(error) from None


POSTINGS: Final[dict[str, Posting[Any]]] = {
    "/charges": Posting("Take money for an order", ChargeRequest, Sandbox.charge),
    "/charges/void": Posting("Close the key of a charge", VoidRequest, Sandbox.void_charge),
    "/refunds": Posting("Give money of a charge back", RefundRequest, Sandbox.refund),
    "/authorizations": Posting("Set money aside for an order", AuthorizationRequest, Sandbox.authorize),
    "/authorizations/void": Posting(
        "Close the key of an authorization", VoidRequest, Sandbox.void_authorization
    ),
    "/authorizations/renew": Posting(
        "Set money aside anew that has expired, by the stored payment method", RenewalRequest, Sandbox.renew
    ),
    "/releases": Posting("Give up what is left of an authorization", ReleaseRequest, Sandbox.release),
    "/captures": Posting("Take money of an authorization: a charge", CaptureRequest, Sandbox.capture),
    "/shipments": Posting("Take an order's parcel", ShipmentRequest, Sandbox.ship),
    "/shipments/void": Posting("Close the key of a shipment", VoidRequest, Sandbox.void_shipment),
}

LISTINGS: Final[dict[str, Table]] = {
    "/charges": CHARGES,
    "/refunds": REFUNDS,
    "/authorizations": AUTHORIZATIONS,
    "/releases": RELEASES,
    "/shipments": SHIPMENTS,
}

_VISIBLE: Final = TypeAdapter(Visible)


def idempotency_key_of(header: str | None) -> str:
    """The key as given in the header, bare or quoted. Raises ProblemError when it is missing or malformed."""
    key = header or ""
    if len(key) > 1 and key[0] == key[-1] == '"':
        key = key[1:-1]
    try:
        return _VISIBLE.validate_python(key)
    except ValidationError:
        raise ProblemError(
            400, "idempotency_key", "Idempotency-Key: 1 to 255 visible ASCII characters are needed."
        ) from None


def listing_of(query: Sequence[tuple[str, str]]) -> Listing:
    """The filter in a query string; repeated names mean "or". Raises ProblemError."""
    given: dict[str, Any] = {}
    for name, value in query:
        if name in ("order_id", "key"):
            given[name] = (*given.get(name, ()), value)
        elif name == "cursor":
            given["after"] = _key_after(value)
        elif name == "limit":
            given["limit"] = value
        else:
            raise ProblemError(400, "unknown_parameter", "Known here are order_id, key, limit and cursor.")
    try:
        return Listing.model_validate(given)
    except ValidationError as error:
        raise invalid(error) from None


def _key_after(cursor: str) -> str:
    try:
        return key_of(cursor)
    except ValueError:
        raise ProblemError(400, "malformed_cursor", "This is no cursor of an earlier page.") from None
