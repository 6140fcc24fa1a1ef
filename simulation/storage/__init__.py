"""Storage in memory that behaves as the SQL one: transactions, row locks, constraints, read committed."""
