"""Lengths of time as people write them: ``90d``, ``12h``, ``30m``, ``2w``."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

import typer

_DURATION: Final = re.compile(r"([0-9]{1,5})([mhdw])")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def duration(text: str, option: str) -> timedelta:
    """The length of time that an option was given.

    Raises:
        BadParameter: it is none, or nothing; names the option.
    """
    found = _DURATION.fullmatch(text.strip())
    if found is None or not int(found[1]):
        raise typer.BadParameter(f"{option} takes a time such as 90d, 12h or 30m")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})
