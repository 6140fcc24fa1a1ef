"""Orders out of a file: a JSON object, a JSON list, or one order a line, of which memory holds one."""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final
from uuid import uuid4

from oms.failures import Failure

STDIN: Final = "-"
KEY_LENGTH: Final = 40


class UnreadableOrders(Failure):
    """What was given is no JSON, or no order stands in it."""


@dataclass(frozen=True, slots=True)
class Numbered:
    """One order as it stands in the file; ``line`` is its line, or its place in a list, from 1."""

    line: int
    document: Any


@dataclass(frozen=True, slots=True)
class Source:
    """Orders to be read once. ``total`` is how many there are, None while that is not known."""

    orders: Iterator[Numbered]
    total: int | None


KeyOf = Callable[[Numbered], str]
"""The idempotency key of an order."""


@contextmanager
def opened(file: str) -> Iterator[Source]:
    """The orders of a file, or of stdin.

    Raises:
        UnreadableOrders: it is empty or begins with something that is no JSON.
        OSError: it cannot be opened.
    """
    if file == STDIN:
        yield source_of(sys.stdin, STDIN, lines=None)
        return
    with Path(file).open(encoding="utf-8", errors="strict") as stream:
        lines = sum(1 for line in stream if line.strip())
        stream.seek(0)
        yield source_of(stream, file, lines)


def source_of(stream: IO[str], name: str, lines: int | None) -> Source:
    """The orders of a stream. ``lines`` that are not empty, where it is known how many there are.

    Raises:
        UnreadableOrders: it is empty or begins with something that is no JSON.
    """
    try:
        return _source_of(stream, name, lines)
    except UnicodeDecodeError:
        raise UnreadableOrders(f"{name}: not text in UTF-8") from None


def _source_of(stream: IO[str], name: str, lines: int | None) -> Source:
    number, first = _first_line(stream)
    if first is None:
        raise UnreadableOrders(f"{name}: there is no order in it")
    try:
        head = json.loads(first)
    except ValueError:
        return _whole(first + stream.read(), name)
    if isinstance(head, list):
        return _whole(first + stream.read(), name)
    gap, second = _first_line(stream)
    if second is None:
        return Source(iter([Numbered(number, head)]), 1)
    following = itertools.chain([(number + gap, second)], enumerate(stream, start=number + gap + 1))
    return Source(itertools.chain([Numbered(number, head)], _parsed(following, name)), lines)


def _first_line(stream: IO[str]) -> tuple[int, str | None]:
    for number, line in enumerate(stream, start=1):
        if line.strip():
            return number, line
    return 0, None


def _whole(text: str, name: str) -> Source:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise UnreadableOrders(f"{name}: neither JSON nor one JSON object a line: {error}") from None
    orders = document if isinstance(document, list) else [document]
    if not orders:
        raise UnreadableOrders(f"{name}: there is no order in it")
    return Source((Numbered(at, order) for at, order in enumerate(orders, start=1)), len(orders))


def _parsed(lines: Iterable[tuple[int, str]], name: str) -> Iterator[Numbered]:
    for number, line in lines:
        if line.strip():
            try:
                yield Numbered(number, json.loads(line))
            except ValueError as error:
                raise UnreadableOrders(f"{name}, line {number}: not JSON: {error}") from None


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
