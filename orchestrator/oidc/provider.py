"""The provider as it describes itself: its addresses and its keys, asked for over HTTP within bounds."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator

from messaging.certificates import untrusted
from orchestrator.oidc.keys import Keys, keys_of
from orchestrator.oidc.remembered import ProviderUnavailable, Remembered

TIMEOUT_S: Final = 5.0
"""Seconds for one request, its answer read to the end."""

MAX_BYTES: Final = 1_000_000
"""Of an answer of the provider."""

_WELL_KNOWN: Final = "/.well-known/openid-configuration"

M = TypeVar("M", bound=BaseModel)


class Metadata(BaseModel):
    """What a provider says of itself (OpenID Connect Discovery 1.0), as far as it is used."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    end_session_endpoint: str | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False

    @field_validator("issuer")
    @classmethod
    def _the_one_asked_for(cls, value: str, asked: ValidationInfo) -> str:
        if value != (asked.context or {}).get("issuer"):
            raise ValueError("it is another issuer's")
        return value

    @field_validator(
        "authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint", "end_session_endpoint"
    )
    @classmethod
    def _as_safe_as_the_issuer(cls, value: str | None, asked: ValidationInfo) -> str | None:
        if value is not None and not _is_safe(value, str((asked.context or {}).get("issuer", ""))):
            raise ValueError("it is no https address")
        return value


class Provider:
    """An OpenID provider, by its issuer; asked when something of it is needed, not before."""

    def __init__(
        self,
        issuer: str,
        trust: ssl.SSLContext,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.issuer = issuer
        self._http = httpx.AsyncClient(
            timeout=2 * TIMEOUT_S,
            verify=trust,
            follow_redirects=False,
            headers={"Accept": "application/json"},
        )
        self._metadata = Remembered(self._ask_metadata, clock)
        self._keys = Remembered(self._ask_keys, clock)

    async def close(self) -> None:
        """Give the connections back."""
        await self._http.aclose()

    async def metadata(self) -> Metadata:
        """What it says of itself. Raises ProviderUnavailable."""
        return await self._metadata.value()

    async def keys(self) -> Keys:
        """The keys that it signs with. Raises ProviderUnavailable."""
        return await self._keys.value()

    async def newer_keys(self) -> Keys:
        """The same, when a key is missing among those that are known: it may have new ones."""
        return await self._keys.newer()

    async def ask(self, method: str, url: str, **sent: Any) -> tuple[int, Mapping[str, Any]]:
        """One request; the status and the JSON object that came back, empty where there is none.

        Raises:
            ProviderUnavailable: there was no answer, it was too long, or of the provider's own trouble.
        """
        try:
            async with asyncio.timeout(TIMEOUT_S), self._http.stream(method, url, **sent) as response:
                body = await _bounded(response)
        except (httpx.HTTPError, TimeoutError) as error:
            raise ProviderUnavailable(_said(error, url)) from None
        if response.status_code >= 500:
            raise ProviderUnavailable(f"the provider answers with {response.status_code}")
        return response.status_code, _object(body)

    async def _ask_metadata(self) -> Metadata:
        found = await self._document(self.issuer.rstrip("/") + _WELL_KNOWN)
        try:
            return Metadata.model_validate(found, context={"issuer": self.issuer})
        except ValidationError as error:
            [first, *_] = error.errors(include_url=False, include_input=False, include_context=False)
            field = ".".join(map(str, first["loc"]))
            said = first["msg"].removeprefix("Value error, ")
            raise ProviderUnavailable(f"its discovery document cannot be used: {field}: {said}") from None

    async def _ask_keys(self) -> Keys:
        metadata = await self.metadata()
        return keys_of(await self._document(metadata.jwks_uri))

    async def _document(self, url: str) -> Mapping[str, Any]:
        status, found = await self.ask("GET", url)
        if status != 200:
            raise ProviderUnavailable(f"the provider answers with {status} at {urlsplit(url).path}")
        return found


def _said(error: httpx.HTTPError | TimeoutError, url: str) -> str:
    if (why := untrusted(error, urlsplit(url).hostname or "")) is not None:
        return why
    match error:
        case httpx.ConnectError():
            return "the provider cannot be reached"
        case httpx.TimeoutException() | TimeoutError():
            return f"the provider does not answer within {TIMEOUT_S:g} s"
    return "the provider breaks off in the middle of its answer"


async def _bounded(response: httpx.Response) -> bytes:
    body = b""
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > MAX_BYTES:
            raise ProviderUnavailable(f"the provider's answer has more than {MAX_BYTES} bytes")
    return body


class _Anything(BaseModel):
    model_config = ConfigDict(extra="allow")


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        return _Anything.model_validate_json(body).model_extra or {}
    except ValidationError:
        return {}


def _is_safe(address: str, issuer: str) -> bool:
    """Over TLS; where the issuer itself is asked without, as in a trial on loopback, others may be too."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return bool(parts.hostname) and parts.scheme in ("https", urlsplit(issuer).scheme)
