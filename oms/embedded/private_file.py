"""Files for their owner alone that are there whole or not at all, whatever a full disk or a kill does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from oms.embedded.child import Account

MODE: Final = 0o600


def write_private(path: Path, text: str, owner: Account | None = None) -> None:
    """Put a file of this text at ``path``, which has the old content until it has all of the new.

    What is unfinished stands beside it under another name, which the next call takes over; callers see to it
    that there is one at a time.

    Args:
        owner: who may read it instead of us.

    Raises:
        OSError: it cannot be written; ``path`` is as before.
    """
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
        if owner is not None:
            os.fchown(descriptor, owner.uid, owner.gid)
    unfinished.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Have the folder know its files, also after the power fails."""
    descriptor = os.open(folder.absolute(), os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
