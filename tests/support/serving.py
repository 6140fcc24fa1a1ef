"""An application served for a test over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from oms.serving import served


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[str]:
    """The application on a loopback port of its own, served as every process serves its own."""
    async with served(app, "127.0.0.1", 0) as url:
        yield url
