"""Rules that the SQL keeps, or what only a real server does: taken away on PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from messaging import postgresql
from messaging.postgresql import SqlTransaction
from messaging.unit_of_work import PatientUnitOfWork
from orchestrator import postgresql as orchestrator_sql
from orchestrator.intake import Intake
from participants.inventory.stock import Shelf, StockLevel
from simulation.mutations import message_mutants, mutants, settings
from simulation.mutations.trial import Mutation
from simulation.patches import Patch

OF_THE_SQL: Final[Sequence[Mutation]] = (
    Mutation(
        "S2 row lock (SQL)",
        "sagas are read without FOR UPDATE; the version guard stays",
        (Patch(orchestrator_sql, "LOCK_SAGAS", mutants.sql_with(("FOR UPDATE OF s", ""))),),
        on_postgresql=True,
        within=40,
        known=2,
    ),
    Mutation(
        "S2 row lock and guards (SQL)",
        "nor are there guards: sagas and history are written over",
        (
            Patch(orchestrator_sql, "LOCK_SAGAS", mutants.sql_with(("FOR UPDATE OF s", ""))),
            Patch(orchestrator_sql, "UPDATE_SAGAS", mutants.sql_with(mutants.VERSION_GUARD)),
            Patch(orchestrator_sql, "INSERT_HISTORY", lambda statement: statement + mutants.WRITTEN_OVER),
        ),
        on_postgresql=True,
        within=40,
    ),
    Mutation(
        "S14 idempotency keys (SQL)",
        "a key that stands is written over",
        (Patch(orchestrator_sql, "CLAIM_KEYS", mutants.sql_with(("k.created_at < %s", "%s IS NOT NULL"))),),
        on_postgresql=True,
        within=40,
    ),
    Mutation(
        "S17 patience (SQL)",
        "a unit of work is run once",
        (Patch(PatientUnitOfWork, "run", mutants.never_again),),
        on_postgresql=True,
        within=40,
    ),
    Mutation(
        "S17 ambiguous commits (SQL)",
        "a repeated submission does not look for what was committed",
        (Patch(Intake, "_committed", mutants.nothing_was_committed),),
        adjust=settings.with_rates(COMMIT_AMBIGUOUS=0.3),
        on_postgresql=True,
        within=40,
        known=1,
    ),
    Mutation(
        "M1 outbox (SQL)",
        "what leaves is published, and not written down",
        (Patch(SqlTransaction, "commit", message_mutants.rows_left_out),),
        on_postgresql=True,
        within=40,
    ),
    Mutation(
        "M2 lease (SQL)",
        "a relay takes rows whose lease is somebody else's",
        (Patch(postgresql, "_CLAIM", mutants.sql_with(("claimed_until <= %s", "%s IS NOT NULL"))),),
        on_postgresql=True,
        within=40,
    ),
    Mutation(
        "P11 stock code and CHECK (SQL)",
        "whatever is asked for is reserved",
        (
            Patch(Shelf, "reserve", mutants.sold_whatever_is_there),
            Patch(StockLevel, "__post_init__", mutants.always(value=None)),
        ),
        on_postgresql=True,
        within=40,
        ddl=(
            (
                "ALTER TABLE inventory.stock DROP CONSTRAINT ck_stock_never_oversold",
                "ALTER TABLE inventory.stock ADD CONSTRAINT ck_stock_never_oversold"
                " CHECK (0 <= reserved AND reserved <= on_hand)",
            ),
        ),
    ),
)
