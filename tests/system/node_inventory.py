"""The example in Node.js in inventory's place: the same deployment, with this process instead of ours."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import psycopg
from sqlalchemy import make_url

from contracts.routing import INVENTORY
from tests.support.servers import PROJECT
from tests.system.deployment import OMS, Deployment, ServiceProcess
from tools.nodejs import Node

EXAMPLE: Final = PROJECT / "examples/participants/node"


class NodeProcess(ServiceProcess):
    """The example as a process."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], port: int, folder: Path
    ) -> None:
        super().__init__("node-inventory", [], environment, port, folder)
        self.command = command
        self.environment = environment

    async def start(self, command: Sequence[str] = OMS) -> None:
        """See `ServiceProcess.start`; it has a command of its own."""
        await super().start(self.command)


class Warehouse:
    """The database of the example, past the example."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.plain_url = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)

    async def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """What a query finds."""
        return await asyncio.to_thread(self._rows, query, values)

    async def execute(self, statement: str) -> None:
        """Change something."""
        await asyncio.to_thread(self._execute, statement)

    def _rows(self, query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.plain_url, autocommit=True) as connection:
            return connection.execute(query.encode(), values).fetchall()

    def _execute(self, statement: str) -> None:
        with psycopg.connect(self.plain_url, autocommit=True) as connection:
            connection.execute(statement.encode())


class NodeDeployment(Deployment):
    """All services, inventory the example's; the audit reads inventory's books in its database."""

    def __init__(
        self,
        node: Node,
        warehouse: Warehouse,
        broker_url: str,
        database_url: str,
        folder: Path,
        **variables: str,
    ) -> None:
        super().__init__(broker_url, database_url, folder, **variables)
        self.warehouse = warehouse
        self.environment["OMS_AUDIT_DATABASE_URL"] = warehouse.url
        port = self.services[INVENTORY].port
        environment = {
            "WAREHOUSE_CONTRACTS": str(PROJECT / "contracts/generated"),
            "WAREHOUSE_DATABASE_URL": warehouse.plain_url,
            **self.environment,
            "OMS_HEALTH_PORT": str(port),
        }
        command = (node.node, str(node.installed(EXAMPLE) / "participant.js"))
        self.services[INVENTORY] = NodeProcess(command, environment, port, self._folder)

    async def count_stock(self, sku: str, on_hand: int, location: str | None = None) -> None:
        """See `Deployment.count_stock`; the example knows one location, without a name."""
        assert location is None
        await self.warehouse.rows("SELECT warehouse.set_on_hand(%s, %s)", sku, on_hand)

    async def stock(self) -> list[tuple[str, int, int]]:
        """See `Deployment.stock`."""
        rows = await self.warehouse.rows("SELECT sku, on_hand, reserved FROM warehouse.stock")
        return [(sku, on_hand, reserved) for sku, on_hand, reserved in rows]

    async def start(self) -> None:
        """See `Deployment.start`; then the views for the audit are made, as the example's README says."""
        await super().start()
        await self.warehouse.execute((EXAMPLE / "audit.sql").read_text())
