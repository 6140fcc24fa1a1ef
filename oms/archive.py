"""A file that keeps what is pruned: one row a line, on the disk before it leaves the database."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from oms.embedded.private_file import MODE, sync_folder
from oms.failures import Failure


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
    """A new archive, for its owner alone: orders hold addresses and payment methods.

    Raises:
        Failure: the file is there already, or cannot be made.
    """
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE)
        sync_folder(file.parent)
    except FileExistsError:
        raise Failure(f"{file} is there already; an archive is a new file") from None
    except OSError as error:
        raise Failure(f"cannot make {file}: {error.strerror}") from None
    try:
        yield Archive(file, descriptor)
    finally:
        os.close(descriptor)
