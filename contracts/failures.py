"""What stands on a message that failed, on its way to a retry queue or to the dead letters (D1).

All of it is said by whoever failed. Whoever collects dead letters gets along without any of it.
"""

from __future__ import annotations

from typing import Final

ERROR_TYPE: Final = "error-type"
ERROR_MESSAGE: Final = "error-message"
ERROR_STACK: Final = "error-stack"
PERMANENT: Final = "error-permanent"
FIRST_FAILURE_AT: Final = "first-failure-at"
LAST_FAILURE_AT: Final = "last-failure-at"
ORIGINAL_EXCHANGE: Final = "original-exchange"
ORIGINAL_ROUTING_KEY: Final = "original-routing-key"
ORIGINAL_QUEUE: Final = "original-queue"
ORIGINAL_MESSAGE_ID: Final = "original-message-id"
ORIGINAL_TYPE: Final = "original-type"

MAX_ERROR_CHARACTERS: Final = 1000
MAX_STACK_CHARACTERS: Final = 4000

MEANING: Final[dict[str, str]] = {
    ERROR_TYPE: "A short name of what went wrong; people group dead letters by it.",
    ERROR_MESSAGE: f"What went wrong, in at most {MAX_ERROR_CHARACTERS} characters; nothing sensitive.",
    ERROR_STACK: f"Where, innermost last, in at most {MAX_STACK_CHARACTERS} characters; may be empty.",
    PERMANENT: "True where trying again is pointless: the saga then stops sending the command again.",
    FIRST_FAILURE_AT: "When it failed first (ISO 8601 with an offset); kept by the hops that follow.",
    LAST_FAILURE_AT: "When it failed last.",
    ORIGINAL_EXCHANGE: "By which exchange it came first; kept by the hops that follow, as all originals are.",
    ORIGINAL_ROUTING_KEY: "With which routing key.",
    ORIGINAL_QUEUE: "From which queue it was taken.",
    ORIGINAL_MESSAGE_ID: "Which message id it had: each hop has its own.",
    ORIGINAL_TYPE: "Which type it had.",
}
"""Every header, in the order in which the documents list them."""

EXAMPLE: Final[dict[str, str | bool]] = {
    ERROR_TYPE: "payload_mismatch",
    ERROR_MESSAGE: "reserve was asked for with another payload before (P2)",
    ERROR_STACK: "",
    PERMANENT: True,
    FIRST_FAILURE_AT: "2026-01-01T00:00:00+00:00",
    LAST_FAILURE_AT: "2026-01-01T00:00:06+00:00",
    ORIGINAL_EXCHANGE: "oms.commands",
    ORIGINAL_ROUTING_KEY: "inventory",
    ORIGINAL_QUEUE: "inventory.commands",
    ORIGINAL_MESSAGE_ID: "019aa7b2-0000-7000-8000-000000000006",
    ORIGINAL_TYPE: "ReserveInventory",
}
"""Of a command that was given up."""
