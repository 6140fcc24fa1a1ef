"""Names of exchanges, queues and routing keys: the addresses of `docs/broker.md`, in one place."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

COMMANDS_EXCHANGE: Final = "oms.commands"
"""Direct exchange; the routing key is the participant's name."""

EVENTS_EXCHANGE: Final = "oms.events"
"""Topic exchange; the routing key is the event's own, such as ``inventory.reserved``."""

INSTALLATION_EXCHANGE: Final = "oms.installation"
"""Says whose a virtual host is; nothing is published to it. See `installation_exchange`."""

DEFAULT_EXCHANGE: Final = ""
"""The broker's own exchange: the routing key is any queue's name. Only the orchestrator's replays use it."""

OUTCOMES_QUEUE: Final = "orchestrator.outcomes"

INVENTORY: Final = "inventory"
PAYMENT: Final = "payment"
SHIPPING: Final = "shipping"
ORCHESTRATOR: Final = "orchestrator"
PARTICIPANTS: Final = (INVENTORY, PAYMENT, SHIPPING)


_BATCHES: Final = ".batches"


class Batches(StrEnum):
    """Which messages may travel several in one (M5)."""

    NONE = "none"
    COMMANDS = "commands"
    ALL = "all"
    """Outcomes as well: whoever else listens to them does not hear of those that travel so."""


def installation_exchange(installation: object) -> str:
    """What the alternate exchange of `INSTALLATION_EXCHANGE` is called where that installation owns it.

    A broker compares it whenever the exchange is declared, and it can be looked up without any right.
    """
    return f"oms.{installation}"


def command_queue(participant: str) -> str:
    """The queue from which a participant takes its commands."""
    return f"{participant}.commands"


def batch_key(name: str) -> str:
    """The routing key of batches for a participant's commands, or for the orchestrator's outcomes (M5).

    A queue asks for batches by being bound with it: for commands to the exchange of commands, for outcomes to
    the `failure_exchange` of each participant that is to send them, to which nobody else binds anything.
    """
    return name + _BATCHES


def is_batch_key(key: str) -> bool:
    """Whether it is a `batch_key`."""
    return key.endswith(_BATCHES)


def retry_queue(queue: str, delay_s: float) -> str:
    """The queue that hands its messages back to ``queue`` after ``delay_s`` seconds."""
    return f"{queue}.retry.{delay_s:g}s"


def failure_exchange(queue: str) -> str:
    """The direct exchange by which the consumer of ``queue`` sends on what failed; the key is a queue's name.

    It leads to the retry queues and dead letters of this one queue and nowhere else, so that a service
    needs no right on the default exchange, which leads everywhere.
    """
    return f"{queue}.failed"


def dead_letter_queue(queue: str) -> str:
    """Where the messages of ``queue`` go that gave up."""
    return f"{queue}.dlq"
