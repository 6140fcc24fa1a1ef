"""What is said of policies. That they do so, `tests/integration/test_rabbitmq_policies.py` shows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from messaging.topology import participant_topology
from oms.broker_policies import harms, read
from oms.cli.app import app
from oms.failures import Failure

QUEUES = participant_topology("payment", (1,)).queues
COMMANDS, DEAD, RETRY = (
    f"policy theirs on payment.commands{suffix}: " for suffix in ("", ".dlq", ".retry.1s")
)


def listed(pattern: str = ".*", to: str = "queues", **definition: Any) -> str:
    """As rabbitmqctl does."""
    named = json.dumps({key.replace("_", "-"): value for key, value in definition.items()})
    policy = {"vhost": "/", "name": "theirs", "pattern": pattern, "apply-to": to, "definition": named}
    return json.dumps([{**policy, "priority": 0}])


def said_of(text: str) -> list[str]:
    return harms(read(text), QUEUES)


@pytest.mark.parametrize(
    "definition",
    [
        {"max_length": 5, "overflow": "reject-publish"},
        {"max_length_bytes": 5, "overflow": "reject-publish"},
        {"max_in_memory_length": 5},
        {"dead_letter_exchange": "theirs", "dead_letter_strategy": "at-most-once"},
        {"queue_leader_locator": "balanced"},
        {"delivery_limit": 1_000_000},
        {"delivery_limit": -1},
    ],
)
def test_what_harms_nobody_is_not_mentioned(definition: dict[str, Any]) -> None:
    assert said_of(listed(**definition)) == []


def test_a_length_without_a_refusal_is_told_of_dead_letter_queues_alone() -> None:
    [said] = said_of(listed(max_length=5))
    assert said.startswith(f"{DEAD}max-length drops dead letters")


@pytest.mark.parametrize("overflow", ["drop-head", "reject-publish-dlx"])
def test_another_overflow_is_told_of_every_queue(overflow: str) -> None:
    said = said_of(listed(max_length=5, overflow=overflow))
    assert [each.split("overflow")[0] for each in said] == [COMMANDS, DEAD, RETRY]


def test_a_time_to_live_is_told_by_what_it_does_to_each_queue() -> None:
    assert said_of(listed(message_ttl=300)) == [
        f"{COMMANDS}message-ttl makes dead letters of messages that wait for longer",
        f"{DEAD}message-ttl deletes dead letters that wait for longer",
        f"{RETRY}message-ttl shortens the delay before a retry to 300 ms",
    ]


def test_an_expiry_is_told_of_those_that_it_meets() -> None:
    [said] = said_of(listed(r"\.dlq$", "quorum_queues", expires=1000))
    assert said.startswith(f"{DEAD}expires deletes it")


def test_a_delivery_limit_that_is_lower_is_told() -> None:
    [said] = said_of(listed("dlq", delivery_limit=20))
    assert said == f"{DEAD}delivery-limit drops a dead letter after 20 redeliveries, not 1000000"


def test_both_lists_are_read_and_exchanges_are_no_queues() -> None:
    both = listed("^payment.commands$", expires=5) + "\n\n" + listed(to="exchanges", expires=5)
    assert len(said_of(both)) == 1
    assert said_of("[\n]\n") == []


@pytest.mark.parametrize(
    "text",
    [
        "no JSON",
        "{}x",
        "[1]",
        '[{"name": "x"}]',
        listed("("),
        listed(expires="5"),
        listed(delivery_limit=1.5),
        "[" * 100_000,
    ],
    ids=lambda text: text[:40],
)
def test_anything_else_is_refused_in_words(text: str) -> None:
    with pytest.raises(Failure, match="these are not policies"):
        read(text)


@pytest.mark.parametrize(("text", "code"), [("[]", 0), (listed(expires=5), 1)])
def test_the_command_ends_with_1_when_something_is_found(text: str, code: int) -> None:
    result = CliRunner().invoke(app, ["broker", "check", "-"], input=text)

    assert result.exit_code == code
    assert ("expires deletes it" in result.output) is bool(code)
