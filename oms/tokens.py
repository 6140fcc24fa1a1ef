"""The tokens and the people of an installation, from its own database: also before anybody has a token."""

from __future__ import annotations

import random
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from oms.embedded.installation import ids_of, own_database
from oms.settings import Settings
from orchestrator.people import People
from orchestrator.tokens import Tokens


@asynccontextmanager
async def tokens_of(settings: Settings, folder: Path) -> AsyncIterator[Tokens]:
    """The tokens in the orchestrator's database. Raises what `own_database` raises."""
    async with own_database(settings, folder) as database:
        rng = random.SystemRandom()
        yield Tokens(database, await ids_of(database, rng), secrets.token_urlsafe)


@asynccontextmanager
async def people_of(settings: Settings, folder: Path) -> AsyncIterator[People]:
    """The people who have signed in. Raises what `own_database` raises."""
    async with own_database(settings, folder) as database:
        yield People(database, await ids_of(database, random.SystemRandom()))
