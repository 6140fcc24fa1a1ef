"""Everything that an installation needs, looked at from where the command is run. Nothing is changed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from oms.doctor.broker import broker_findings
from oms.doctor.databases import database_findings
from oms.doctor.finding import Finding, note, wrong
from oms.doctor.surroundings import (
    policy_findings,
    provider_findings,
    setting_findings,
    version_findings,
)
from oms.embedded.child import ServerError
from oms.failures import Failure
from oms.identity import member_urls
from oms.settings import InvalidSettings, Settings, load_settings
from oms.variables import PREFIX
from oms.wiring import services_of

PATIENCE_S: Final = 60.0
"""Seconds that one part of the examination may take."""


async def examined(folder: Path, policies: str | None) -> AsyncIterator[Finding]:
    """One finding after the other.

    Args:
        folder: where `oms run` keeps a database of its own, where no variable names one.
        policies: what `rabbitmqctl` lists of them, where somebody has brought that along.
    """
    for finding in version_findings():
        yield finding
    try:
        settings = load_settings()
    except InvalidSettings as error:
        yield wrong("settings", str(error))
        return
    for finding in setting_findings(settings, os.environ):
        yield finding
    for part in (_of_databases(settings, folder), broker_findings(settings), provider_findings(settings)):
        async for finding in _in_time(part):
            yield finding
    for finding in policy_findings(settings, policies):
        yield finding


async def _of_databases(settings: Settings, folder: Path) -> AsyncIterator[Finding]:
    if not any(map(settings.database_url_of, services_of(settings))) and not (folder / "data").exists():
        yield note(
            "database",
            f"none is named or kept in this folder: `oms run` makes its own, every other process needs "
            f"{PREFIX}DATABASE_URL",
        )
        return
    try:
        async with member_urls(settings, folder) as urls:
            if not any(settings.database_url_of(name) for name in urls):
                yield note("database", "the one that `oms run` keeps in this folder")
                settings = settings.model_copy(update={"database_url": next(iter(urls.values()))})
            async for finding in database_findings(settings):
                yield finding
    except (Failure, ServerError) as error:
        yield wrong("database", str(error))


async def _in_time(findings: AsyncIterator[Finding]) -> AsyncIterator[Finding]:
    """The same; what does not come to an end is told."""
    while True:
        try:
            async with asyncio.timeout(PATIENCE_S):
                found = await anext(findings)
        except StopAsyncIteration:
            return
        except TimeoutError:
            yield wrong("time", f"no answer within {PATIENCE_S:g} s: look at the server that was asked last")
            return
        yield found


__all__ = ["Finding", "examined"]
