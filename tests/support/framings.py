"""Conversations over one connection, made up from a seed: how requests may be framed, well and badly.

What another parser (h11) makes of the same bytes says what should come of them; where ours differs on
purpose, the difference has a name here.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import h11

SMUGGLED: Final = b"GET /livez HTTP/1.1\r\nHost: smuggled\r\n\r\n"
"""A body that must never be taken for a request."""

THE_END: Final = b"GET /the-end HTTP/1.1\r\nHost: oms\r\nConnection: close\r\n\r\n"

_BODIES: Final = (
    b"",
    b"{}",
    b"\r\n",
    b"0\r\n\r\n",
    SMUGGLED,
    b"0\r\n\r\n" + SMUGGLED,
    b"{}\r\n\r\n" + SMUGGLED * 2,
    bytes(range(256)),
    b"x" * 3000,
)
_OFFERS: Final = (
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n",
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAA\r\nSec-WebSocket-Version: 13\r\n",
    b"connection: keep-alive, upgrade\r\nupgrade: TLS/1.0, h2c\r\nUpgrade: more\r\n",
    b"Proxy-Connection: upgrade\r\nUpgrade: h2c\r\n",
    b"Upgrade: h2c\r\n",
)
_HARMLESS: Final = (
    b"X-Empty:\r\nX-Blank: \t \r\n",
    b"Expect: 100-continue\r\n",
    b"Connection: keep-alive\r\n",
    b"Content-Type: application/json\r\n",
)
_ODDITIES: Final = (
    b"Content-Length: 5\r\n",
    b"Content-Length: +5\r\n",
    b"Content-Length: 5 5\r\n",
    b"Content-Length: 5, 5\r\n",
    b"Content-Length: 0x5\r\n",
    b"Content-Length: -1\r\n",
    b"Content-Length: \r\n",
    b"Content-Length : 5\r\n",
    b"Content-Length:\r\n 5\r\n",
    b"Content-Length: 99999999999999999999999\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"Transfer-Encoding: xchunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Transfer-Encoding: chunked, chunked\r\n",
    b"Transfer-Encoding: chunked, identity\r\n",
    b"Transfer-Encoding: chunked;q=1\r\n",
    b"Transfer-Encoding: \x0bchunked\r\n",
    b"Transfer-Encoding : chunked\r\n",
    b"Transfer-Encoding:\r\n chunked\r\n",
    b"Transfer-Encoding: \r\n",
    b"Transfer_Encoding: chunked\r\n",
    b"X: folded\r\n Content-Length: 5\r\n",
    b"X: bare\nContent-Length: 5\r\n",
    b"X: bare\rContent-Length: 5\r\n",
    b"X: nul\x00Content-Length: 5\r\n",
    b" Content-Length: 5\r\n",
    b"Host: other\r\n",
    b"Connection: close\r\n",
    b"Expect: something-else\r\n",
)
_EXTENSIONS: Final = (b"", b"", b"", b";a", b";a=b", b';a="b;c"', b" ", b";a\n", b' ;"\r\n')
_SIZES: Final = (b"%x", b"%x", b"%x", b"%x", b"%X", b"0%x", b"+%x", b"0x%x", b"-%x", b" %x", b"%x_")
_TRAILERS: Final = (
    b"",
    b"",
    b"X-Trailer: a\r\n",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Authorization: Bearer forged\r\nHost: forged\r\nExpect: 100-continue\r\n",
    b"Connection: upgrade\r\nUpgrade: h2c\r\n",
    b"X: a\r\n b\r\n",
)
_STARTS: Final = (b"", b"", b"", b"", b"", b"\r\n", b"\r\n\r\n")


Seen = tuple[bytes, bytes, tuple[tuple[bytes, bytes], ...], bytes]
"""A request: method, target, fields, body."""


@dataclass
class Heard:
    """What a parser made of a connection's bytes.

    Attributes:
        requests: those that came to their end.
        refused: whether it found something that is no HTTP.
        last: whether nothing may follow: the last request closes the connection.
    """

    requests: list[Seen] = field(default_factory=list)
    refused: bool = False
    last: bool = False


_BLANKS: Final = re.compile(rb"\A([A-Z]+) +([!-~]+) +(HTTP/1\.[01]\r\n)")


def heard(sent: bytes) -> Heard:
    """What h11 makes of these bytes, when each request is answered and no offer to upgrade is taken.

    It refuses two things that a server may pass over (RFC 9112, 2.2 and 3), so it does not see them: empty
    lines before a request, and more than one blank between the words of its first line.
    """
    found = Heard()
    while sent and not (found.refused or found.last):
        parser = h11.Connection(h11.SERVER)
        parser.receive_data(_BLANKS.sub(rb"\1 \2 \3", sent.lstrip(b"\r\n")))
        try:
            request = _next(parser)
        except h11.RemoteProtocolError:
            found.refused = True
            break
        if request is None:
            break
        found.requests.append(request)
        sent = parser.trailing_data[0]
        parser.send(h11.Response(status_code=404, headers=[("Content-Length", "0")]))
        parser.send(h11.EndOfMessage())
        found.last = parser.our_state is h11.MUST_CLOSE
    return found


def answers(said: bytes, *methods: bytes) -> list[int]:
    """The statuses of all that a server answered to requests with these methods, the interim ones left out.

    Fails where what it said is no HTTP, ends in the middle, or goes on after the last answer.
    """
    statuses = []
    for method in methods:
        if not said:
            break
        parser = h11.Connection(h11.CLIENT)
        parser.send(h11.Request(method=method, target="/", headers=[("Host", "oms")]))
        parser.send(h11.EndOfMessage())
        parser.receive_data(said)
        while not isinstance(event := parser.next_event(), h11.EndOfMessage):
            assert event is not h11.NEED_DATA, f"an answer has no end: {said!r}"
            if isinstance(event, h11.Response):
                statuses.append(event.status_code)
        said = parser.trailing_data[0]
    assert not said, f"more was answered than asked: {said!r}"
    return statuses


def _next(parser: h11.Connection) -> Seen | None:
    """A whole request; None while it has not come to its end. Raises RemoteProtocolError."""
    request, body = None, b""
    while (event := parser.next_event()) is not h11.NEED_DATA:
        if isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage) and request is not None:
            return request.method, request.target, tuple(request.headers), body
    return None


STRICTER: Final[Mapping[str, re.Pattern[bytes]]] = {
    "a length beside chunks": re.compile(
        rb"(?is)content-length.*transfer-encoding|transfer-encoding.*content-length"
    ),
    "a length twice": re.compile(rb"(?is)content-length.*content-length|content-length:[^\r\n]*,"),
    "chunks in HTTP/1.0": re.compile(rb"(?is)HTTP/1\.0\r.*transfer-encoding"),
    "a version that never was": re.compile(rb"HTTP/(?!1\.[01])"),
    "a method that nobody knows": re.compile(
        rb"(?m)^(?!(?:GET|POST|PUT|DELETE|HEAD|OPTIONS) )[^ \r\n]* .*HTTP/"
    ),
    "a tunnel": re.compile(rb"CONNECT "),
    "a host named twice or by nobody": re.compile(rb"(?is)host:.*host:|HTTP/1\.0"),
    "a field over several lines": re.compile(rb"\r\n[ \t]"),
    "a line that ends without a carriage return": re.compile(rb"(?<!\r)\n"),
    "a carriage return by itself": re.compile(rb"\r(?!\n)"),
    "white space around a chunk's size": re.compile(rb"(?i)\n[ \t]*[0-9a-f]+[ \t]|\n[ \t]+[0-9a-f]"),
    "an extension of a chunk that is none": re.compile(rb"(?i)\n[0-9a-f]+[ \t]*;"),
    "a chunk of 2**64 bytes": re.compile(rb"(?i)\n[0-9a-f]{16,}"),
    "a target that is none": re.compile(rb"(?m)^[A-Z]+ (?!/)|^[A-Z]+ [^ ]*[^!-~]"),
    "a body that was not waited for": re.compile(rb"(?i)expect: ?100-continue"),
}
"""What h11 reads and this server refuses; the connection ends there."""


def conversations(seed: int, count: int, targets: Sequence[bytes] = (b"/orders",)) -> Iterator[bytes]:
    """So many conversations; each ends with a request that closes the connection."""
    rng = random.Random(seed)
    for _ in range(count):
        sent = b"".join(_request(rng, rng.choice(targets)) for _ in range(rng.randint(1, 3)))
        if rng.random() < 0.15:
            sent = _damaged(rng, sent)
        yield sent + THE_END


def segments(rng: random.Random, sent: bytes) -> list[bytes]:
    """The bytes as the network may deliver them."""
    most = rng.choice((0, 1, 2, 5, 20))
    cuts = sorted({0, len(sent), *(rng.randrange(1, len(sent)) for _ in range(most))})
    return [sent[a:b] for a, b in pairwise(cuts)]


def _request(rng: random.Random, target: bytes) -> bytes:
    method = rng.choice((b"POST", b"POST", b"POST", b"PUT", b"GET", b"HEAD", b"DELETE", b"OPTIONS"))
    version = rng.choice((b"HTTP/1.1",) * 12 + (b"HTTP/1.0",))
    fields = [b"Host: oms\r\n"]
    fields += [rng.choice(_OFFERS)] * (rng.random() < 0.4)
    fields += [rng.choice(_HARMLESS)] * (rng.random() < 0.3)
    fields += [rng.choice(_ODDITIES)] * (rng.random() < 0.25)
    framing, body = _framed(rng, rng.choice(_BODIES))
    fields.append(framing)
    rng.shuffle(fields)
    start = rng.choice(_STARTS) + method + b" " + target + b" " + version + b"\r\n"
    return start + b"".join(fields) + b"\r\n" + body


def _framed(rng: random.Random, body: bytes) -> tuple[bytes, bytes]:
    """The field that frames a body, and the body in that frame."""
    way = rng.random()
    if way < 0.15:
        return b"", b""
    if way < 0.55:
        return b"Content-Length: %d\r\n" % len(body), body
    parts = []
    while body:
        size = rng.randint(1, len(body))
        odd = rng.random() < 0.1
        head = (rng.choice(_SIZES) if odd else b"%x") % size + (rng.choice(_EXTENSIONS) if odd else b"")
        parts.append(head + b"\r\n" + body[:size] + b"\r\n")
        body = body[size:]
    end = b"0\r\n" + (rng.choice(_TRAILERS) if rng.random() < 0.3 else b"") + b"\r\n"
    name = rng.choice((b"Transfer-Encoding: chunked\r\n", b"transfer-encoding:CHUNKED \r\n"))
    return name, b"".join(parts) + end


def _damaged(rng: random.Random, sent: bytes) -> bytes:
    """One byte lost, twice there, or another one."""
    at = rng.randrange(len(sent))
    instead = rng.choice(
        (b"", sent[at : at + 1] * 2, rng.choice((b"\r", b"\n", b"\x00", b" ", b":", b"\t", b"9")))
    )
    return sent[:at] + instead + sent[at + 1 :]
