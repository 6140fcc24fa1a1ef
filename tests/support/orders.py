"""Orders and sagas for tests."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

from contracts.envelope import Direction
from contracts.orders import Order
from orchestrator.core.state import Awaited, Forward, Saga, StepState
from orchestrator.core.values import replace

AN_ORDER: Final[dict[str, Any]] = {
    "customer_id": "c-1",
    "currency": "EUR",
    "lines": [{"sku": "SKU-1", "quantity": 2, "unit_price": 1299}],
    "payment_method": "pm_card_visa",
    "shipping_address": {
        "name": "A. Person",
        "line1": "1 Street",
        "city": "Town",
        "postal_code": "12345",
        "country": "DE",
    },
}
"""As a customer submits it."""

NOON: Final = datetime(2026, 5, 4, 12, tzinfo=UTC)


def an_order(**changes: Any) -> Order:
    """A valid order, with some fields changed."""
    return Order.model_validate({**AN_ORDER, **changes})


def a_saga(**changes: Any) -> Saga:
    """A saga that has just begun, with some fields changed."""
    saga = Saga(
        saga_id=uuid4(),
        subject_id=uuid4(),
        definition="order_fulfillment",
        definition_version=1,
        input=an_order(),
        created_at=NOON,
        updated_at=NOON,
        version=1,
        steps=(StepState("reserve", Forward.AWAITED), StepState("charge")),
        awaited=(Awaited("reserve", Direction.FORWARD, NOON),),
    )
    return replace(saga, **changes)


NOBODYS: Final = "7a1e1d0c-5a0b-4f6e-9b1e-3f0e8f6b2c11"
"""An id that nothing has; always the same, as it stands in the names of tests."""
