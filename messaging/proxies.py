"""Which HTTP proxy stands between us and somebody outside, as the environment says."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit
from urllib.request import (  # type: ignore[attr-defined]  # the stubs know the second on some systems only
    getproxies_environment,
    proxy_bypass_environment,
)

_FOR_EVERYTHING: Final = "all"


class InvalidProxy(ValueError):
    """A variable names a proxy that cannot be used; the message names the variable, never its value."""


def proxy_for(url: str) -> str | None:
    """The proxy towards an http(s) URL; None where there is none, and always on this machine.

    ``HTTPS_PROXY`` and ``HTTP_PROXY`` by the URL's scheme, else ``ALL_PROXY``; not for hosts that
    ``NO_PROXY`` names: ``host``, ``.domain``, ``host:port`` or ``*``, with commas between. Small letters do
    as well.

    Raises:
        InvalidProxy: it is no http(s) URL.
    """
    asked = urlsplit(url)
    host = asked.hostname or ""
    proxies = getproxies_environment()
    kind = asked.scheme if asked.scheme in proxies else _FOR_EVERYTHING
    if kind not in proxies or _is_here(host):
        return None
    if proxy_bypass_environment(asked.netloc.rpartition("@")[2], proxies):
        return None
    return _checked(f"{kind.upper()}_PROXY", proxies[kind])


def _checked(variable: str, given: str) -> str:
    proxy = given if "://" in given else f"http://{given}"
    try:
        parts = urlsplit(proxy)
        sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise InvalidProxy(f"{variable}: allowed is a URL such as http://proxy.internal:3128")
    return proxy


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
