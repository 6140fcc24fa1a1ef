"""One delivery: an event as its receiver gets it, signed, and what the receiver says to it.

Signed as the Standard Webhooks specification has it: `webhook-id`, `webhook-timestamp` in seconds, and
`webhook-signature` with one ``v1,`` signature for each secret, HMAC-SHA256 over ``id.timestamp.body``.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import aiohttp
from yarl import URL

from messaging.certificates import trusting, untrusted
from messaging.proxies import InvalidProxy, proxy_for
from messaging.retry_after import retry_after_s
from orchestrator.webhooks.addresses import PrivateAddress, Reach, UnusableUrl, public_socket, receiver_url
from orchestrator.webhooks.webhook import KEY_MARK, MOST_WEBHOOKS

TIMEOUT_S: Final = 10.0
"""Seconds for one delivery, from the look-up of the receiver's name to the end of its answer."""

MAX_ANSWER_BYTES: Final = 64 * 1024
"""Of an answer that are read, so that the connection can be kept; of a longer one only the status counts."""

_GONE: Final = 410
_LOST: Final = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)


@dataclass(frozen=True, slots=True)
class WebhookMessage:
    """What is sent.

    Attributes:
        message_id: the same however often it is sent.
        timestamp: of this attempt, in seconds since 1970.
        body: JSON.
    """

    url: str
    message_id: str
    timestamp: int
    body: bytes
    secrets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of a delivery.

    Attributes:
        failure: why it was not taken, in a person's words and never in the receiver's; None where it was.
        is_gone: whether the receiver wants nothing more.
        again_after_s: seconds that it wants to be left alone; None where it did not say.
    """

    failure: str | None = None
    is_gone: bool = False
    again_after_s: float | None = None


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """One signature, with its version in front."""
    key = base64.b64decode(secret.removeprefix(KEY_MARK))
    signed = b".".join((message_id.encode(), str(timestamp).encode(), body))
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def headers_of(message: WebhookMessage) -> dict[str, str]:
    """The headers that a receiver verifies."""
    signed = (message.message_id, message.timestamp, message.body)
    signatures = (signature(each, *signed) for each in message.secrets)
    return {
        "Content-Type": "application/json",
        "webhook-id": message.message_id,
        "webhook-timestamp": str(message.timestamp),
        "webhook-signature": " ".join(signatures),
    }


class Courier:
    """Brings messages to their receivers over HTTP; redirects are not followed, certificates are verified.

    Raises:
        UnusableAuthorities: what the environment says of authorities cannot be used.
    """

    def __init__(self, reach: Reach, timeout_s: float = TIMEOUT_S) -> None:
        self.timeout_s = timeout_s
        self._reach = reach
        self._tls = trusting()
        self._direct: aiohttp.ClientSession | None = None
        self._by_proxy: aiohttp.ClientSession | None = None

    async def bring(self, message: WebhookMessage) -> Answered:
        """Send it once; never raises for what a receiver or the way to it does."""
        try:
            url = receiver_url(message.url, self._reach)
            async with asyncio.timeout(self.timeout_s):
                return await self._sent(url, message)
        except UnusableUrl as error:
            return Answered(f"nothing is sent to this URL: {error}")
        except TimeoutError:
            return Answered(f"no answer within {self.timeout_s:g} s")
        except InvalidProxy:
            return Answered("the proxy that the environment names cannot be used")
        except (aiohttp.ClientError, OSError) as error:
            return Answered(_said(error, url.host or ""))

    async def close(self) -> None:
        """Give connections back."""
        for session in filter(None, (self._direct, self._by_proxy)):
            await session.close()
        self._direct = self._by_proxy = None

    async def _sent(self, url: URL, message: WebhookMessage) -> Answered:
        try:
            return await self._once(url, message)
        except _LOST as lost:
            if isinstance(lost, aiohttp.ClientConnectorError):
                raise
            return await self._once(url, message)  # a kept connection that the receiver has closed meanwhile

    async def _once(self, url: URL, message: WebhookMessage) -> Answered:
        proxy = proxy_for(str(url))
        if proxy is not None:
            await self._check_by_name(url)
        async with self._session(proxy).post(
            url,
            data=message.body,
            headers=headers_of(message),
            allow_redirects=False,
            proxy=proxy,
        ) as response:
            await _read_some(response)
            return _answered(response.status, retry_after_s(response.headers.get("Retry-After")))

    async def _check_by_name(self, url: URL) -> None:
        """What a proxy will connect to it looks up itself; a name that is known here is looked at before.

        Raises PrivateAddress.
        """
        if self._reach is Reach.ANYWHERE:
            return
        try:
            found = await asyncio.get_running_loop().getaddrinfo(url.host, url.port)
        except OSError:
            return
        for address in found:
            public_socket(address).close()

    def _session(self, proxy: str | None) -> aiohttp.ClientSession:
        if proxy is not None:
            self._by_proxy = self._by_proxy or self._opened(None)
            return self._by_proxy
        if self._direct is None:
            self._direct = self._opened(public_socket if self._reach is Reach.PUBLIC else None)
        return self._direct

    def _opened(self, socket_factory: Any) -> aiohttp.ClientSession:
        connector = partial(aiohttp.TCPConnector, limit=MOST_WEBHOOKS, ssl=self._tls, use_dns_cache=False)
        return aiohttp.ClientSession(
            connector=connector(socket_factory=socket_factory),
            timeout=aiohttp.ClientTimeout(total=None),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "oms-webhooks"},
            auto_decompress=False,
        )


async def _read_some(response: aiohttp.ClientResponse) -> None:
    """To its end, where that is near; what is left closes the connection."""
    seen = 0
    async for chunk in response.content.iter_any():
        seen += len(chunk)
        if seen > MAX_ANSWER_BYTES:
            response.close()
            return


def _answered(status: int, again_after_s: float | None) -> Answered:
    if 200 <= status < 300:
        return Answered()
    if status == _GONE:
        return Answered("it answers 410: it wants nothing more", is_gone=True)
    if 300 <= status < 400:
        return Answered(f"it answers {status}: redirects are not followed")
    return Answered(f"it answers {status}", again_after_s=again_after_s)


def _said(error: aiohttp.ClientError | OSError, host: str) -> str:
    """Why nothing was taken; nothing that a receiver or a proxy has said stands in it."""
    if (why := untrusted(error, host)) is not None:
        return why
    if any(isinstance(each, PrivateAddress) or str(PrivateAddress()) in str(each) for each in _causes(error)):
        return str(PrivateAddress())
    match error:
        case aiohttp.ClientConnectorDNSError():
            return "its name is not known"
        case aiohttp.ClientConnectorError():
            return "it cannot be reached"
        case aiohttp.ClientHttpProxyError():
            return f"the proxy answers {error.status}"
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError() | aiohttp.ClientPayloadError():
            return "it breaks off before the end of its answer"
        case aiohttp.ClientResponseError():
            return "its answer cannot be read"
    return f"it cannot be reached ({type(error).__name__})"


def _causes(error: BaseException) -> Iterable[BaseException]:
    inner = getattr(error, "os_error", None)
    return [error] if inner is None else [error, inner]
