"""What Alembic runs for every service: `migrations.run` hands over the connection and the service's name."""

from __future__ import annotations

from alembic import context

_service = context.config.attributes["service"]
context.configure(
    connection=context.config.attributes["connection"],
    version_table=context.config.attributes["version_table"],
    version_table_schema=_service,
)
context.run_migrations()
