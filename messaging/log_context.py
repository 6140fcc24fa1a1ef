"""The ids under which logs speak of one message: its saga, itself, its trace."""

from __future__ import annotations

from messaging.compose import traceparent_of
from messaging.transport import Delivery


def ids_of(delivery: Delivery) -> dict[str, str]:
    """``saga_id``, ``message_id`` and ``trace_id``, as far as the message has them."""
    ids = {"saga_id": delivery.correlation_id, "message_id": delivery.message_id}
    trace = (traceparent_of(delivery) or "").split("-")
    if len(trace) == 4:
        ids["trace_id"] = trace[1]
    return {name: value for name, value in ids.items() if value}
