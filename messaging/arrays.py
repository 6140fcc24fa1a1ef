"""Columns of a batch as PostgreSQL array literals.

Multi-row statements take one array a column (``unnest``). The driver can make arrays of lists too, but it
looks at every element with regular expressions; here a message's body costs two `str.replace`. Many columns
hold one and the same object in every row (a time, a type, a service's name): it is written out once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final
from uuid import UUID


def array_literal(values: Iterable[Any]) -> str:
    """``[1, None, 'a"b']`` → ``{1,NULL,"a\\"b"}``. For text, bytes, UUIDs, numbers, booleans and times.

    Raises:
        TypeError: an element is of a type that has no safe literal here.
    """
    texts: list[str] = []
    text, before = "", _NOTHING
    for value in values:
        if value is not before:
            text, before = _WRITERS.get(type(value), _of_another_type)(value), value
        texts.append(text)
    return "{" + ",".join(texts) + "}"


def _text(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _uuid(value: UUID) -> str:
    return "%032x" % value.int  # noqa: UP031  half the time of a format specification


_NOTHING: Final = object()

_WRITERS: Final[dict[type, Callable[[Any], str]]] = {
    str: _text,
    type(None): lambda _: "NULL",
    UUID: _uuid,
    datetime: datetime.isoformat,
    bytes: lambda value: '"\\\\x' + value.hex() + '"',
    bool: lambda value: "t" if value else "f",
    int: str,
}


def _of_another_type(value: Any) -> str:
    """A subclass, such as a text enumeration, is written as what it is one of."""
    for kind, write in _WRITERS.items():
        if isinstance(value, kind):
            return write(value)
    raise TypeError(f"no array literal for {type(value).__name__}")
