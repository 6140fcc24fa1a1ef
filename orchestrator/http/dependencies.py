"""What the HTTP face is made with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from fastapi import APIRouter
from fastapi.telemetry import TelemetryConfig
from pydantic import BaseModel

from messaging.identifiers import NewId
from messaging.tracing import UNTRACED, Tracing
from orchestrator.core.registry import Registry
from orchestrator.dead_letters.replay import DeadLetterOperations
from orchestrator.disclosure import Disclosures
from orchestrator.explanation import Depth, Explainer
from orchestrator.http.access import Access
from orchestrator.http.health import Component, Readiness
from orchestrator.intake import Intake
from orchestrator.jobs.operations import JobOperations
from orchestrator.metrics import Metrics
from orchestrator.oidc.code_flow import CodeFlow
from orchestrator.operations import Operations
from orchestrator.progress import ProgressListener
from orchestrator.queries import Queries
from orchestrator.queries.people import PeopleQueries
from orchestrator.webhooks.operations import WebhookOperations


def untraced() -> TelemetryConfig:
    """What the framework does about telemetry while nobody asks for it."""
    return {"tracing": False, "metrics": False, "logs": False}


@dataclass(frozen=True, slots=True)
class SignIn:
    """How people sign in at the company's own provider.

    Attributes:
        lifetime_s: seconds that a session lasts which began there.
    """

    flow: CodeFlow
    people: PeopleQueries
    lifetime_s: float


ReadLedger = Callable[[UUID], Awaitable[BaseModel]]
"""What a participant knows of a saga. Raises StorageUnavailable."""

ReadOthers = Callable[[], Awaitable[Mapping[str, Readiness]]]
"""What other processes say of their health."""


async def nobody_else() -> Mapping[str, Readiness]:
    """Where no other process is known."""
    return {}


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What the HTTP face is made with; all of it belongs to whoever made it.

    Attributes:
        depth: of a queue by its name; raises BrokerUnavailable.
        components: what readiness looks at.
        routers: further routes, such as those of participants whose database this process was given. They
            raise `contracts.problems.ProblemError`; `access.guard` protects what needs a token.
        missing_participants: path prefix → the variable that would have to be set for its routes to be here.
        others: what further processes of the installation say of their health, by their names.
        sign_in: at the company's own provider, where it has one.
        ledgers: participant → reads what it knows of a saga, where its database is at hand.
        telemetry: what the framework does about traces of requests; nothing unless asked to.
    """

    intake: Intake
    operations: Operations
    dead_letters: DeadLetterOperations
    disclosures: Disclosures
    jobs: JobOperations
    webhooks: WebhookOperations
    queries: Queries
    explainer: Explainer
    registry: Registry
    depth: Depth
    listener: ProgressListener
    access: Access
    new_id: NewId
    metrics: Metrics
    components: Sequence[Component]
    version: str
    routers: Sequence[APIRouter] = ()
    missing_participants: Mapping[str, str] = field(default_factory=dict)
    ledgers: Mapping[str, ReadLedger] = field(default_factory=dict)
    others: ReadOthers = nobody_else
    sign_in: SignIn | None = None
    tracing: Tracing = UNTRACED
    telemetry: TelemetryConfig = field(default_factory=untraced)
