"""A client of the HTTP API, for the command line and the demo.

Whatever goes wrong becomes an `ApiFailure` that a person can act on: the service's own problem document,
or a word about why there was no answer.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpx

from contracts.one_line import first_line
from contracts.problems import PROBLEM_JSON
from messaging.certificates import UnusableAuthorities, trusting, untrusted
from messaging.proxies import InvalidProxy, proxy_for
from messaging.retry_after import retry_after_s
from oms.event_stream import Event, NotAnEventStream, events_of
from oms.failures import Failure
from oms.loopback import is_loopback

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
    """The API did not answer."""


class Untrusted(Unreachable):
    """Who answers there cannot show that it is the API: asking again changes nothing."""


class BrokenOff(Unreachable):
    """Somebody is there, but what came is no whole answer."""


class NotTheApi(Unreachable):
    """Something answered that is not the API, such as a proxy before one that is away.

    Attributes:
        status: the HTTP status.
        retry_after_s: as `Refused.retry_after_s`.
    """

    def __init__(self, message: str, status: int, retry_after_s: float | None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class Refused(ApiFailure):
    """The API answered with an error.

    Attributes:
        status: the HTTP status.
        problem: the problem document (RFC 9457).
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
    """One server-sent event; ``data`` is its JSON, ``retry_s`` as in `Event`."""

    id: str
    kind: str
    data: Any
    retry_s: float | None = None


def token_for(url: str, given: str | None, folder: Path | None = None) -> str | None:
    """The token to send to ``url``: the given one, else the one in this folder.

    The folder's token belongs to an installation on this machine, so it goes to loopback addresses alone.
    """
    if given:
        return given
    if not _is_here(url):
        return None
    file = (folder or Path()) / TOKEN_FILE
    try:
        return file.read_text(encoding="utf-8-sig", errors="replace").strip() or None
    except OSError:
        return None


class ApiClient:
    """Asks the API at ``url``; use it in ``async with``.

    Raises:
        ApiFailure: ``url`` is not an http(s) URL, the token cannot be sent as a header, or what the
            environment says of authorities or proxies cannot be used.
    """

    def __init__(
        self, url: str, token: str | None = None, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.url = _checked(url)
        headers = {"Accept": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {_sendable(token)}"
        try:
            self._proxy = proxy_for(self.url)
            self._client = httpx.AsyncClient(
                base_url=self.url,
                headers=headers,
                timeout=httpx.Timeout(_ANSWER_S, connect=_CONNECT_S),
                transport=transport,
                verify=_verifying(self.url),
                proxy=_by_way_of(self._proxy),
                trust_env=False,
            )
        except (UnusableAuthorities, InvalidProxy) as error:
            raise ApiFailure(str(error)) from None

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
        request = self._request(method, path, json=body, params=_given(parameters), headers=headers)
        try:
            response = await self._client.send(request)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        document = _json(response)
        if not response.is_success:
            raise self._refused(response, document)
        if not isinstance(document, dict):
            raise self._not_the_api(response)
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

    async def events(self, path: str, last_event_id: str | None = None) -> AsyncGenerator[StreamEvent, None]:
        """Server-sent events until the server closes the stream. Raises ApiFailure."""
        headers = {"Accept": "text/event-stream"}
        if last_event_id:
            headers["Last-Event-ID"] = last_event_id
        timeout = httpx.Timeout(_SILENCE_S, connect=_CONNECT_S)
        request = self._request("GET", path, headers=headers, timeout=timeout)
        try:
            async with aclosing(await self._client.send(request, stream=True)) as response:
                if not response.is_success:
                    await response.aread()
                    raise self._refused(response, _json(response))
                if _media_type(response) in ("text/html", "application/json"):
                    raise self._not_the_api(response)
                async for event in events_of(response.aiter_bytes()):
                    yield _read(event)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        except NotAnEventStream as error:
            raise Unreachable(f"{self.url} sends no stream of events: {error}") from error

    def _request(self, method: str, path: str, **said: Any) -> httpx.Request:
        """A request that can be sent. Raises ApiFailure where something in it is none that HTTP can carry."""
        try:
            request = self._client.build_request(method, path, **said)
        except UnicodeEncodeError as error:
            where = "a header" if error.encoding == "ascii" else "a request"
            raise ApiFailure(f"{error.object[error.start]!r} cannot be sent in {where}") from None
        except (httpx.InvalidURL, ValueError) as error:
            raise ApiFailure(f"this cannot be sent: {first_line(error)}") from None
        if any(not character.isprintable() for value in request.headers.values() for character in value):
            raise ApiFailure("a control character cannot be sent in a header")
        return request

    def _unreachable(self, error: httpx.HTTPError) -> Unreachable:
        asked = urlsplit(self.url)
        why = untrusted(error, asked.hostname or "")
        if why is not None:
            return Untrusted(f"cannot reach {self.url} : {why}")
        if isinstance(error, httpx.ProxyError):
            return Unreachable(f"cannot reach {self.url} through the proxy: {first_line(error)}")
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            way = "does the proxy of the environment run?" if self._proxy else "is `oms run` running?"
            return Unreachable(f"cannot reach {self.url} : {way}")
        if isinstance(error, httpx.TimeoutException):
            return Unreachable(f"{self.url} does not answer in time")
        return BrokenOff(f"{self.url} did not answer properly: {first_line(error)}")

    def _refused(self, response: httpx.Response, document: Any) -> ApiFailure:
        """Every refusal of the API is a problem document; another has been written by somebody else."""
        if not isinstance(document, dict) or _media_type(response) != PROBLEM_JSON:
            return self._not_the_api(response)
        return Refused(response.status_code, document, _again_after_s(response))

    def _not_the_api(self, response: httpx.Response) -> NotTheApi:
        said = f"{response.reason_phrase or 'an error without explanation'} ({response.status_code})"
        if response.status_code < 500:
            said = f"{self.url} does not answer as the OMS API does, but {said}: is the URL right?"
        return NotTheApi(first_line(said), response.status_code, _again_after_s(response))


def _verifying(url: str) -> ssl.SSLContext | bool:
    """Authorities are read, and can be wrong, only where certificates are shown."""
    return trusting() if urlsplit(url).scheme == "https" else False


def _by_way_of(proxy: str | None) -> httpx.Proxy | None:
    if proxy is None:
        return None
    return httpx.Proxy(proxy, ssl_context=trusting() if proxy.startswith("https:") else None)


def _read(event: Event) -> StreamEvent:
    try:
        return StreamEvent(event.id, event.kind, json.loads(event.data), event.retry_s)
    except (ValueError, RecursionError):
        raise NotAnEventStream("what an event says is no JSON") from None


def _media_type(response: httpx.Response) -> str:
    return str(response.headers.get("Content-Type", "")).partition(";")[0].strip().lower()


def _again_after_s(response: httpx.Response) -> float | None:
    return retry_after_s(response.headers.get("Retry-After"))


def _json(response: httpx.Response) -> Any:
    try:
        return response.json() if response.content else None
    except (ValueError, RecursionError):
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
    return first_line(f"{'; '.join(said)} ({status})".replace("\n", " "))


def _field_error(error: Mapping[str, Any]) -> str:
    pointer, detail = error.get("pointer") or "", error.get("detail") or error.get("code") or ""
    return f"{pointer}: {detail}" if pointer else str(detail)


def _given(parameters: Parameters | None) -> dict[str, Any]:
    return {name: value for name, value in (parameters or {}).items() if value is not None}


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        httpx.URL(url)
        whole = url.isprintable() and " " not in parts.netloc
        sound = whole and parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except (ValueError, httpx.InvalidURL):
        sound = False
    if not sound:
        raise ApiFailure("--url (OMS_API_URL) must be an http(s) URL such as http://127.0.0.1:8000")
    return url.rstrip("/")


def _sendable(token: str) -> str:
    if not all("!" <= character <= "~" for character in token):
        raise ApiFailure("--token (OMS_ADMIN_TOKEN) may hold visible ASCII characters only")
    return token


def _is_here(url: str) -> bool:
    try:
        return is_loopback(urlsplit(url).hostname or "")
    except ValueError:
        return False
