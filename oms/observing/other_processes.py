"""What the other processes of this installation say of their health, asked where settings say they are."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import httpx
from pydantic import ValidationError

from messaging.certificates import trusting, untrusted
from orchestrator.http.health import Condition, Finding, Readiness

ASK_S: Final = 1.5
"""Seconds that a process gets to answer."""

MOST_BYTES: Final = 100_000


class OtherProcesses:
    """Asks each for its `/readyz`, all at once."""

    def __init__(self, urls: Mapping[str, str]) -> None:
        """
        Args:
            urls: where each process answers, by its name; never by way of a proxy.

        Raises:
            UnusableAuthorities: what the environment says of authorities cannot be used.
        """
        self._urls = dict(urls)
        self._client = httpx.AsyncClient(timeout=ASK_S, verify=_verifying(self._urls), trust_env=False)

    async def readiness(self) -> Mapping[str, Readiness]:
        """What each says; a process that says nothing is down."""
        found = await asyncio.gather(*map(self._of, self._urls.values()))
        return dict(zip(self._urls, found, strict=True))

    async def close(self) -> None:
        """Give the connections back."""
        await self._client.aclose()

    async def _of(self, url: str) -> Readiness:
        try:
            answer = await self._client.get(f"{url.rstrip('/')}/readyz")
            if len(answer.content) > MOST_BYTES:
                return _down("it answers too much")
            document = answer.json()
            # What is not ready says so with a problem that names the components as well.
            status = Condition.DOWN if answer.status_code == 503 else document.get("status")
            return Readiness.model_validate({"status": status, "components": document.get("components")})
        except httpx.TransportError as error:
            why = untrusted(error, urlsplit(url).hostname or "")
            return _down(why or f"it does not answer ({type(error).__name__})")
        except (RecursionError, httpx.DecodingError, ValueError, AttributeError, ValidationError):
            return _down("what answers there is none of our processes")


def _verifying(urls: Mapping[str, str]) -> ssl.SSLContext | bool:
    """Authorities are read, and can be wrong, only where certificates are shown."""
    return trusting() if any(urlsplit(url).scheme == "https" for url in urls.values()) else False


def _down(detail: str) -> Readiness:
    return Readiness(
        status=Condition.DOWN, components={"process": Finding(status=Condition.DOWN, detail=detail)}
    )
