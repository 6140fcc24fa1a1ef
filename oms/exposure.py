"""Whether an address can be reached from elsewhere, and what must have been said before it is served there.

Who tries things on a machine of their own need not think of tokens. Beyond loopback nothing that acts, or
shows what customers sent, is open to everybody unless somebody said so.
"""

from __future__ import annotations

from typing import Final

from oms.loopback import is_loopback
from oms.serving import addresses_of
from oms.settings import MissingSettings, Settings
from oms.variables import PREFIX

_TOKEN: Final = f"{PREFIX}ORDERS_TOKEN"
_ORDERS: Final = f"{PREFIX}ORDERS_OPEN=yes"
_SANDBOX: Final = f"{PREFIX}SANDBOX_OPEN=yes"


def is_beyond_loopback(host: str) -> bool:
    """Whether other machines may reach what listens there. Raises Failure where the name has no address."""
    return not all(map(is_loopback, addresses_of(host)))


def require_orders_guarded(settings: Settings, host: str) -> None:
    """Orders ask for a token beyond loopback, unless they are meant to be open. Raises MissingSettings."""
    if settings.orders_token is not None and settings.orders_open == "yes":
        raise MissingSettings(f"{_TOKEN} and {_ORDERS} contradict each other: take one away")
    if settings.orders_token is None and settings.orders_open == "no" and is_beyond_loopback(host):
        raise MissingSettings(
            f"{_TOKEN} must be set to serve on {host}: without it, everybody who reaches this address "
            f"may submit, list and cancel orders (where that is meant: {_ORDERS})"
        )


def require_sandbox_guarded(settings: Settings, host: str) -> None:
    """The sandbox asks nobody for a token, so it stays on loopback unless told. Raises MissingSettings."""
    if not may_show_sandbox(settings, host):
        raise MissingSettings(
            f"{_SANDBOX} must be set to serve the sandbox on {host}: it asks nobody for a token, and "
            "everybody who reaches this address may use it and see what was sent to it"
        )


def may_show_sandbox(settings: Settings, host: str) -> bool:
    """Whether the sandbox may answer over HTTP at this address."""
    return settings.sandbox_open == "yes" or not is_beyond_loopback(host)
