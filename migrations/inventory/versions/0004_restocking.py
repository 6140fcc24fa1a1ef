"""Goods come back: movements that raise stock for a saga (S28)."""

from __future__ import annotations

from typing import Final

from alembic import op

revision = "inventory_0004"
down_revision = "inventory_0003"
branch_labels = None
depends_on = None

RULES: Final = {
    "ck_stock_movements_kind": "kind IN ('adjustment', 'reduction', 'restocking')",
    "ck_stock_movements_cause": "(kind <> 'adjustment') = (saga_id IS NOT NULL)",
    "ck_stock_movements_reduction": (
        "(kind <> 'reduction' OR quantity < 0) AND (kind <> 'restocking' OR quantity > 0)"
    ),
}

widened = tuple(f"stock_movements.{name}" for name in RULES)


def upgrade() -> None:
    for name, rule in RULES.items():
        op.drop_constraint(name, "stock_movements", schema="inventory")
        op.create_check_constraint(name, "stock_movements", rule, schema="inventory")
