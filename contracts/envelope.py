"""What stands around every message's body: identities, type, version, time and trace context."""

from __future__ import annotations

from enum import StrEnum
from typing import Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from contracts.limits import PieceName

SCHEMA_VERSION: Final = 1
"""Version of a message type unless it says otherwise; additive fields do not raise it."""

EVENT_ID: Final = "event-id"
CAUSATION_ID: Final = "causation-id"
ATTEMPT: Final = "attempt"
REPLAY_OF: Final = "replay-of"
"""On the replay of a dead letter that is no command: by which death its row is known (D3, D4)."""

INSTALLATION: Final = "installation"
"""The installation that a message is of; one that does not carry it is taken by any (M4)."""

SCHEMA_VERSION_HEADER: Final = "schema-version"
TRACEPARENT: Final = "traceparent"

CONTENT_TYPE: Final = "application/json"

BATCH_CONTENT_TYPE: Final = "application/vnd.oms.batch+json"
"""Of a message that holds several, each with its own properties, headers and body (M5)."""


class Direction(StrEnum):
    """Which way a saga is going, and so which of a step's two messages is meant."""

    FORWARD = "forward"
    COMPENSATING = "compensating"


class Body(BaseModel):
    """Base of every message body. Unknown fields are ignored, so that fields may be added (S13)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    saga_id: UUID
    order_id: UUID


class StepBody(Body):
    """A body that belongs to one piece of work: (saga, step, direction)."""

    step: PieceName
    direction: Direction
