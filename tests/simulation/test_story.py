"""The story of a saga names what it is about: which branch of several, which wait."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import pytest

from contracts.envelope import Direction
from contracts.routing import COMMANDS_EXCHANGE
from messaging.transport import Message
from orchestrator.core.inputs import (
    Actor,
    CancelRequested,
    Input,
    OutcomeReceived,
    SignalReceived,
    StepOverdue,
    WaitElapsed,
)
from orchestrator.storage import HistoryEntry
from simulation.facts import Committed, Fact, Published
from simulation.storage.database import Change
from simulation.storage.orchestrator import HISTORY
from simulation.story import timeline

SAGA: Final = UUID(int=7)
NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)
SOMEBODY: Final = Actor("dean", "has read it")


def said(fact: Fact) -> str:
    [line] = timeline([(1.0, fact)])
    return line


@pytest.mark.parametrize(
    ("accepted", "named"),
    [
        (OutcomeReceived("CourseJoined", "join[2]", Direction.FORWARD), "CourseJoined of join[2] →"),
        (OutcomeReceived("SeatTaken", "seat", Direction.FORWARD), "SeatTaken →"),
        (SignalReceived(actor=SOMEBODY, wait="approval", body={}), "SignalReceived approval →"),
        (WaitElapsed(wait="approval"), "WaitElapsed approval →"),
        (StepOverdue("join[3]"), "StepOverdue of join[3] →"),
        (CancelRequested(SOMEBODY), "CancelRequested →"),
    ],
)
def test_an_input_is_told_with_its_branch_or_wait(accepted: Input, named: str) -> None:
    led_to = {"status": "running", "order_status": "seated", "sent": []}
    entry = HistoryEntry(SAGA, 3, NOW, accepted, led_to)

    assert named in said(Committed("orchestrator", [Change(HISTORY, (SAGA, 3), None, entry)]))


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b'{"saga_id":"7","step":"join[2]"}', "JoinCourse of join[2] to campus"),
        (b'{"saga_id":"7","step":"join"}', "JoinCourse to campus"),
        (b"\xff\x00", "JoinCourse to campus"),
    ],
)
def test_a_message_is_told_with_its_branch(body: bytes, named: str) -> None:
    message = Message(
        message_id=UUID(int=1),
        type="JoinCourse",
        exchange=COMMANDS_EXCHANGE,
        routing_key="campus",
        body=body,
        correlation_id=SAGA,
        app_id="orchestrator",
        timestamp=NOW,
        mandatory=True,
    )

    assert named in said(Published("orchestrator", message))
