"""The tokens of an installation, from its own database: so the first can be made before anybody has one."""

from __future__ import annotations

import random
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from oms.embedded.installation import ids_of, own_database
from oms.settings import Settings
from orchestrator.tokens import Tokens


@asynccontextmanager
async def tokens_of(settings: Settings, folder: Path) -> AsyncIterator[Tokens]:
    """The tokens in the orchestrator's database. Raises what `own_database` raises."""
    async with own_database(settings, folder) as database:
        rng = random.SystemRandom()
        yield Tokens(database, await ids_of(database, rng), secrets.token_urlsafe)
