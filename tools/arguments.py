"""What the commands take."""

from __future__ import annotations

import argparse


def positive(text: str) -> int:
    """A whole number from 1, for ``type=`` of an argument."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number
