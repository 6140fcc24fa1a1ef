"""One HTTP connection, with bounds to what a client may take: time, bytes, requests ahead.

uvicorn bounds none of them: half a request is waited for, and a head is gathered, for ever. Beyond a bound
the client is told by a problem, where it can still understand one, and the connection ends.

What is a request and what is its body is decided here for good: whatever is body is never read as a request,
and where client and server might disagree on it the connection ends. `tests/integration/test_framing.py`
compares that with another parser.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import httptools
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from oms.heads import origin_form, refusal_of, without_offer
from oms.last_words import MALFORMED, NO_TUNNEL, TOO_LARGE, TOO_SLOW

PATIENCE_S: Final = 20.0
"""Seconds from the first moment at which a request may come, or from its first byte, to its last."""

BESIDE_BODY: Final = 64 * 1024
"""Bytes of a request that are not its body: head, trailers, the frames of chunks."""

REQUESTS_AHEAD: Final = 16
"""Requests that a client may send before the answer to an earlier one."""

CONNECTIONS: Final = 4_000
"""Connections held at once; one more is closed without a word."""


class Refused(Exception):
    """A head that is not used; the parser stops there."""


class HttpConnection(HttpToolsProtocol):
    """A connection that ends when its client is too slow, too large, too far ahead or not understood."""

    _asked = False
    _asked_in_full = False
    _in_body = False
    _beside_body = 0
    _patience: asyncio.TimerHandle | None = None
    _answering: RequestResponseCycle | None = None
    _refusal = MALFORMED
    _last_words: bytes | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            transport.abort()
        else:
            self._be_patient()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`. Also who answers a request that others are queued behind hears of it."""
        self._be_patient_no_more()
        super().connection_lost(exc)
        if self._answering is not None and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._last_words is not None:
            return
        self._asked_in_full = False
        self._beside_body += len(data)
        self._unset_keepalive_if_required()
        try:
            self._read(data)
        except httptools.HttpParserError:
            self._end(self._refusal)
        if self.transport.is_closing() or self._last_words is not None:
            return
        if self._beside_body > BESIDE_BODY:
            self._end(TOO_LARGE)
        elif len(self.pipeline) > REQUESTS_AHEAD:
            self.transport.abort()
        elif not self._asked_in_full and self._patience is None:
            self._be_patient()

    def _read(self, data: bytes) -> None:
        """Feed the parser, which leaves HTTP behind a head that offers another protocol: no offer is taken.

        It has read neither the length nor the body then, so that the head is read again without the offer.
        """
        while data and len(self.pipeline) <= REQUESTS_AHEAD:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as offer:
                head = without_offer(
                    self.parser.get_method(), self.url, self.parser.get_http_version(), self.headers
                )
                data = head + data[offer.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)

    def on_message_begin(self) -> None:
        """See the parser: a request begins."""
        super().on_message_begin()
        self._asked_in_full = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """See the parser: a field of the head. One behind the body is no part of what was asked."""
        if not self._in_body:
            super().on_header(name, value.strip(b" \t"))

    def on_headers_complete(self) -> None:
        """See the parser: the head is here."""
        if self.parser.get_method() == b"CONNECT":
            self._refuse(NO_TUNNEL)
        if self.parser.should_upgrade():
            return
        version = self.parser.get_http_version()
        refusal = refusal_of(version, self.headers)
        if refusal is not None:
            self._refuse(refusal)
        if version == "1.0":
            self.expect_100_continue = False
        if not self.url.startswith(b"/"):
            self.url = origin_form(self.url)
        super().on_headers_complete()
        self._asked = self._in_body = True

    def on_body(self, body: bytes) -> None:
        """See the parser: a part of the body."""
        self._beside_body -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """See the parser: the request is here."""
        if self.parser.should_upgrade():
            return
        super().on_message_complete()
        self._asked_in_full = True
        self._in_body = False
        self._beside_body = 0
        self._be_patient_no_more()

    def on_response_complete(self) -> None:
        """See uvicorn: the next request's turn, or that of the last words."""
        if self._last_words is not None and not self.pipeline and not self.transport.is_closing():
            self.transport.write(self._last_words)
            self.transport.close()
        super().on_response_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, _unasked(app, cycle) if cycle.waiting_for_100_continue else app)

    def _refuse(self, problem: bytes) -> None:
        self._refusal = problem
        raise Refused

    def _be_patient(self) -> None:
        self._patience = self.loop.call_later(PATIENCE_S, self._lose_patience)

    def _be_patient_no_more(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _lose_patience(self) -> None:
        if self._client_waits():
            self._be_patient()
        elif not self.transport.is_closing():
            self._end(TOO_SLOW)

    def _client_waits(self) -> bool:
        """Whether it is our turn: a request is being answered, or nothing is read."""
        answering = self._asked and not self._in_body and not self.cycle.response_complete
        return answering or self.flow.read_paused

    def _end(self, problem: bytes) -> None:
        """Read no more; the connection ends with this problem, once what was asked before is answered."""
        self._be_patient_no_more()
        unfinished = self.cycle if self._in_body else None
        if unfinished is not None and self.pipeline and self.pipeline[0][0] is unfinished:
            self.pipeline.popleft()
        elif unfinished is not None:  # it is the one that is being answered, and not from its beginning
            if not unfinished.response_started:
                self.transport.write(problem)
            unfinished.disconnected = True
            self.transport.close()
            return
        if self._answering is None or self._answering.response_complete:
            self.transport.write(problem)
            self.transport.close()
        else:
            self._last_words = problem


def _unasked(app: Any, cycle: RequestResponseCycle) -> Any:
    """Ends the connection where the body was not asked for: nobody knows whether the client sends it then."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        async def told(message: Message) -> None:
            starts = message["type"] == "http.response.start"
            if starts and cycle.waiting_for_100_continue and cycle.more_body:
                message["headers"] = [*message["headers"], (b"connection", b"close")]
            await send(message)

        await app(scope, receive, told)

    return application
