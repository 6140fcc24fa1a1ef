"""From bytes to orders and other inputs: lines, text in UTF-8, JSON, and what of it can be sent at all."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, Final

from contracts.problems import pointer

LONGEST_LINE: Final = 16 * 1024 * 1024
"""Bytes of one line of many; an order that the API takes is far shorter."""

LARGEST_DOCUMENT: Final = 512 * 1024 * 1024
"""Bytes of a list, which memory holds as a whole."""

DEEPEST: Final = 50
"""Levels of lists and objects within an order; the API knows three."""

ORDER: Final = "order"
INPUT: Final = "input"
"""What the documents of a file are called: orders, or inputs of sagas of any other kind."""

_BYTE_ORDER_MARKS: Final = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")


class NotAnOrder(ValueError):
    """A text is no order that could be sent; the message says why, and where in it."""


class Unfinished(NotAnOrder):
    """What is there is the beginning of a JSON document."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line that is not empty, with its number from 1; what is too long is cut at `LONGEST_LINE`."""

    number: int
    content: bytes


def lines_of(stream: IO[bytes], first_is_at_most: int = LONGEST_LINE, after: int = 0) -> Iterator[Line]:
    """Lines as LF ends them, of which no more than one is in memory.

    Args:
        first_is_at_most: bytes of the first one that is not empty.
        after: how many lines were read before.

    Raises:
        OSError: the stream cannot be read.
    """
    number, most = after, first_is_at_most
    while content := stream.readline(most + 1):
        number += 1
        if len(content) > most and not content.endswith(b"\n"):
            _skip_line(stream)
        if content.strip():
            yield Line(number, content)
            most = LONGEST_LINE


def _skip_line(stream: IO[bytes]) -> None:
    while (rest := stream.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
        pass


def text_of(content: bytes) -> str:
    """Text in UTF-8, without a mark of its byte order. Raises NotAnOrder."""
    if content.startswith(_BYTE_ORDER_MARKS) or b"\x00" in content:
        raise NotAnOrder("not text in UTF-8, but in UTF-16 or binary")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotAnOrder(f"not text in UTF-8: byte {error.start + 1} begins no character") from None


def order_of(line: Line, word: str = ORDER) -> Any:
    """The order that a line holds. Raises NotAnOrder."""
    if len(line.content) > LONGEST_LINE:
        raise NotAnOrder(f"longer than {LONGEST_LINE} bytes")
    document = document_of(text_of(line.content))
    check_order(document, word)
    return document


def document_of(text: str) -> Any:
    """What a JSON text says.

    Raises:
        Unfinished: it ends too early.
        NotAnOrder: it is no JSON.
    """
    with_end = text.rstrip()
    try:
        return json.loads(with_end)
    except json.JSONDecodeError as error:
        unfinished = error.pos >= len(with_end)
        raise (Unfinished if unfinished else NotAnOrder)(_said(error)) from None
    except ValueError:
        raise NotAnOrder("a number has too many digits") from None
    except RecursionError:
        raise NotAnOrder("nested too deeply") from None


def orders_in_list(text: str, word: str = ORDER) -> list[Any]:
    """The items of a JSON list, unchecked. Raises NotAnOrder, naming the item that is no JSON."""
    decoder, items = json.JSONDecoder(), list[Any]()
    at = _after_space(text, _after_space(text, 0) + 1)
    while text[at : at + 1] != "]" or items:
        try:
            item, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            raise NotAnOrder(f"{word} {len(items) + 1}: {_said(error)}") from None
        except ValueError:
            raise NotAnOrder(f"{word} {len(items) + 1}: a number has too many digits") from None
        except RecursionError:
            raise NotAnOrder(f"{word} {len(items) + 1}: nested too deeply") from None
        items.append(item)
        at = _after_space(text, at)
        if text[at : at + 1] != ",":
            break
        at = _after_space(text, at + 1)
    if text[at : at + 1] != "]" or text[at + 1 :].strip():
        raise NotAnOrder(f"after {word} {len(items)}: not JSON, a comma or the list's one end must follow")
    return items


def check_order(document: Any, word: str = ORDER) -> None:
    """Raises NotAnOrder for what cannot be sent, with a JSON pointer to what is wrong in it."""
    if not isinstance(document, dict):
        raise NotAnOrder(f"an {word} is a JSON object")
    left: list[tuple[tuple[str, ...], Any]] = [((), document)]
    while left:
        path, value = left.pop()
        if len(path) > DEEPEST:
            raise NotAnOrder(f"{pointer(path[:3])}: nested too deeply")
        why = _unsendable(value)
        if why is not None:
            raise NotAnOrder(f"{pointer(path) or 'a name in it'}: {why}")
        if isinstance(value, dict):
            left += [((*path, name), each) for name, each in value.items()]
        elif isinstance(value, list):
            left += [((*path, str(at)), each) for at, each in enumerate(value)]


def _unsendable(value: Any) -> str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN, and numbers without end or as large as 1e999, are no JSON"
    texts = (value,) if isinstance(value, str) else value if isinstance(value, dict) else ()
    if any("\ud800" <= character <= "\udfff" for text in texts for character in text):
        return "half of a character (a lone surrogate) is no text"
    return None


def _after_space(text: str, at: int) -> int:
    while text[at : at + 1] in (" ", "\t", "\r", "\n"):
        at += 1
    return at


def _said(error: json.JSONDecodeError) -> str:
    at = f"line {error.lineno}, column {error.colno}" if error.lineno > 1 else f"column {error.colno}"
    return f"not JSON: {error.msg} ({at})"
