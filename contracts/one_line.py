"""What an error says, in one line for logs, answers and terminals."""

from __future__ import annotations

from typing import Final

LONGEST: Final = 300
"""Characters that are kept; errors of other people's code may hold whole documents."""


def first_line(error: object, longest: int = LONGEST) -> str:
    """The first line of what it says; its kind where it says nothing."""
    return (str(error).strip().partition("\n")[0] or type(error).__name__)[:longest]


def kind_and_line(error: BaseException, longest: int = LONGEST) -> str:
    """The same after its kind, for errors whose words mean little without it: ``KeyError: 'sku'``."""
    words = str(error).strip().partition("\n")[0][:longest]
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
