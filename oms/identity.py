"""Which installation the databases of the settings belong to, and making them another one's (M4)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from uuid import UUID

from sqlalchemy.exc import DBAPIError

from contracts.one_line import first_line
from messaging.sqlstates import cause_of
from migrations.installation import MEMBERS, agreed, identities, renew
from migrations.run import MigrationFailed
from oms.embedded.installation import embedded_url
from oms.failures import Failure
from oms.settings import Settings


async def known_installation(settings: Settings) -> UUID | None:
    """The installation of the databases of the settings; None where none is named, or none knows it.

    Raises:
        Failure: they belong to different ones, or cannot be read.
    """
    urls = _urls(settings)
    try:
        return await asyncio.to_thread(agreed, urls) if urls else None
    except (MigrationFailed, DBAPIError) as error:
        raise Failure(first_line(cause_of(error))) from None


@asynccontextmanager
async def member_urls(settings: Settings, folder: Path) -> AsyncIterator[Mapping[str, str]]:
    """The database of each service; where none is named, the one that `oms run` keeps in ``folder``.

    Raises:
        Failure: there is neither.
        ServerError: the one in the folder cannot be used.
    """
    urls = _urls(settings)
    async with AsyncExitStack() as exits:
        if not urls:
            urls = dict.fromkeys(MEMBERS, await embedded_url(exits, folder))
        yield urls


async def installations(urls: Mapping[str, str]) -> dict[str, UUID | None]:
    """The installation of each service's schema. Raises Failure where one cannot be read."""
    try:
        return await asyncio.to_thread(identities, urls)
    except DBAPIError as error:
        raise Failure(first_line(cause_of(error))) from None


async def become(urls: Mapping[str, str], identity: UUID) -> None:
    """Make all these schemas the given installation's. Raises Failure where that is not possible."""
    try:
        await asyncio.to_thread(renew, urls, identity)
    except (MigrationFailed, DBAPIError) as error:
        raise Failure(first_line(cause_of(error))) from None


def _urls(settings: Settings) -> dict[str, str]:
    return {name: url for name in MEMBERS if (url := settings.database_url_of(name)) is not None}
