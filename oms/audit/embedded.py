"""The database that `oms run` keeps in its folder, for an audit that was given no other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from oms.audit.sources import NEEDED, SANDBOX, DatabaseUrls, Sources, sources_of
from oms.embedded import EmbeddedPostgres
from oms.servers.folder_lock import FolderInUseError


@asynccontextmanager
async def sources_or_embedded(settings: DatabaseUrls, folder: Path) -> AsyncIterator[Sources]:
    """The databases of the settings; where they name none, the embedded one in ``folder``.

    A server that runs there is used as it is; else one runs for as long as the block does.

    Raises:
        AuditImpossible: no database is named, and there is none in the folder.
        ServerError: the one in the folder cannot be used.
    """
    named = any(settings.database_url_of(service) for service in (*NEEDED, "audit"))
    if named or not (folder / "data").exists():
        yield sources_of(settings)
        return
    server = EmbeddedPostgres(folder)
    async with AsyncExitStack() as exits:
        try:
            await exits.enter_async_context(server)
        except FolderInUseError:
            server.attach()
        yield Sources(dict.fromkeys((*NEEDED, SANDBOX), (server.url,)))
