"""The sandbox's books, in a schema of its own: one row per idempotency key and kind of request.

A row is entered before anything is answered, and holds what will be answered, so that the same key
gets the same answer from every process and after every crash.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    false,
)

METADATA: Final = MetaData(
    schema="sandbox",
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    },
)


def _request_columns() -> tuple[Column[object], ...]:
    """What every keyed request has.

    ``outcome`` stands once ``calls`` has reached ``answers_from_call``; before, the provider plays
    dead. A key that was voided before any request has neither order nor fingerprint.
    """
    columns: tuple[Column[object], ...] = (
        Column("key", Text, primary_key=True),
        Column("order_id", Text),
        Column("fingerprint", Text),
        Column("outcome", Text, nullable=False),
        Column("code", Text),
        Column("message", Text),
        Column("calls", Integer, nullable=False),
        Column("answers_from_call", Integer, nullable=False),
        Column("created_at", DateTime(timezone=True), nullable=False),
    )
    return columns


CHARGES: Final = Table(
    "charges",
    METADATA,
    *_request_columns(),
    Column("amount", BigInteger),
    Column("currency", Text),
    Column("refunded", BigInteger, nullable=False),
    Column("refunds_answer_from_call", Integer, nullable=False),
    Column("authorization", Text),
    CheckConstraint("outcome IN ('succeeded', 'declined', 'voided')", name="outcome"),
    CheckConstraint("0 <= refunded AND (refunded = 0 OR refunded <= amount)", name="refunded"),
    Index(None, "order_id"),
)

"""Captures are charges too: ``authorization`` is the reference of what they were taken from."""

AUTHORIZATIONS: Final = Table(
    "authorizations",
    METADATA,
    *_request_columns(),
    Column("amount", BigInteger),
    Column("currency", Text),
    Column("captured", BigInteger, nullable=False),
    Column("released", Boolean, nullable=False),
    Column("expired", Boolean, nullable=False),
    Column("renewable", Boolean, nullable=False, server_default=false()),
    Column("captures_answer_from_call", Integer, nullable=False),
    CheckConstraint("outcome IN ('authorized', 'declined', 'voided')", name="outcome"),
    CheckConstraint("0 <= captured AND (captured = 0 OR captured <= amount)", name="captured"),
    Index(None, "order_id"),
)
"""What is left of one is set aside until it is released or has expired."""

RELEASES: Final = Table(
    "releases",
    METADATA,
    *_request_columns(),
    Column("authorization", Text, nullable=False),
    CheckConstraint("outcome = 'succeeded'", name="outcome"),
    Index(None, "order_id"),
)

REFUNDS: Final = Table(
    "refunds",
    METADATA,
    *_request_columns(),
    Column("charge", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    CheckConstraint("outcome = 'succeeded'", name="outcome"),
    Index(None, "order_id"),
)

SHIPMENTS: Final = Table(
    "shipments",
    METADATA,
    *_request_columns(),
    CheckConstraint("outcome IN ('shipped', 'rejected', 'voided')", name="outcome"),
    Index(None, "order_id"),
)

EFFECT: Final = {
    CHARGES: "succeeded",
    REFUNDS: "succeeded",
    AUTHORIZATIONS: "authorized",
    RELEASES: "succeeded",
    SHIPMENTS: "shipped",
}
"""The outcome that moves money or a parcel, or sets money aside, by table."""
