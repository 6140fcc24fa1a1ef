"""The example in Node.js in inventory's place, with a database of its own behind the same proxy."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import psycopg
from sqlalchemy import URL, make_url

from oms.embedded.postgresql import EmbeddedPostgres
from tests.system.deployment import Deployment
from tests.system.node_inventory import NodeDeployment, Warehouse
from tools.chaos.proxy import Proxy
from tools.nodejs import find_node

WAREHOUSE: Final = "warehouse"


def node_inventory(database: EmbeddedPostgres, way: Proxy) -> Callable[..., Deployment]:
    """See `stage.Cast`. Raises ServerError where there is no Node.js."""
    server = make_url(database.url)
    with psycopg.connect(_plain(server), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {WAREHOUSE}")
    warehouse = Warehouse(server.set(database=WAREHOUSE).render_as_string(hide_password=False))
    behind = _plain(server.set(database=WAREHOUSE, port=way.port))
    return partial(NodeDeployment, find_node(), warehouse, WAREHOUSE_DATABASE_URL=behind)


def _plain(url: URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)
