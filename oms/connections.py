"""One HTTP connection, with bounds to what a client may take: time, bytes, requests ahead.

uvicorn bounds none of them: half a request is waited for, and a head is gathered, for ever. Beyond a bound
the client is told by a problem, where it can still understand one, and the connection ends.
"""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from contracts.problems import ProblemError
from orchestrator.http.problems import respond
from orchestrator.http.security import guarded_headers

PATIENCE_S: Final = 20.0
"""Seconds from the first moment at which a request may come, or from its first byte, to its last."""

BESIDE_BODY: Final = 64 * 1024
"""Bytes of a request that are not its body: head, trailers, the frames of chunks."""

REQUESTS_AHEAD: Final = 16
"""Requests that a client may send before the answer to an earlier one."""

CONNECTIONS: Final = 4_000
"""Connections held at once; one more is closed without a word."""


class Connection(HttpToolsProtocol):
    """A connection that ends when its client is too slow, too large or too far ahead."""

    _asked = False
    _asked_in_full = False
    _in_body = False
    _beside_body = 0
    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            transport.abort()
        else:
            self._be_patient()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._be_patient_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._asked_in_full = False
        self._beside_body += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._beside_body > BESIDE_BODY:
            self._end(TOO_LARGE)
        elif len(self.pipeline) > REQUESTS_AHEAD:
            self.transport.abort()
        elif not self._asked_in_full and self._patience is None:
            self._be_patient()

    def on_message_begin(self) -> None:
        """See the parser: a request begins."""
        super().on_message_begin()
        self._asked_in_full = False

    def on_headers_complete(self) -> None:
        """See the parser: the head is here."""
        super().on_headers_complete()
        self._asked = self._in_body = True

    def on_body(self, body: bytes) -> None:
        """See the parser: a part of the body."""
        self._beside_body -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """See the parser: the request is here."""
        super().on_message_complete()
        self._asked_in_full = True
        self._in_body = False
        self._beside_body = 0
        self._be_patient_no_more()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP is answered as every other error is."""
        self._end(MALFORMED)

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
        """Close the connection, with a problem where that cannot be taken for a part of an answer."""
        if not self._is_answering():
            self.transport.write(problem)
        self.transport.close()

    def _is_answering(self) -> bool:
        """Whether an earlier request's answer is under way, or this one's has begun."""
        if not self._asked:
            return False
        begun = self.cycle.response_started if self._in_body else not self.cycle.response_complete
        return begun or bool(self.pipeline)


def _encoded(status: int, code: str, detail: str) -> bytes:
    """A problem as the whole of an answer on the wire."""
    problem = ProblemError(status, code, detail, headers=guarded_headers({"Connection": "close"}, "http"))
    answer = respond(problem)
    lines = [name + b": " + value + b"\r\n" for name, value in answer.raw_headers]
    return b"".join([STATUS_LINE[status], *lines, b"\r\n", bytes(answer.body)])


MALFORMED: Final = _encoded(400, "malformed_request", "The request cannot be read.")
TOO_SLOW: Final = _encoded(408, "too_slow", "The request did not come in time.")
TOO_LARGE: Final = _encoded(431, "head_too_large", "The request's head is too large.")
