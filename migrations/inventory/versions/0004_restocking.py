"""Goods come back: movements that raise stock for a saga (S28).

What stands obeyed narrower rules, so none of it is looked at again: the table is not held up.
"""

from __future__ import annotations

from typing import Final

from alembic import op

revision = "inventory_0004"
down_revision = "inventory_0003"
branch_labels = None
depends_on = None

widened = ("stock_movements.ck_stock_movements_kind", "stock_movements.ck_stock_movements_cause")

RULES: Final = {
    "ck_stock_movements_kind": "kind IN ('adjustment', 'reduction', 'restocking')",
    "ck_stock_movements_cause": "(kind <> 'adjustment') = (saga_id IS NOT NULL)",
    "ck_stock_movements_restocking": "kind <> 'restocking' OR quantity > 0",
}


def upgrade() -> None:
    for name in ("ck_stock_movements_kind", "ck_stock_movements_cause"):
        op.drop_constraint(name, "stock_movements", schema="inventory")
    for name, rule in RULES.items():
        op.create_check_constraint(
            name, "stock_movements", rule, schema="inventory", postgresql_not_valid=True
        )
