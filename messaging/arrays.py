"""Columns of a batch as PostgreSQL array literals.

Multi-row statements take one array a column (``unnest``). The driver can make arrays of lists too, but it
looks at every element with regular expressions. A column of a batch holds one type almost always, and often
one and the same object in every row (a time, a type, a service's name): so a column is written as a whole,
and only a mixed one element by element.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from messaging.identifiers import AS_NUMBER


def array_literal(values: Sequence[Any]) -> str:
    """``[1, None, 'a"b']`` → ``{1,NULL,"a\\"b"}``. For text, bytes, UUIDs, numbers, booleans and times.

    Raises:
        TypeError: an element is of a type that has no safe literal here.
    """
    kinds = set(map(type, values))
    write = _COLUMN_WRITERS.get(kinds.pop()) if len(kinds) == 1 else None
    if write is None:
        return "{" + ",".join(map(_text_of, values)) + "}"
    first, size = values[0], len(values)
    if first is values[-1] and values.count(first) == size:
        return "{" + ",".join([write((first,))] * size) + "}"
    return "{" + write(values) + "}"


def _text_of(value: Any) -> str:
    """The literal of one element; a subclass, such as a text enumeration, is written as what it is one of."""
    write = _COLUMN_WRITERS.get(type(value))
    if write is not None:
        return write((value,))
    for kind, write in _COLUMN_WRITERS.items():
        if isinstance(value, kind):
            return write((value,))
    raise TypeError(f"no array literal for {type(value).__name__}")


def _nothing(values: Sequence[None]) -> str:
    return ",".join(["NULL"] * len(values))


def _booleans(values: Sequence[bool]) -> str:
    return ",".join(["t" if value else "f" for value in values])


def _numbers(values: Sequence[int]) -> str:
    return ",".join(map(str, values))


def _times(values: Sequence[datetime]) -> str:
    return ",".join(map(datetime.isoformat, values))


def _uuids(values: Sequence[UUID]) -> str:
    return ",".join(["%032x"] * len(values)) % tuple(map(AS_NUMBER, values))


def _byte_strings(values: Sequence[bytes]) -> str:
    return '"\\\\x' + '","\\\\x'.join(map(bytes.hex, values)) + '"'


def _texts(values: Sequence[str]) -> str:
    """Quotes and backslashes are escaped in all elements at once: no text of PostgreSQL's holds NUL."""
    together = _NUL.join(values)
    if together.count(_NUL) != len(values) - 1:
        raise ValueError("a text holds NUL, which PostgreSQL does not take")
    escaped = together.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace(_NUL, '","') + '"'


_NUL: Final = "\0"

_COLUMN_WRITERS: Final[dict[type, Callable[[Sequence[Any]], str]]] = {
    type(None): _nothing,
    str: _texts,
    UUID: _uuids,
    datetime: _times,
    bytes: _byte_strings,
    bool: _booleans,
    int: _numbers,
}
"""How a column of one type is written. Booleans are numbers too, so they come first."""
