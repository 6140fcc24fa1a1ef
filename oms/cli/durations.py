"""Lengths of time as people write them (``90d``, ``12h``, ``30m``) and read them (``850 ms``, ``3 m``)."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

import typer

_UNITS: Final = {"w": 604800, "d": 86400, "h": 3600, "m": 60}
_DURATION: Final = re.compile(rf"([0-9]{{1,5}})([{''.join(_UNITS)}])")


def duration(text: str, option: str) -> timedelta:
    """The length of time that an option was given.

    Raises:
        BadParameter: it is none, or nothing; names the option.
    """
    found = _DURATION.fullmatch(text.strip())
    if found is None or not int(found[1]):
        raise typer.BadParameter(f"{option} takes a time such as 90d, 12h or 30m")
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]])


def span(seconds: float) -> str:
    """A length of time in its largest sensible unit: ``850 ms``, ``12 s``, ``3 m``, ``5 h``, ``2 d``."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for unit in ("d", "h", "m"):
        if seconds >= _UNITS[unit]:
            return f"{int(seconds // _UNITS[unit])} {unit}"
    return f"{seconds:.0f} s"


def exact_span(seconds: float) -> str:
    """A length of time as a timeline needs it: ``850 ms``, ``12.3 s``, ``2 m 05 s``, then as `span`."""
    if 1 <= seconds < _UNITS["m"]:
        return f"{seconds:.1f} s"
    if _UNITS["m"] <= seconds < _UNITS["h"]:
        return f"{int(seconds // 60)} m {int(seconds % 60):02} s"
    return span(seconds)
