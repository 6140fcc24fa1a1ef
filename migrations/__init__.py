"""The schemas of all services, each with a history of its own (Alembic)."""
