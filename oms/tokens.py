"""The tokens of an installation, from its own database: so the first can be made before anybody has one."""

from __future__ import annotations

import random
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from messaging.identifiers import time_ordered_ids
from oms.installation import own_database
from oms.settings import Settings
from orchestrator.tokens import Tokens


@asynccontextmanager
async def tokens_of(settings: Settings, folder: Path) -> AsyncIterator[Tokens]:
    """The tokens in the orchestrator's database. Raises what `own_database` raises."""
    async with own_database(settings, folder) as database:
        rng = random.SystemRandom()
        yield Tokens(database, time_ordered_ids(rng), secrets.token_urlsafe)
