"""Why a message is dead: the word of whoever gave it up last, the broker or the service that served it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from contracts.failures import ERROR_MESSAGE, ERROR_TYPE, PERMANENT
from messaging.transport import Delivery

BY_BROKER: Final = {
    "delivery_limit": ("delivery_limit", "the broker gave it up after too many redeliveries"),
    "expired": (
        "broker_expired",
        "the broker took it off its queue after a time to live that a policy has set",
    ),
    "rejected": ("broker_rejected", "a consumer at the broker rejected it, and did not have it put back"),
    "maxlen": ("broker_maxlen", "the broker took it off its queue to make room, as a policy has it do"),
}
"""RabbitMQ's reasons, as 3.10 to 4.x write them: what each is called here, and in a person's words.

`expired` alone is a participant's word for work of which nothing is known any more (P7).
"""

OTHERWISE: Final = "broker_other"
"""What a reason that is not known here is called; groups and filters stay few whatever a stranger writes."""

UNEXPLAINED: Final = "unexplained"


@dataclass(frozen=True, slots=True)
class Cause:
    """What a dead letter tells of its end; where it is permanent, trying again changes nothing."""

    error_type: str
    message: str
    permanent: bool


def cause_of(delivery: Delivery, headers: Mapping[str, Any]) -> Cause:
    """Why it lies in a dead-letter queue.

    What the broker itself has moved is told by the broker's reason, even where an earlier attempt has left
    its own error in ``headers``: what a service gives up starts without any death at the broker.
    """
    error_type, message = headers.get(ERROR_TYPE), headers.get(ERROR_MESSAGE)
    message = message if isinstance(message, str) else None
    earlier = f"{error_type}: {message or ''}" if isinstance(error_type, str) else None
    if delivery.died_of is not None:
        before = f"; before that: {earlier}" if earlier else ""
        called, said = BY_BROKER.get(delivery.died_of, (OTHERWISE, "the broker gave it up"))
        return Cause(called, f"{said} ({delivery.died_of}){before}", permanent=False)
    if isinstance(error_type, str):
        permanent = headers.get(PERMANENT) is True
        return Cause(error_type, message or "", permanent)
    return Cause(UNEXPLAINED, message or "whoever put it here does not say why", permanent=False)
