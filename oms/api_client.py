"""A client of the HTTP API, for the command line and the demo.

Whatever goes wrong becomes an `ApiFailure` that a person can act on: the service's own problem document,
or a word about why there was no answer.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpx

from oms.failures import Failure

TOKEN_FILE: Final = Path(".oms/admin-token")
"""Where `oms run` leaves the admin token of this folder's own installation."""

LARGEST_PAGE: Final = 200
_CONNECT_S: Final = 5.0
_ANSWER_S: Final = 40.0
"""Longer than the longest `Prefer: wait`, in seconds."""
_SILENCE_S: Final = 60.0
"""Longest silence of an event stream, which sends a comment every 15 s."""

Parameters = Mapping[str, Any]
Document = dict[str, Any]
"""A JSON object as the API gave it."""


class ApiFailure(Failure):
    """The API could not be asked, or said no."""


class Unreachable(ApiFailure):
    """Nobody answered."""


class Refused(ApiFailure):
    """The API answered with an error.

    Attributes:
        status: the HTTP status.
        problem: the problem document (RFC 9457), empty when there was none.
        retry_after_s: seconds after which the API asks to be tried again; None when it does not.
    """

    def __init__(self, status: int, problem: Mapping[str, Any], retry_after_s: float | None = None) -> None:
        super().__init__(_in_one_line(status, problem))
        self.status = status
        self.problem = problem
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Answer:
    """A success: its status, headers and JSON object."""

    status: int
    headers: Mapping[str, str]
    body: Document


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One server-sent event; ``data`` is its JSON."""

    id: str
    kind: str
    data: Any


def token_for(url: str, given: str | None, folder: Path | None = None) -> str | None:
    """The token to send to ``url``: the given one, else the one in this folder.

    The folder's token belongs to an installation on this machine, so it goes to loopback addresses alone.
    """
    if given:
        return given
    if not _is_loopback(url):
        return None
    try:
        return ((folder or Path()) / TOKEN_FILE).read_text().strip() or None
    except OSError:
        return None


class ApiClient:
    """Asks the API at ``url``; use it in ``async with``.

    Raises:
        ApiFailure: ``url`` is not an http(s) URL, or the token cannot be sent as a header.
    """

    def __init__(
        self, url: str, token: str | None = None, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.url = _checked(url)
        headers = {"Accept": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {_sendable(token)}"
        self._client = httpx.AsyncClient(
            base_url=self.url,
            headers=headers,
            timeout=httpx.Timeout(_ANSWER_S, connect=_CONNECT_S),
            transport=transport,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def get(self, path: str, parameters: Parameters | None = None) -> Document:
        """The JSON object that a GET answers. Raises ApiFailure."""
        return (await self.send("GET", path, parameters=parameters)).body

    async def post(self, path: str, body: Any) -> Document:
        """The JSON object that a POST answers. Raises ApiFailure."""
        return (await self.send("POST", path, body=body)).body

    async def put(self, path: str, body: Any) -> Document:
        """The JSON object that a PUT answers. Raises ApiFailure."""
        return (await self.send("PUT", path, body=body)).body

    async def send(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        parameters: Parameters | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request and its answer. ``parameters`` that are None are left out. Raises ApiFailure."""
        try:
            response = await self._client.request(
                method, path, json=body, params=_given(parameters), headers=dict(headers or {})
            )
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        if not response.is_success:
            raise _refused(response)
        document = _json(response)
        if not isinstance(document, dict):
            raise ApiFailure(f"{self.url}{path} does not answer as the OMS API does: is the URL right?")
        return Answer(response.status_code, response.headers, document)

    async def items(self, path: str, parameters: Parameters, limit: int) -> Document:
        """The first ``limit`` items of a list, over as many pages as it takes, in the form of one page.

        Raises:
            ApiFailure: as `send` does.
        """
        found: list[Any] = []
        cursor = parameters.get("cursor")
        while True:
            size = min(limit - len(found), LARGEST_PAGE)
            page = await self.get(path, {**parameters, "limit": size, "cursor": cursor})
            found += page.get("items", [])
            cursor = page.get("next_cursor")
            if cursor is None or len(found) >= limit:
                return {"items": found, "next_cursor": cursor}

    async def events(self, path: str, last_event_id: str | None = None) -> AsyncIterator[StreamEvent]:
        """Server-sent events until the server closes the stream. Raises ApiFailure."""
        headers = {"Accept": "text/event-stream"}
        if last_event_id:
            headers["Last-Event-ID"] = last_event_id
        timeout = httpx.Timeout(_SILENCE_S, connect=_CONNECT_S)
        try:
            async with self._client.stream("GET", path, headers=headers, timeout=timeout) as response:
                if not response.is_success:
                    await response.aread()
                    raise _refused(response)
                async for event in _parsed(response.aiter_lines()):
                    yield event
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: httpx.HTTPError) -> Unreachable:
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            return Unreachable(f"cannot reach {self.url} : is `oms run` running?")
        if isinstance(error, httpx.TimeoutException):
            return Unreachable(f"{self.url} does not answer in time")
        return Unreachable(f"{self.url} did not answer properly: {_first_line(error)}")


async def _parsed(lines: AsyncIterator[str]) -> AsyncIterator[StreamEvent]:
    """Events of a stream: fields until an empty line; comments are skipped."""
    fields: dict[str, str] = {}
    async for line in lines:
        if not line:
            if "data" in fields:
                yield StreamEvent(fields.get("id", ""), fields.get("event", ""), json.loads(fields["data"]))
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            fields[name] = f"{fields[name]}\n{value}" if name == "data" and name in fields else value


def _refused(response: httpx.Response) -> Refused:
    problem = _json(response)
    if not isinstance(problem, dict):
        problem = {"title": response.reason_phrase or "an error without explanation"}
    try:
        retry_after_s: float | None = float(response.headers["Retry-After"])
    except (KeyError, ValueError):
        retry_after_s = None
    return Refused(response.status_code, problem, retry_after_s)


def _json(response: httpx.Response) -> Any:
    try:
        return response.json() if response.content else None
    except ValueError:
        return None


def _in_one_line(status: int, problem: Mapping[str, Any]) -> str:
    """A problem document as one line: its detail, each field's error, what is allowed instead."""
    said = [str(problem.get("detail") or problem.get("title") or "refused").rstrip(".")]
    errors = problem.get("errors")
    if isinstance(errors, list):
        said += [_field_error(error) for error in errors if isinstance(error, dict)]
    allowed = problem.get("allowed_actions")
    if isinstance(allowed, list):
        said.append(f"allowed now: {', '.join(map(str, allowed)) or 'nothing'}")
    if status == 401:
        said.append("give --token or OMS_ADMIN_TOKEN")
    return _first_line(f"{'; '.join(said)} ({status})".replace("\n", " "))


def _field_error(error: Mapping[str, Any]) -> str:
    pointer, detail = error.get("pointer") or "", error.get("detail") or error.get("code") or ""
    return f"{pointer}: {detail}" if pointer else str(detail)


def _first_line(message: object) -> str:
    return (str(message).strip().splitlines() or [type(message).__name__])[0][:1000]


def _given(parameters: Parameters | None) -> dict[str, Any]:
    return {name: value for name, value in (parameters or {}).items() if value is not None}


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise ApiFailure("--url (OMS_API_URL) must be an http(s) URL such as http://127.0.0.1:8000")
    return url.rstrip("/")


def _sendable(token: str) -> str:
    if not all("!" <= character <= "~" for character in token):
        raise ApiFailure("--token (OMS_ADMIN_TOKEN) may hold visible ASCII characters only")
    return token


def _is_loopback(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
