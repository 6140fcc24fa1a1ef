"""A saga written by hand on FastStream: an orchestrator and three participants, one SQL write a hop.

Quorum queues, persistent and confirmed messages, but no outbox, no ledger and no history: between a write and
its publish a crash loses the saga, and a repeated message repeats its effect.
"""
