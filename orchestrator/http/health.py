"""Is it alive, is it ready, how much has it done: for orchestration and monitoring, without a token."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from fastapi.routing import APIRoute
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from contracts.problems import ProblemError
from orchestrator.http.answers import answer
from orchestrator.http.openapi import problems, success
from orchestrator.http.problems import RETRY_LATER
from orchestrator.http.routing import DirectRoute
from orchestrator.metrics import Metrics

PROBE_TIMEOUT_S: Final = 2.0


class Condition(StrEnum):
    """How a component, or all of them, is."""

    OK = "ok"
    DEGRADED = "degraded"
    """In trouble, but the service can be used."""
    DOWN = "down"
    """In trouble, and the service cannot be used without it."""


class Finding(BaseModel):
    """What a look at one component found; the detail is for people and holds no secrets."""

    model_config = ConfigDict(frozen=True)

    status: Condition
    detail: str | None = None
    breaker: str | None = Field(None, description="Where the circuit breaker at its provider stands")


@dataclass(frozen=True, slots=True)
class Component:
    """Something that the service uses.

    Attributes:
        trouble: looks at it; None when all is well, else what is wrong, in a person's words.
        in_trouble: what its trouble means for the service.
        breaker: where the circuit breaker at its provider stands, for what has one.
        note: what a person should know of it even when all is well, such as that it is the sandbox.
    """

    name: str
    trouble: Callable[[], Awaitable[str | None]]
    in_trouble: Condition = Condition.DOWN
    note: str | None = None
    breaker: Callable[[], str | None] = lambda: None

    async def look(self) -> Finding:
        """Look at it, not for long."""
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                trouble = await self.trouble()
        except TimeoutError:
            trouble = "it does not answer in time"
        except Exception as error:
            trouble = f"it cannot be used ({type(error).__name__})"
        if trouble is None:
            return Finding(status=Condition.OK, detail=self.note, breaker=self.breaker())
        return Finding(status=self.in_trouble, detail=trouble, breaker=self.breaker())


class Liveness(BaseModel):
    """The process answers."""

    status: Condition
    version: str


class Readiness(BaseModel):
    """Whether the service can be used; ``degraded`` when it can, with something in trouble."""

    status: Condition
    components: dict[str, Finding]


class HealthEndpoints:
    """What a process says of itself."""

    def __init__(self, components: Sequence[Component], metrics: Metrics, version: str) -> None:
        """
        Args:
            components: looked at anew each time: there may be others then.
        """
        self._components = components
        self._metrics = metrics
        self._version = version

    async def livez(self, _: Request) -> Response:
        """Whether the process answers at all."""
        return answer(Liveness(status=Condition.OK, version=self._version))

    async def readyz(self, _: Request) -> Response:
        """Whether the service can be used, by component."""
        readiness = await readiness_of(self._components)
        if readiness.status is Condition.DOWN:
            down = [name for name, each in readiness.components.items() if each.status is Condition.DOWN]
            raise ProblemError(
                503,
                "not_ready",
                f"In trouble: {', '.join(down)}.",
                headers=RETRY_LATER,
                components=readiness.model_dump(mode="json")["components"],
            )
        return answer(readiness)

    async def exposition(self, _: Request) -> Response:
        """Counters and gauges in the text format of Prometheus."""
        return Response(await self._metrics.exposition(), media_type=CONTENT_TYPE_LATEST)

    def routes(self) -> Iterator[APIRoute]:
        """Routes that need no token."""
        common: dict[str, Any] = {"tags": ["health"], "response_class": Response, "methods": ["GET"]}
        text = {"description": "Metrics", "content": {"text/plain": {"schema": {"type": "string"}}}}
        yield DirectRoute(
            "/livez",
            self.livez,
            summary="Is it alive",
            responses=success(200, Liveness, "It is") | problems(500),
            **common,
        )
        yield DirectRoute(
            "/readyz",
            self.readyz,
            summary="Can it be used",
            responses=success(200, Readiness, "It can, perhaps degraded") | problems(500, 503),
            **common,
        )
        yield DirectRoute(
            "/metrics",
            self.exposition,
            summary="Counters and gauges",
            responses={200: text} | problems(500),
            **common,
        )


async def readiness_of(components: Sequence[Component]) -> Readiness:
    """Look at all components at once."""
    components = tuple(components)
    found = await asyncio.gather(*(component.look() for component in components))
    conditions = {finding.status for finding in found}
    worst = max(conditions, key=list(Condition).index, default=Condition.OK)
    names = [component.name for component in components]
    return Readiness(status=worst, components=dict(zip(names, found, strict=True)))
