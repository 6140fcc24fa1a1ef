"""One owner per folder: a lock the kernel lets go of when its holder dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from oms.embedded.child import ServerError


class FolderInUseError(ServerError):
    """Another process holds the folder."""


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Wait until nobody else works on `folder` (made where missing), then hold it to the end of the block."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


class FolderLock:
    """An exclusive lock on `folder`, held from `acquire` to `release` or until this process ends."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "lock"
        self._handle: int | None = None

    def acquire(self) -> None:
        """Take the lock; raises FolderInUseError, naming the holder, when it is taken."""
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(handle, 20).decode(errors="replace").strip() or "unknown"
            os.close(handle)
            raise FolderInUseError(f"{self._path.parent} is in use by process {holder}") from None
        self._handle = handle
        with suppress(OSError):  # the number is for people: a full disk does not stand in the way of the lock
            os.ftruncate(handle, 0)
            os.write(handle, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Let go; harmless when not held. The file stays: removing it would race with the next owner."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
