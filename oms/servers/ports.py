"""Loopback ports that are free right now."""

from __future__ import annotations

import socket
from contextlib import ExitStack

LOOPBACK = "127.0.0.1"


def free_ports(count: int) -> list[int]:
    """So many different ports that nobody listens on; another program may still be quicker to take one."""
    with ExitStack() as held:
        return [_bound(held).getsockname()[1] for _ in range(count)]


def _bound(held: ExitStack) -> socket.socket:
    bound = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    bound.bind((LOOPBACK, 0))
    return bound
