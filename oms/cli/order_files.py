"""Orders out of a file: a JSON object, a JSON list, or one order a line, of which memory holds one."""

from __future__ import annotations

import codecs
import hashlib
import itertools
import json
import os
import stat
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Final
from uuid import uuid4

from oms.cli.order_text import (
    LARGEST_DOCUMENT,
    ORDER,
    Line,
    NotAnOrder,
    Unfinished,
    check_order,
    document_of,
    lines_of,
    order_of,
    orders_in_list,
    text_of,
)
from oms.failures import Failure

STDIN: Final = "-"
KEY_LENGTH: Final = 40
LARGEST_OF_AN_OPTION: Final = 1024 * 1024
"""Bytes of a file that an option names; the API takes less."""


class UnreadableOrders(Failure):
    """What was given is no JSON, or no order stands in it."""


@dataclass(frozen=True, slots=True)
class Numbered:
    """One order as it stands in the file; ``line`` is its line, or its place in a list, from 1."""

    line: int
    document: Any


@dataclass(frozen=True, slots=True)
class Unusable:
    """Something in an order's place that cannot be sent; ``error`` says why."""

    line: int
    error: str


Item = Numbered | Unusable


@dataclass(frozen=True, slots=True)
class Source:
    """Orders to be read once.

    Attributes:
        total: how many there are, None while that is not known.
        unit: what the numbers count: lines, or the orders of a list.
    """

    orders: Iterator[Item]
    total: int | None
    unit: str = "line"


KeyOf = Callable[[Numbered], str]
"""The idempotency key of an order."""


def opened(file: str, word: str = ORDER) -> Source:
    """The orders of a file, or of stdin, whatever the locale's encoding is.

    Args:
        word: what each of them is called.

    Raises:
        UnreadableOrders: it is empty or begins with something that is no JSON.
        OSError: it cannot be opened or read.
    """
    if file == STDIN:
        return source_of(_stdin(), STDIN, None, word)
    stream = Path(file).open("rb")  # noqa: SIM115  closed by whoever reads the last order, in a thread
    try:
        source = source_of(stream, file, _counted(stream), word)
    except BaseException:
        stream.close()
        raise
    return replace(source, orders=_closing(stream, source.orders))


def _stdin() -> IO[bytes]:
    """Past the buffer that the interpreter closes in the end, and waits for while a thread reads from it."""
    try:
        return open(sys.stdin.fileno(), "rb", closefd=False)
    except (OSError, ValueError):
        return sys.stdin.buffer


def _closing(stream: IO[bytes], orders: Iterator[Item]) -> Iterator[Item]:
    with stream:
        yield from orders


def _counted(stream: IO[bytes]) -> int | None:
    """Lines that are not empty; None for what can be read only once, such as a pipe."""
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        return None
    lines = sum(1 for _ in lines_of(stream))
    stream.seek(0)
    return lines


def source_of(stream: IO[bytes], name: str, lines: int | None, word: str = ORDER) -> Source:
    """The orders of a stream. ``lines`` that are not empty, where it is known how many there are.

    Raises:
        UnreadableOrders: it is empty or begins with something that is no JSON.
        OSError: it cannot be read.
    """
    try:
        first = next(lines_of(stream, LARGEST_DOCUMENT), None)
        if first is None:
            raise NotAnOrder(f"there is no {word} in it")
        head = first.content.removeprefix(codecs.BOM_UTF8).lstrip()[:1]
        if head == b"[":
            return _list(orders_in_list(text_of(_whole(first, stream, word)), word), word)
        if head != b"{":
            text_of(first.content)
            raise NotAnOrder("neither JSON nor one JSON object a line")
        if _is_beginning(first):
            return _single(Line(first.number, _whole(first, stream, word)), word)
        second = next(lines_of(stream, after=first.number), None)
        if second is None:
            return _single(first, word)
    except NotAnOrder as error:
        raise UnreadableOrders(f"{name}: {error}") from None
    following = itertools.chain([first, second], lines_of(stream, after=second.number))
    return Source(_read(following, word), lines)


def _whole(first: Line, stream: IO[bytes], word: str) -> bytes:
    content = first.content + stream.read(LARGEST_DOCUMENT)
    if len(content) > LARGEST_DOCUMENT:
        raise NotAnOrder(f"longer than {LARGEST_DOCUMENT} bytes: write one {word} a line instead")
    return content


def _is_beginning(line: Line) -> bool:
    """Whether a document begins on this line and does not end on it."""
    try:
        document_of(text_of(line.content))
    except Unfinished:
        return True
    except NotAnOrder:
        return False
    return False


def _single(line: Line, word: str) -> Source:
    try:
        document = document_of(text_of(line.content))
        check_order(document, word)
    except NotAnOrder as error:
        raise NotAnOrder(f"line {line.number}: {error}") from None
    return Source(iter([Numbered(line.number, document)]), 1)


def _list(orders: list[Any], word: str) -> Source:
    if not orders:
        raise NotAnOrder(f"there is no {word} in it")

    def checked() -> Iterator[Item]:
        for at, order in enumerate(orders, start=1):
            try:
                check_order(order, word)
            except NotAnOrder as error:
                yield Unusable(at, str(error))
            else:
                yield Numbered(at, order)

    if len(orders) == 1:
        check_order(orders[0], word)
    return Source(checked(), len(orders), unit=word)


def _read(lines: Iterable[Line], word: str) -> Iterator[Item]:
    """The orders of all lines; where reading fails, the last one is what could not be read."""
    number = 0
    try:
        for line in lines:
            number = line.number
            try:
                yield Numbered(number, order_of(line, word))
            except NotAnOrder as error:
                yield Unusable(number, str(error))
    except OSError as error:
        yield Unusable(number + 1, f"cannot be read, nor what follows it: {error.strerror or error}")


def document_given(text: str, option: str) -> Any:
    """A JSON object that an option holds, or names as ``@FILE`` (``@-`` is stdin).

    Raises:
        UnreadableOrders: it cannot be sent; the message names the option and says why.
        OSError: its file cannot be read.
    """
    try:
        document = document_of(_text_given(text))
        if not isinstance(document, dict):
            raise NotAnOrder("it is no JSON object")
        check_order(document)
    except NotAnOrder as error:
        raise UnreadableOrders(f"{option}: {error}") from None
    return document


def _text_given(text: str) -> str:
    if not text.startswith("@"):
        return text
    if text[1:] == STDIN:
        with _stdin() as stream:
            return text_of(stream.read(LARGEST_OF_AN_OPTION))
    with Path(text[1:]).open("rb") as stream:
        return text_of(stream.read(LARGEST_OF_AN_OPTION))


def keys_for(source: Source, given: str | None, new: bool) -> KeyOf:
    """Where the idempotency keys come from.

    Args:
        given: the key that was asked for; of several orders each gets it with its line.
        new: keys that were never used, so that what was submitted before is submitted again.
    """
    if given is not None:
        return lambda order: given if source.total == 1 else f"{given}-{order.line}"
    return (lambda _order: f"cli-{uuid4()}") if new else content_keys()


def content_keys() -> KeyOf:
    """Keys made from what the order says, so that the same file gives the same keys.

    An order that stands in a file twice is two orders: each repetition has a key of its own.
    """
    seen: Counter[bytes] = Counter()

    def key(order: Numbered) -> str:
        canonical = json.dumps(order.document, sort_keys=True, separators=(",", ":"))
        content = hashlib.sha256(canonical.encode()).digest()
        seen[content] += 1
        return f"cli-{content.hex()[:KEY_LENGTH]}-{seen[content]}"

    return key
