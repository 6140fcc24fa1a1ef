"""The tokens and the people of an installation, from its own database and folder."""

from __future__ import annotations

import random
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog
from pydantic import SecretStr

from oms.embedded.folder_lock import exclusive
from oms.embedded.installation import ids_of, own_database
from oms.embedded.private_file import write_private
from oms.failures import Failure
from oms.settings import Settings, is_token, same_tokens
from orchestrator.people import People
from orchestrator.tokens import Tokens

log = structlog.get_logger(__name__)


def admin_token_in(folder: Path, settings: Settings) -> SecretStr:
    """The random admin token of this folder, made at the first start; readable by its owner alone.

    Raises:
        Failure: the file holds no token, or the same as a setting.
    """
    path = folder / "admin-token"
    with exclusive(folder):
        if not path.exists():
            write_private(path, secrets.token_urlsafe(32))
    token = SecretStr(path.read_text(encoding="utf-8-sig", errors="replace").strip())
    if not is_token(token.get_secret_value()):
        raise Failure(f"{path} holds no token: delete it, and the next start makes a new one")
    if doubled := same_tokens({**settings.tokens, str(path): token}):
        raise Failure(doubled)
    log.info("using the random admin token", file=str(path))
    return token


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
