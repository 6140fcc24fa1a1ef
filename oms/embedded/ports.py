"""Loopback ports that are free right now."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack
from typing import Final

LOOPBACK = "127.0.0.1"

_OURS: Final = range(20_000, 32_000)
"""Below what systems give outgoing connections: while a server restarts, none of them takes its port."""

_TRIES: Final = 1_000


def free_ports(count: int) -> list[int]:
    """So many different ports that nobody listens on; another program may still be quicker to take one."""
    with ExitStack() as held:
        return [_bound(held).getsockname()[1] for _ in range(count)]


def _bound(held: ExitStack) -> socket.socket:
    bound = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    for port in random.SystemRandom().choices(_OURS, k=_TRIES):
        try:
            bound.bind((LOOPBACK, port))
        except OSError:
            continue
        return bound
    bound.bind((LOOPBACK, 0))
    return bound
