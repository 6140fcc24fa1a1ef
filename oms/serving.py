"""HTTP servers inside a process of ours: uvicorn without its own ideas about signals and logs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import structlog
import uvicorn

from oms.connections import HttpConnection
from oms.failures import Failure
from oms.log_writer import flush_logs

log = structlog.get_logger(__name__)

GRACE_S: Final = 5
"""Seconds that open requests get when the process stops."""

CUT_OFF: Final = 1
"""Exit code of a process that was not done when its time to stop had run out."""

IDLE_S: Final = 75
"""Seconds for which a connection without a request is kept.

Load balancers and clients keep theirs for 60 at most, as a rule: they hang up first, and no request of theirs
meets a connection that is being closed.
"""

UNREAD_S: Final = 30
"""Seconds after which a client that takes nothing of its answer is given up by the kernel."""


class _Server(uvicorn.Server):
    """The process, not the server, listens to signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


@contextlib.asynccontextmanager
async def served(app: Any, host: str, port: int) -> AsyncIterator[str]:
    """Serve an ASGI application while the block runs; gives the base URL. Port 0 takes a free one.

    Raises:
        Failure: the address cannot be listened on.
    """
    listener = _listen(host, port)
    _allow_many_files()
    config = uvicorn.Config(
        app,
        http=HttpConnection,
        ws="none",
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=IDLE_S,
        server_header=False,
    )
    server = _Server(config)
    running = asyncio.create_task(server.serve(sockets=[listener]), name="http server")
    try:
        bound_host, bound_port = listener.getsockname()[:2]
        shown = f"[{bound_host}]" if ":" in bound_host else bound_host
        yield f"http://{shown}:{bound_port}"
    finally:
        server.should_exit = True
        await asyncio.shield(running)


def addresses_of(host: str) -> list[str]:
    """The numeric addresses that a host's name, or an address, stands for. Raises Failure for none."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Failure(f"cannot listen on {host}: {error.strerror or error}") from None
    return [str(address[0]) for *_, address in found]


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sys.platform == "linux":
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_S * 1000)
        listener.bind(address)
        listener.listen()
    except OSError as error:
        raise Failure(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    return listener


def _allow_many_files() -> None:
    """A connection is a file, of which a process may have a thousand by default, and more when it asks."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def until_told_to_stop(within_s: float, on_signal: Callable[[], None] | None = None) -> asyncio.Event:
    """An event that SIGTERM and SIGINT set; a second signal ends the process at once.

    Args:
        within_s: seconds after the first signal at which the process ends, whatever it is waiting for.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def told() -> None:
        stop.set()
        if on_signal is not None:
            on_signal()
        _leave_after(within_s)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told)
    return stop


def _leave_after(within_s: float) -> None:
    """In a thread of its own: the event loop may be what does not come to its end."""
    timer = threading.Timer(within_s, _leave)
    timer.daemon = True
    timer.start()


def _leave() -> None:
    """As after a crash, on which nothing depends: others, or the next start, take up what is left."""
    log.error("not done in time, leaving all the same")
    flush_logs()
    os._exit(CUT_OFF)
