"""The read side: what people and programs see of orders, sagas, dead letters and the audit log.

Every read is one or two statements outside any transaction, bounded by an index and a page's size. What the
contracts mark as sensitive never leaves this package unmasked.
"""

from __future__ import annotations

from orchestrator.queries.reads import Queries

__all__ = ["Queries"]
