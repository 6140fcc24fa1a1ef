"""Checkers of what failed and of what people do object to a trace that breaks their rule (P9, D1, D4, D6)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from contracts.failures import ERROR_TYPE
from messaging.errors import TransientFailure
from messaging.retries import RetryPolicy, after_failure, postpone
from messaging.transport import Message
from orchestrator.core.inputs import Actor, RetryRequested
from orchestrator.storage import AuditEntry, DeadLetterStatus
from simulation.checkers import messages
from simulation.servers import BEGINNING
from simulation.storage.database import Change
from tests.simulation.bad_traces import (
    SAGA_ID,
    Trace,
    command,
    dead_letter,
    delivery_of,
    entry,
    outgoing,
)

POLICY = RetryPolicy((1.0, 5.0), max_attempts=2)
OPERATOR = Actor("operator", "it is back")


def hop(message: Message, at_s: float = 0.0) -> Message:
    now = BEGINNING + timedelta(seconds=at_s)
    delivery = delivery_of(message, "inventory.commands")
    return after_failure(delivery, TransientFailure("down"), POLICY, message.message_id, now, "inventory")


def postponed(message: Message) -> Message:
    delivery = delivery_of(message, "inventory.commands")
    return postpone(delivery, POLICY, message.message_id, BEGINNING, "inventory")


def with_headers(message: Message, **headers: Any) -> Message:
    return replace(message, headers={**message.headers, **headers})


def test_p9_a_command_that_was_not_worked_on_uses_no_attempt_up() -> None:
    trace = Trace(messages.AttemptsAreFailures)
    waiting = postponed(command("ReserveInventory"))
    assert trace.commits("inventory", outgoing(waiting)) == []
    assert trace.commits("inventory", outgoing(hop(waiting, at_s=1.0))) == []
    other = with_headers(postponed(command("ReserveInventory")), attempt=2)
    assert trace.commits("inventory", outgoing(other)) == [
        "ReserveInventory uses an attempt up without having failed"
    ]


def test_d1_a_dead_letter_without_its_story() -> None:
    trace = Trace(messages.DeadLettersTellTheirStory)
    dead = hop(hop(command("ReserveInventory")))
    assert trace.commits("inventory", outgoing(dead)) == []
    silent = replace(dead, headers={name: each for name, each in dead.headers.items() if name != ERROR_TYPE})
    assert trace.commits("inventory", outgoing(silent)) == ["ReserveInventory died without error-type"]


def test_d6_an_action_that_is_written_down_nowhere() -> None:
    trace = Trace(messages.ActionsAreWrittenDown)
    written = AuditEntry(SAGA_ID, BEGINNING, OPERATOR.name, "saga.retry", "saga", OPERATOR.reason)
    done = entry(RetryRequested(OPERATOR), 2)
    assert trace.commits("orchestrator", done, Change("audit_log", SAGA_ID, None, written)) == []
    assert trace.commits("orchestrator", done) == ["what operator did stands in no audit log"]


def test_d4_a_command_that_is_replayed_past_its_saga() -> None:
    trace = Trace(messages.ReplayIsTheSagasRetry)
    replaying = dead_letter(status=DeadLetterStatus.REPLAYING)
    trace.commits("orchestrator", trace.dead(dead_letter()))
    assert trace.commits("orchestrator", trace.dead(replaying), entry(RetryRequested(OPERATOR), 2)) == []
    trace.commits("orchestrator", trace.dead(dead_letter()))
    assert trace.commits("orchestrator", trace.dead(replaying)) == [
        "ReserveInventory is replayed past its saga"
    ]
