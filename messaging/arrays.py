"""Columns of a batch as PostgreSQL array literals.

Multi-row statements take one array a column (``unnest``). The driver can make arrays of lists too, but it
looks at every element with regular expressions; here a message's body costs two `str.replace`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID


def array_literal(values: Iterable[Any]) -> str:
    """``[1, None, 'a"b']`` → ``{1,NULL,"a\\"b"}``. For text, bytes, UUIDs, numbers, booleans and times.

    Raises:
        TypeError: an element is of a type that has no safe literal here.
    """
    return "{" + ",".join([_element(value) for value in values]) + "}"


def _element(value: Any) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if value is None:
        return "NULL"
    if isinstance(value, UUID):
        return f"{value.int:032x}"
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return '"\\\\x' + value.hex() + '"'
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, int):
        return str(value)
    raise TypeError(f"no array literal for {type(value).__name__}")
