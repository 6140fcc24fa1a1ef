"""Names on the wire stay as they are: with another name, what lies in the old queue is nobody's."""

from __future__ import annotations

from contracts import envelope, routing


def test_exchanges_and_queues_have_the_names_that_every_installation_has() -> None:
    assert routing.COMMANDS_EXCHANGE == "oms.commands"
    assert routing.EVENTS_EXCHANGE == "oms.events"
    assert routing.INSTALLATION_EXCHANGE == "oms.installation"
    assert routing.installation_exchange("ID") == "oms.ID"
    assert routing.OUTCOMES_QUEUE == "orchestrator.outcomes"
    assert routing.PARTICIPANTS == ("inventory", "payment", "shipping")
    queue = routing.command_queue("inventory")
    assert queue == "inventory.commands"
    assert routing.failure_exchange(queue) == "inventory.commands.failed"
    assert routing.dead_letter_queue(queue) == "inventory.commands.dlq"
    delays = (0.5, 1, 30, 3600)
    assert [routing.retry_queue(queue, delay_s) for delay_s in delays] == [
        f"inventory.commands.retry.{each}" for each in ("0.5s", "1s", "30s", "3600s")
    ]


def test_headers_have_the_names_that_every_message_has() -> None:
    names = (
        envelope.EVENT_ID,
        envelope.CAUSATION_ID,
        envelope.ATTEMPT,
        envelope.REPLAY_OF,
        envelope.INSTALLATION,
        envelope.SCHEMA_VERSION_HEADER,
        envelope.TRACEPARENT,
    )
    expected = "event-id causation-id attempt replay-of installation schema-version traceparent"
    assert " ".join(names) == expected
