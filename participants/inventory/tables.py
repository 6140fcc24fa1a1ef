"""Inventory's tables: the stock of each product, and every change of what is on hand."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Identity,
    Index,
    Table,
    Text,
    Uuid,
    text,
)

from contracts.routing import INVENTORY
from participants.tables import participant_metadata

METADATA: Final = participant_metadata(INVENTORY)

STOCK: Final = Table(
    "stock",
    METADATA,
    Column("sku", Text, primary_key=True),
    Column("on_hand", BigInteger, nullable=False),
    Column("reserved", BigInteger, nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("0 <= reserved AND reserved <= on_hand", name="never_oversold"),
    postgresql_with={"fillfactor": "50"},
)
"""What is on hand, and how much of it is held for orders. The database itself refuses to oversell."""

STOCK_AT: Final = Table(
    "stock_at",
    METADATA,
    Column("sku", Text, primary_key=True),
    Column("location", Text, primary_key=True),
    Column("on_hand", BigInteger, nullable=False),
    Column("reserved", BigInteger, nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("0 <= reserved AND reserved <= on_hand", name="never_oversold"),
    CheckConstraint("location <> 'default'", name="has_a_name"),
    postgresql_with={"fillfactor": "50"},
)
"""Of what `STOCK` counts, how much is at a location that has a name; all else is at ``default`` (S31).

Written and read under the lock of the product's row in `STOCK` alone.
"""

STOCK_MOVEMENTS: Final = Table(
    "stock_movements",
    METADATA,
    Column("movement_id", BigInteger, Identity(always=True), primary_key=True),
    Column("sku", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("quantity", BigInteger, nullable=False),
    Column("saga_id", Uuid),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
    Column("folded", BigInteger),
    CheckConstraint("kind IN ('adjustment', 'reduction', 'restocking')", name="kind"),
    CheckConstraint("(kind <> 'adjustment') = (saga_id IS NOT NULL)", name="cause"),
    CheckConstraint(
        "(kind <> 'reduction' OR quantity < 0) AND (kind <> 'restocking' OR quantity > 0)", name="reduction"
    ),
    Index("ix_stock_movements_folded", "sku", unique=True, postgresql_where=text("folded IS NOT NULL")),
)
"""Signed changes of ``on_hand``: for every product their sum is what is on hand.

One adjustment a product stands for the movements of pruned sagas (P7); ``folded`` says for how many.
"""
