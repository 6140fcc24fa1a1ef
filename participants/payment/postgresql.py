"""Payment on PostgreSQL: one locked pass over the payments that a batch claims of."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from contracts.routing import PAYMENT
from messaging.arrays import array_literal
from participants.kit.postgresql import SqlKitTransaction
from participants.payment.claims import Claims

_ENTER: Final = """
INSERT INTO payment.refund_claims (charge, charged, claimed, updated_at)
SELECT charge, charged, 0, clock_timestamp() FROM unnest(%s::text[], %s::bigint[]) AS n (charge, charged)
ON CONFLICT (charge) DO NOTHING
"""

_LOCK: Final = """
SELECT charge, charged, claimed FROM payment.refund_claims
WHERE charge = ANY(%s) ORDER BY charge FOR NO KEY UPDATE
"""

_SAVE: Final = """
UPDATE payment.refund_claims AS c SET claimed = n.claimed, updated_at = %s
FROM unnest(%s::text[], %s::bigint[]) AS n (charge, claimed)
WHERE c.charge = n.charge
"""


class SqlPaymentTransaction(SqlKitTransaction):
    """A `participants.payment.refunds.PaymentTransaction` in schema `payment`."""

    schema = PAYMENT

    async def lock_claims(self, charged: Mapping[str, int]) -> dict[str, Claims]:
        """See `PaymentTransaction.lock_claims`."""
        charges = sorted(charged)
        amounts = [charged[charge] for charge in charges]
        entered = (_ENTER + "RETURNING charge", [array_literal(charges), array_literal(amounts)])
        _, rows = await self.fetch_together(entered, (_LOCK, [charges]))
        return {charge: Claims(taken, claimed) for charge, taken, claimed in rows}

    def save_claims(self, claims: Mapping[str, Claims], now: datetime) -> None:
        """See `PaymentTransaction.save_claims`."""
        if claims:
            columns = (list(claims), [each.claimed for each in claims.values()])
            self.write(_SAVE, [now, *[array_literal(each) for each in columns]], expected_rows=len(claims))
