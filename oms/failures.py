"""What ends a command with one line for a person instead of a traceback."""

from __future__ import annotations


class Failure(Exception):
    """A command cannot do what it was asked; the message is one line that says why and what helps.

    Attributes:
        exit_code: what the process ends with.
    """

    exit_code = 1
