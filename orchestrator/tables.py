"""Tables of the orchestrator's schema.

An order and its document never change after they are written; what moves is the saga's row, kept narrow.
No index covers a column that an ordinary step changes, so that those updates stay within their page:
``due_at`` is moved only when it must be, ``ended_as`` is written once, at the end.
The same is true of a job's row, which moves with every dead letter of the job.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ColumnElement,
    DateTime,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    TypeDecorator,
    Uuid,
    func,
    literal_column,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSON
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.types import UserDefinedType

from messaging.postgresql import installation_table, outbox_table
from orchestrator.core.state import Status
from orchestrator.jobs.job import ItemResult, JobKind, JobState
from orchestrator.storage import DeadLetterStatus
from orchestrator.webhooks.webhook import State

METADATA: Final = MetaData(schema="orchestrator")


class TransactionId(UserDefinedType[str]):
    """PostgreSQL's ``xid8``: the number of a transaction, which grows for as long as a server lives."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        """As it stands in a table's definition."""
        return "XID8"


ischema_names["xid8"] = TransactionId
"""What the library does not know by itself when it looks at a table."""


def _moment() -> DateTime:
    return DateTime(timezone=True)


_EARLIEST: Final = "timestamptz '2000-01-01Z'"
_LATEST: Final = "timestamptz '9999-01-01Z'"

READABLE_TIME: Final = f"least(greatest({{}}, {_EARLIEST}), {_LATEST})"
"""A time that others have written: PostgreSQL keeps years of which Python knows nothing (S25)."""


class _TimeOfOthers(TypeDecorator[datetime]):
    """A `_moment` that is read as `READABLE_TIME`."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def column_expression(self, column: ColumnElement[datetime]) -> ColumnElement[datetime]:
        """What stands in a query's columns for it."""
        return func.least(func.greatest(column, literal_column(_EARLIEST)), literal_column(_LATEST))


def _one_of(column: str, values: type[StrEnum]) -> str:
    return f"{column} IN ({', '.join(repr(value.value) for value in values)})"


orders: Final = Table(
    "orders",
    METADATA,
    Column("order_id", Uuid, primary_key=True),
    Column("saga_id", Uuid, nullable=False),
    Column("customer_id", Text, nullable=False),
    Column("document", JSON, nullable=False),
    Column("created_at", _moment(), nullable=False),
    Index("orders_by_customer", "customer_id", "order_id"),
)

idempotency_keys: Final = Table(
    "idempotency_keys",
    METADATA,
    Column("customer_id", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("order_id", Uuid, nullable=False),
    Column("created_at", _moment(), nullable=False),
)

saga_references: Final = Table(
    "saga_references",
    METADATA,
    Column("definition", Text, primary_key=True),
    Column("owner", Text, primary_key=True),
    Column("reference", Text, primary_key=True),
    Column("saga_id", Uuid, nullable=False),
    Column("subject_id", Uuid, nullable=False),
    Index("saga_references_by_reference", "reference", "saga_id"),
    Index("saga_references_by_saga", "saga_id"),
)
"""What its owner calls a saga; only of sagas that were given a reference (S26)."""

saga_metadata: Final = Table(
    "saga_metadata",
    METADATA,
    Column("saga_id", Uuid, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
    Index("saga_metadata_by_value", "key", "value", "saga_id"),
)

sagas: Final = Table(
    "sagas",
    METADATA,
    Column("saga_id", Uuid, primary_key=True),
    Column("order_id", Uuid, nullable=False),
    Column("definition", Text, nullable=False),
    Column("definition_version", SmallInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("order_status", Text, nullable=False),
    Column("step", Text),
    Column("direction", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("revision", Integer, nullable=False, server_default="0"),
    Column("incident_kinds", ARRAY(Text), nullable=False),
    Column("due_at", _moment()),
    Column("created_at", _moment(), nullable=False),
    Column("updated_at", _moment(), nullable=False),
    Column("ended_at", _moment()),
    Column("ended_as", Text),
    Column("state", JSON, nullable=False),
    CheckConstraint(_one_of("status", Status), name="status_known"),
    CheckConstraint("order_status ~ '^[a-z][a-z0-9_]{0,63}$'", name="order_status_known"),
    CheckConstraint("direction IN ('forward', 'compensating')", name="direction_known"),
    CheckConstraint(
        "(status IN ('completed', 'compensated')) = (ended_at IS NOT NULL)", name="ended_has_time"
    ),
    CheckConstraint("(ended_at IS NOT NULL) = (ended_as IS NOT NULL)", name="ended_has_result"),
    Index("sagas_by_order", "order_id"),
    Index("sagas_due", "due_at", postgresql_where=text("due_at IS NOT NULL")),
    Index("sagas_active", "saga_id", postgresql_where=text("ended_as IS NULL")),
    Index("sagas_ended", "ended_as", "saga_id", postgresql_where=text("ended_as IS NOT NULL")),
    Index("sagas_ended_by_status", "status", "saga_id", postgresql_where=text("ended_as IS NOT NULL")),
    Index("sagas_by_definition", "definition", "saga_id"),
    Index("sagas_with_incident", "saga_id", postgresql_where=text("incident_kinds <> '{}'::text[]")),
    postgresql_with={"fillfactor": "50"},
)

history: Final = Table(
    "history",
    METADATA,
    Column("saga_id", Uuid, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("at", _moment(), nullable=False),
    Column("kind", Text, nullable=False),
    Column("accepted", JSON, nullable=False),
    Column("led_to", JSON, nullable=False),
    Column("transaction_id", TransactionId, nullable=False, server_default=text("pg_current_xact_id()")),
    Index("history_by_transaction", "transaction_id", "saga_id", "version"),
)
"""What sagas have accepted, and the feed of all events: ordered by who wrote an entry, see `store` (S29).

An entry is of transaction 0 where it is older than the column.
"""

dead_letters: Final = Table(
    "dead_letters",
    METADATA,
    Column("dead_letter_id", Uuid, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("work_key", Text, nullable=False),
    Column("death_ids", ARRAY(Text), nullable=False),
    Column("saga_id", Uuid),
    Column("step", Text),
    Column("direction", Text),
    Column("status", Text, nullable=False),
    Column("cause", Text),
    Column("version", Integer, nullable=False),
    Column("deaths", Integer, nullable=False),
    Column("queue", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("error_type", Text, nullable=False),
    Column("error_message", Text, nullable=False),
    Column("error_stack", Text, nullable=False),
    Column("permanent", Boolean, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("first_failed_at", _TimeOfOthers(), nullable=False),
    Column("last_failed_at", _TimeOfOthers(), nullable=False),
    Column("exchange", Text, nullable=False),
    Column("routing_key", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("headers", JSON, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("body_truncated", Boolean, nullable=False),
    Column("created_at", _moment(), nullable=False),
    Column("updated_at", _moment(), nullable=False),
    CheckConstraint(_one_of("status", DeadLetterStatus), name="dead_letter_status_known"),
    Index(
        "dead_letters_one_open",
        "work_key",
        unique=True,
        postgresql_where=text("status IN ('open', 'replaying')"),
    ),
    Index("dead_letters_by_work", "work_key"),
    Index("dead_letters_by_saga", "saga_id", postgresql_where=text("saga_id IS NOT NULL")),
    Index("dead_letters_by_status", "status", "dead_letter_id"),
    Index("dead_letters_by_kind", "status", "queue", "error_type", "dead_letter_id"),
    Index("dead_letters_by_queue", "queue", "dead_letter_id"),
    Index("dead_letters_by_error", "error_type", "dead_letter_id"),
    Index("dead_letters_by_step", "step", "dead_letter_id"),
)

audit_log: Final = Table(
    "audit_log",
    METADATA,
    Column("audit_id", Uuid, primary_key=True),
    Column("at", _moment(), nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("before", JSON, nullable=False),
    Column("after", JSON, nullable=False),
    Index("audit_log_by_actor", "actor", "audit_id"),
    Index("audit_log_by_action", "action", "audit_id"),
    Index("audit_log_by_subject", "subject", "audit_id"),
)

jobs: Final = Table(
    "jobs",
    METADATA,
    Column("job_id", Uuid, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("filter", JSON, nullable=False),
    Column("reason", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("rate_per_second", Float, nullable=False),
    Column("state", Text, nullable=False),
    Column("total", Integer, nullable=False),
    Column("succeeded", Integer, nullable=False),
    Column("refused", Integer, nullable=False),
    Column("refusals", JSON, nullable=False),
    Column("position", Uuid),
    Column("next_at", _moment(), nullable=False),
    Column("lease", Uuid),
    Column("leased_until", _moment(), nullable=False),
    Column("failure", Text),
    Column("ended_by", Text),
    Column("end_reason", Text),
    Column("version", Integer, nullable=False),
    Column("created_at", _moment(), nullable=False),
    Column("updated_at", _moment(), nullable=False),
    Column("finished_at", _moment()),
    Column("details", JSON),
    CheckConstraint(_one_of("kind", JobKind), name="job_kind_known"),
    CheckConstraint(_one_of("state", JobState), name="job_state_known"),
    CheckConstraint("(state = 'running') = (finished_at IS NULL)", name="job_ended_has_time"),
    CheckConstraint("succeeded >= 0 AND refused >= 0 AND succeeded + refused <= total", name="job_adds_up"),
    Index("jobs_running", "job_id", postgresql_where=text("state = 'running'")),
    postgresql_with={"fillfactor": "50"},
)

# The id of an item is called as it was when every job was on dead letters; it may be a saga's.
job_items: Final = Table(
    "job_items",
    METADATA,
    Column("job_id", Uuid, primary_key=True),
    Column("dead_letter_id", Uuid, primary_key=True),
    Column("seen_version", Integer, nullable=False),
    Column("result", Text, nullable=False),
    Column("code", Text),
    Column("explanation", Text),
    Column("at", _moment()),
    CheckConstraint(_one_of("result", ItemResult), name="job_item_result_known"),
    CheckConstraint("(result = 'pending') = (at IS NULL)", name="job_item_done_has_time"),
    Index("job_items_refused", "job_id", "dead_letter_id", postgresql_where=text("result = 'refused'")),
)

tokens: Final = Table(
    "tokens",
    METADATA,
    Column("token_id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("created_at", _moment(), nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", _moment()),
    Column("revoked_at", _moment()),
    Column("last_used_at", _moment()),
    CheckConstraint("role IN ('viewer', 'operator', 'admin')", name="token_role_known"),
    Index("tokens_by_digest", "digest", unique=True),
    Index("tokens_one_of_a_name", "name", unique=True, postgresql_where=text("revoked_at IS NULL")),
)

people: Final = Table(
    "people",
    METADATA,
    Column("person_id", Uuid, primary_key=True),
    Column("issuer", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("session_round", Integer, nullable=False),
    Column("signed_in_at", _moment(), nullable=False),
    CheckConstraint("role IN ('viewer', 'operator', 'admin')", name="person_role_known"),
    Index("people_by_subject", "issuer", "subject", unique=True),
)
"""Who has signed in at a provider, as it said then. A session is good while its round is the person's."""

webhooks: Final = Table(
    "webhooks",
    METADATA,
    Column("webhook_id", Uuid, primary_key=True),
    Column("url", Text, nullable=False),
    Column("types", ARRAY(Text), nullable=False),
    Column("state", Text, nullable=False),
    Column("pause", Text),
    Column("cursor", Text),
    Column("pruned_sagas", BigInteger, nullable=False),
    Column("secret", Text, nullable=False),
    Column("old_secret", Text),
    Column("old_until", _moment()),
    Column("version", Integer, nullable=False),
    Column("created_at", _moment(), nullable=False),
    Column("created_by", Text, nullable=False),
    Column("updated_at", _moment(), nullable=False),
    Column("next_at", _moment(), nullable=False),
    Column("failing_since", _moment()),
    Column("failures", Integer, nullable=False),
    Column("delivered", BigInteger, nullable=False),
    Column("delivered_at", _moment()),
    Column("ping_id", Uuid),
    Column("attempts", JSON, nullable=False),
    Column("lease", Uuid),
    Column("leased_until", _moment(), nullable=False),
    CheckConstraint(_one_of("state", State), name="webhook_state_known"),
    CheckConstraint("(state = 'paused') = (pause IS NOT NULL)", name="webhook_paused_has_reason"),
    CheckConstraint("(state = 'removed') = (secret = '')", name="webhook_removed_has_no_secret"),
    Index("webhooks_one_of_a_url", "url", unique=True, postgresql_where=text("state <> 'removed'")),
    postgresql_with={"fillfactor": "50"},
)
"""Where events are sent, and behind which of them each receiver is (S30). Who is removed keeps its row."""

outbox: Final = outbox_table(METADATA)

installation: Final = installation_table(METADATA)

retention: Final = Table(
    "retention",
    METADATA,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("mark", Uuid, nullable=False),
    Column("advanced_at", _moment(), nullable=False),
    Column("pruned_sagas", BigInteger, nullable=False, server_default="0"),
    Column("pruned_idempotency_keys", BigInteger, nullable=False, server_default="0"),
    Column("pruned_dead_letters", BigInteger, nullable=False, server_default="0"),
    Column("pruned_transaction_id", TransactionId, nullable=False, server_default=text("'0'::xid8")),
    Column("pruned_saga_id", Uuid),
    Column("pruned_version", Integer, nullable=False, server_default="0"),
    CheckConstraint("id = 1", name="retention_single"),
)
"""The low-water mark in a single row (P7), how many rows have been pruned since the beginning, and the last
entry of a history that was, in the order of the feed (S29)."""
