"""How handling a message can fail; a business rejection is an outcome and never one of these (P8)."""

from __future__ import annotations


class TransientFailure(Exception):
    """Trying again later may help: the message takes the next retry hop and uses up an attempt."""


class PermanentFailure(Exception):
    """Trying again is pointless: the message goes to the dead letters at once.

    Attributes:
        kind: a short name for the failure, the dead letter's error type (``expired``, ``payload_mismatch``).
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Poison(PermanentFailure):
    """The message cannot be understood: undecodable, unknown type or version, unknown saga (S16)."""


class ForeignMessage(Exception):
    """The message is of another installation (M4): it goes to the dead letters at once, nothing is done.

    No permanent failure: to its own installation, which sends again what is not answered, it says nothing.
    """

    kind = "foreign_installation"
    """The dead letter's error type."""
