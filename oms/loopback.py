"""Whether a host is this machine, told from its name or address alone."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address


def is_loopback(host: str) -> bool:
    """Whether ``host`` is `localhost` or an address of loopback, in whichever way that is written."""
    try:
        found = ip_address(host)
    except ValueError:
        return host == "localhost"
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return found.is_loopback
