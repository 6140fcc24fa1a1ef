"""The rights that each service's work needs on its tables, as `deploy/postgresql/roles.sql` grants them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Final

from sqlalchemy import MetaData, Table

from contracts.routing import INVENTORY, ORCHESTRATOR, PAYMENT, SHIPPING
from oms.installed_participants import tables_of_kit
from oms.sandbox.tables import METADATA as SANDBOX_TABLES
from orchestrator import tables as orchestrator_tables
from participants.inventory.tables import METADATA as INVENTORY_TABLES
from participants.payment.tables import METADATA as PAYMENT_TABLES
from participants.tables import participant_metadata

_TABLES: Final[dict[str, MetaData]] = {
    ORCHESTRATOR: orchestrator_tables.METADATA,
    INVENTORY: INVENTORY_TABLES,
    PAYMENT: PAYMENT_TABLES,
    SHIPPING: participant_metadata(SHIPPING),
    "sandbox": SANDBOX_TABLES,
}
_ONLY_ADDED_TO: Final = frozenset({"history", "audit_log"})
_ONLY_READ: Final = frozenset({"installation"})
"""`oms migrate` has a role of its own."""
_ONLY_READ_BY_ORCHESTRATOR: Final = frozenset({"retention", *_ONLY_READ})
"""`oms prune` has one too."""


@cache
def needed_rights(service: str) -> tuple[tuple[str, str], ...]:
    """Pairs of a table's full name and a right on it, in their order."""
    rights = _of_orchestrator if service == ORCHESTRATOR else _of_others
    known = (_TABLES[service],) if service in _TABLES else tables_of_kit(service)
    tables = [table for each in known for table in each.sorted_tables]
    return tuple((f"{table.schema}.{table.name}", right) for table in tables for right in rights(table))


def _of_orchestrator(table: Table) -> Iterator[str]:
    yield "SELECT"
    if table.name in _ONLY_READ_BY_ORCHESTRATOR:
        return
    yield "INSERT"
    if table.name not in _ONLY_ADDED_TO:
        yield "UPDATE"
    if table.name == "outbox":
        yield "DELETE"


def _of_others(table: Table) -> Iterator[str]:
    yield "SELECT"
    if table.name in _ONLY_READ:
        return
    yield from ("INSERT", "UPDATE")
    if table.name == "outbox":
        yield "DELETE"
