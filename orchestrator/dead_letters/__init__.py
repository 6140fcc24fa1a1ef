"""Messages that gave up: collected into a table, looked at by people, replayed safely (D1-D4)."""
