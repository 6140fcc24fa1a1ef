"""The whole read side on one database."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncEngine

from orchestrator.core.registry import Registry
from orchestrator.queries.audit import AuditQueries
from orchestrator.queries.changes import ChangeQueries
from orchestrator.queries.dead_letters import DeadLetterQueries
from orchestrator.queries.endings import EndingQueries
from orchestrator.queries.feed import FeedQueries
from orchestrator.queries.gauges import GaugeQueries
from orchestrator.queries.jobs import JobQueries
from orchestrator.queries.messages import MessageQueries
from orchestrator.queries.orders import OrderQueries
from orchestrator.queries.reader import PATIENCE_S, Reader
from orchestrator.queries.returns import ReturnQueries
from orchestrator.queries.sagas import SagaQueries
from orchestrator.queries.waiting import WaitingQueries
from orchestrator.queries.webhooks import WebhookQueries


class Queries:
    """Orders, sagas, dead letters and the audit log, for reading only."""

    def __init__(self, engine: AsyncEngine, registry: Registry, patience_s: float = PATIENCE_S) -> None:
        """
        Args:
            patience_s: seconds that a read may take, waiting for a connection included.
        """
        self.reader = Reader(engine, patience_s)
        self.orders = OrderQueries(self.reader, registry)
        self.sagas = SagaQueries(self.reader, registry)
        self.returns = ReturnQueries(self.reader, registry)
        self.dead_letters = DeadLetterQueries(self.reader, self.sagas.masking)
        self.jobs = JobQueries(self.reader)
        self.gauges = GaugeQueries(self.reader)
        self.endings = EndingQueries(self.reader, registry)
        self.changes = ChangeQueries(self.reader)
        self.audit_log = AuditQueries(self.reader)
        self.messages = MessageQueries(self.sagas, registry)
        self.feed = FeedQueries(self.reader, self.sagas, registry)
        self.webhooks = WebhookQueries(self.reader)
        self.waiting = WaitingQueries(self.reader, registry)
