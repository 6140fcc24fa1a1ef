"""An installation's own database, for commands that work on it without the HTTP API."""

from __future__ import annotations

import getpass
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from messaging.clock import StorageClock
from messaging.identifiers import NewId, time_ordered_ids
from messaging.postgresql import create_engine
from migrations.run import pending_async
from oms.clocks import look
from oms.embedded.folder_lock import FolderInUseError
from oms.embedded.postgresql import EmbeddedPostgres
from oms.failures import Failure
from oms.settings import Settings
from oms.variables import PREFIX

_SERVICE: Final = "orchestrator"
_VARIABLE: Final = f"{PREFIX}{_SERVICE.upper()}_DATABASE_URL (or {PREFIX}DATABASE_URL)"


@asynccontextmanager
async def own_database(settings: Settings, folder: Path) -> AsyncIterator[AsyncEngine]:
    """The orchestrator's database; where none is named, the one that `oms run` keeps in ``folder``.

    Raises:
        Failure: there is no database, or its schema is not this program's.
        ServerError: the one in the folder cannot be used.
    """
    async with AsyncExitStack() as exits:
        url = settings.database_url_of(_SERVICE) or await embedded_url(exits, folder, _VARIABLE)
        if await pending_async(_SERVICE, url):
            raise Failure("the database's schema is not up to date: run `oms migrate` first")
        database = create_engine(url, pool_size=1)
        exits.push_async_callback(database.dispose)
        yield database


async def ids_of(database: AsyncEngine, rng: random.Random) -> NewId:
    """A source of ids that go by the database's clock, for as long as a command takes."""
    clock = StorageClock()
    await look(clock, database)
    return time_ordered_ids(rng, clock.milliseconds)


async def embedded_url(exits: AsyncExitStack, folder: Path, variable: str = f"{PREFIX}DATABASE_URL") -> str:
    """The database that `oms run` keeps in ``folder``, until ``exits`` close.

    Args:
        variable: what names another one.

    Raises:
        Failure: there is none.
        ServerError: it cannot be used.
    """
    if not (folder / "data").exists():
        raise Failure(f"{variable} must be set, or be in a folder where `oms run` has been")
    server = EmbeddedPostgres(folder)
    try:
        await exits.enter_async_context(server)
    except FolderInUseError:
        server.attach()
    return server.url


def operator_here() -> str:
    """Who sits at this terminal, for the audit log: as far as the operating system knows."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = ""
    plain = "".join(character for character in name if character.isascii() and character.isprintable())
    return f"cli:{plain[:64] or 'unknown'}"
