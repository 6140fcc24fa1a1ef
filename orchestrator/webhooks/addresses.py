"""Where webhooks may go: not to this network's own addresses, whatever a name resolves to (S30).

A name is looked up anew for every connection, and may then mean something else than when the webhook was
added. So what is checked is the address of each socket, before it is connected.
"""

from __future__ import annotations

import socket
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any, Final

from yarl import URL

MAX_URL: Final = 2000

_NAT64: Final = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
_COMPATIBLE: Final = IPv6Network("::/96")
_SITE_LOCAL: Final = IPv6Network("fec0::/10")
_OF_A_CLOUD: Final = IPv4Address("168.63.129.16")
"""Looks like any other, and is answered by the machine beneath a virtual one in Azure."""


class Reach(Enum):
    """How far webhooks may go.

    Attributes:
        PUBLIC: to the public internet, over TLS.
        ANYWHERE: into this network as well, and without TLS.
    """

    PUBLIC = "public"
    ANYWHERE = "anywhere"


class UnusableUrl(ValueError):
    """Nothing is sent to this URL; the message says why, never the URL."""


class PrivateAddress(OSError):
    """An address that is not of the public internet; the message names no address of ours."""

    def __init__(self) -> None:
        super().__init__("the receiver's address is private, of this machine or reserved")


def receiver_url(text: str, reach: Reach) -> URL:
    """A checked URL of a receiver. A name is not looked up: what it means is checked when it is called.

    Raises:
        UnusableUrl: it is none, or one to which nothing is sent.
    """
    schemes = ("https",) if reach is Reach.PUBLIC else ("https", "http")
    expected = f"expected {' or '.join(f'{scheme}://host[:port]/path' for scheme in schemes)}"
    if len(text) > MAX_URL or not text.isascii() or not text.isprintable() or " " in text:
        raise UnusableUrl(f"{expected}, in {MAX_URL} visible ASCII characters at most")
    try:
        url = URL(text)
        well_formed = url.scheme in schemes and bool(url.host) and bool(url.port)
    except ValueError:
        raise UnusableUrl(expected) from None
    if not well_formed:
        raise UnusableUrl(expected)
    if url.user is not None or url.password is not None or url.fragment:
        raise UnusableUrl(f"{expected}, without user, password or fragment")
    if reach is Reach.PUBLIC and _is_ours(str(url.host)):
        raise UnusableUrl("this address is private, of this machine or reserved")
    return url


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet; what is none is not.

    Addresses of IPv6 that stand for one of IPv4 are what that is.
    """
    try:
        found: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, IPv6Address):
        inner = _within(found)
        if inner is not None:
            found = inner
        elif found in _SITE_LOCAL:
            return False
    return found.is_global and not found.is_multicast and found != _OF_A_CLOUD


def public_socket(address: tuple[Any, ...]) -> socket.socket:
    """A socket for one address as `getaddrinfo` gives it. Raises PrivateAddress."""
    family, kind, protocol, _, where = address
    if not is_public(str(where[0])):
        raise PrivateAddress
    return socket.socket(family=family, type=kind, proto=protocol)


def _within(address: IPv6Address) -> IPv4Address | None:
    """The address of IPv4 that an address of IPv6 leads to, in whichever of its forms."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _COMPATIBLE or any(address in network for network in _NAT64):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def _is_ours(host: str) -> bool:
    """Whether a host is known as one of ours without a look at any name server."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith((".localhost", ".local", ".internal")) or not name:
        return True
    try:
        return not is_public(socket.inet_ntoa(socket.inet_aton(name)))  # 127.1 and 0x7f000001 as well
    except OSError:
        return ":" in name and not is_public(name)
