"""The PostgreSQL that `oms run` brings along, and what keeps it."""
