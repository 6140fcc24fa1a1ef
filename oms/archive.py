"""A file that keeps what is pruned: one row a line, on the disk before it leaves the database."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from oms.failures import Failure

MODE: Final = 0o600
"""Nobody else may read it: orders hold addresses and payment methods."""


class Archive:
    """Rows as newline-delimited JSON. Each `write` is safe when it returns."""

    def __init__(self, file: Path, descriptor: int) -> None:
        self._file = file
        self._descriptor = descriptor

    def write(self, rows: Sequence[str]) -> None:
        """Write rows down. Raises Failure where they could not be: the disk is full, say."""
        left = memoryview("".join(f"{row}\n" for row in rows).encode())
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
            os.fsync(self._descriptor)
        except OSError as error:
            raise Failure(
                f"cannot write to {self._file}: {error.strerror}; nothing more is removed"
            ) from None


@contextmanager
def archive_in(file: Path) -> Iterator[Archive]:
    """A new archive. Raises Failure where the file is there already, or cannot be made."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE)
        _keep_name(file)
    except FileExistsError:
        raise Failure(f"{file} is there already; an archive is a new file") from None
    except OSError as error:
        raise Failure(f"cannot make {file}: {error.strerror}") from None
    try:
        yield Archive(file, descriptor)
    finally:
        os.close(descriptor)


def _keep_name(file: Path) -> None:
    """Have the folder know the file, also after the power fails."""
    folder = os.open(file.absolute().parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
