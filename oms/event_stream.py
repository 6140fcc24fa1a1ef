"""Server-sent events out of bytes, as the HTML standard has them.

Lines end at CR, LF or both, and nowhere else: the separators of lines and paragraphs that Unicode knows
besides are text like any other.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

_LINE_END: Final = re.compile("\r\n|\n|\r")

LONGEST_LINE: Final = 16 * 1024 * 1024
"""Characters without an end of line after which this is no stream of ours."""


class NotAnEventStream(ValueError):
    """What came is no stream of events."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event.

    Attributes:
        id: the last one that the stream has named, empty before the first.
        kind: empty where the event has none.
        data: its lines, with LF between.
        retry_s: seconds after which the server wants to be asked again when the stream has broken off.
    """

    id: str
    kind: str
    data: str
    retry_s: float | None = None


async def lines_of(chunks: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """Lines, wherever chunks begin and end: within a character, or between CR and LF.

    Raises:
        NotAnEventStream: a line does not end.
    """
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    held, to_drop = "", "\ufeff"
    async for chunk in chunks:
        decoded = decoder.decode(chunk)
        if not decoded:
            continue
        text = decoded.removeprefix(to_drop)
        to_drop = "\n" if decoded.endswith("\r") else ""
        *lines, held = _LINE_END.split(held + text)
        for line in lines:
            yield line
        if len(held) > LONGEST_LINE:
            raise NotAnEventStream("a line does not end")


async def events_of(chunks: AsyncIterator[bytes]) -> AsyncIterator[Event]:
    """Events that are complete; comments and unknown fields are skipped. Raises NotAnEventStream."""
    last_id, retry_s = "", None
    kind, data = "", list[str]()
    async for line in lines_of(chunks):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                yield Event(last_id, kind, "\n".join(data), retry_s)
            kind, data = "", []
        elif name == "data":
            data.append(value)
        elif name == "event":
            kind = value
        elif name == "id" and "\0" not in value:
            last_id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            retry_s = int(value[:9]) / 1000
