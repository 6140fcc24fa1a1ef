"""The outside audit: does what the participants and the providers hold fit how every order ended?

`checks` is pure and says what must hold; `reading` takes facts from the databases; `run` brings both
together. It trusts no table of the orchestrator beyond the order itself and how it ended.
"""

from __future__ import annotations

from oms.audit.report import Report
from oms.audit.run import audit
from oms.audit.sources import AuditImpossible, Sources, sources_of, sources_or_embedded

__all__ = ["AuditImpossible", "Report", "Sources", "audit", "sources_of", "sources_or_embedded"]
