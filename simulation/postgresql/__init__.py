"""The same worlds on a real PostgreSQL: production SQL, real locks and isolation, virtual time.

Not deterministic: which of two transactions gets a lock first is the server's choice.
"""
