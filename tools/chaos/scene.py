"""What customers, the course of a run and its verdict need of a stage, whatever servers are on it."""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Final

import psycopg
from sqlalchemy import make_url

from contracts.routing import PARTICIPANTS
from oms.embedded.postgresql import program
from tests.system.deployment import Deployment

OUTBOXES: Final = ("orchestrator", *PARTICIPANTS)
"""Schemas with an outbox of their own."""


class Scene(ABC):
    """All services as processes, and the servers that they need."""

    def __init__(self, services: Deployment) -> None:
        self.services = services

    @property
    @abstractmethod
    def database_url(self) -> str:
        """The services' database, past all that is in its way, for SQLAlchemy."""

    @abstractmethod
    async def control(self, *arguments: str) -> str:
        """`rabbitmqctl` on a node that is up."""

    @abstractmethod
    async def calm(self) -> None:
        """End what a fault may have left behind, whichever it was."""

    async def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Ask the database. Raises psycopg.OperationalError while it is away."""
        connection = await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True, connect_timeout=5)
        async with connection:
            return await (await connection.execute(query.encode(), parameters)).fetchall()

    def dump(self, folder: Path) -> None:
        """Write the whole database down, as `pg_dump` does."""
        with (folder / "database.sql").open("wb") as file:
            subprocess.run([program("pg_dump"), "--dbname", self._conninfo], stdout=file, check=False)

    @property
    def _conninfo(self) -> str:
        return make_url(self.database_url).set(drivername="postgresql").render_as_string(hide_password=False)
