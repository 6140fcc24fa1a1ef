"""The same order fulfilment as a durable workflow of DBOS: four steps, one SQL write each.

No broker and no services: one or two processes, each running workflows on one PostgreSQL.
"""
