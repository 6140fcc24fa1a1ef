"""What becomes of a message whose handling failed (D1)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from messaging.errors import PermanentFailure, Poison
from messaging.retries import RetryPolicy, after_failure, attempt_of, postpone
from messaging.transport import Delivery, Message

NOW = datetime(2026, 1, 2, tzinfo=UTC)
ID = UUID(int=7)
POLICY = RetryPolicy(delays_s=(1, 5, 30), max_attempts=5)


def delivered(**changes: Any) -> Delivery:
    fields: dict[str, Any] = {
        "queue": "payment.commands",
        "body": b"{}",
        "message_id": "m-1",
        "type": "ChargePayment",
        "correlation_id": str(UUID(int=9)),
        "headers": {},
        "exchange": "oms.commands",
        "routing_key": "payment",
        "redelivered": False,
        **changes,
    }
    return Delivery(**fields)


def failed(error: Exception, **changes: Any) -> Message:
    return after_failure(delivered(**changes), error, POLICY, ID, NOW, "payment")


@pytest.mark.parametrize(("attempt", "queue"), [(1, "1s"), (2, "5s"), (3, "30s"), (4, "30s")])
def test_a_transient_failure_takes_the_next_retry_queue(attempt: int, queue: str) -> None:
    hop = failed(RuntimeError("no luck"), headers={"attempt": attempt})

    assert hop.routing_key == f"payment.commands.retry.{queue}"
    assert hop.headers["attempt"] == attempt + 1


def test_the_last_attempt_ends_in_the_dead_letters_with_its_history() -> None:
    first = failed(RuntimeError("first"))
    last = failed(RuntimeError("last"), headers={**first.headers, "attempt": 5})

    assert last.routing_key == "payment.commands.dlq"
    assert last.headers["attempt"] == 5
    assert last.headers["error-type"] == "RuntimeError"
    assert last.headers["error-message"] == "last"
    assert last.headers["error-permanent"] is False
    assert last.headers["first-failure-at"] == first.headers["first-failure-at"]
    assert last.headers["original-queue"] == "payment.commands"
    assert last.headers["original-exchange"] == "oms.commands"
    assert last.headers["original-routing-key"] == "payment"
    assert last.headers["original-message-id"] == "m-1"


def test_a_permanent_failure_is_a_dead_letter_at_once() -> None:
    hop = failed(PermanentFailure("expired", "too old"))

    assert hop.routing_key == "payment.commands.dlq"
    assert hop.headers["error-type"] == "expired"
    assert hop.headers["error-permanent"] is True


def test_m1_a_hop_has_a_message_id_of_its_own_and_must_arrive() -> None:
    hop = failed(RuntimeError("no luck"))

    assert hop.message_id == ID
    assert hop.mandatory
    assert hop.exchange == "payment.commands.failed"  # leads to no other queue's
    assert hop.correlation_id == UUID(int=9)


def test_p9_a_postponed_command_keeps_its_attempt() -> None:
    hop = postpone(delivered(headers={"attempt": 3}), POLICY, ID, NOW, "payment")

    assert hop.routing_key == "payment.commands.retry.30s"
    assert hop.headers["attempt"] == 3


@pytest.mark.parametrize("odd", ["2", 0, -1, None, 2**31, 1.5])
def test_an_odd_attempt_counts_as_the_first(odd: object) -> None:
    assert attempt_of(delivered(headers={"attempt": odd})) == 1


def test_s16_hostile_properties_make_a_sound_message() -> None:
    hop = failed(
        Poison("undecodable", "\x00bad \ud800"),
        type="\N{SNOWMAN}" * 200 + "\x00",
        correlation_id="not an id",
        message_id=None,
        headers={"x-death": [1], "\x00": "a", "long": "y" * 9000, "nested": {"a": 1}, "fine": 1},
    )

    assert len(hop.type.encode()) <= 255
    assert hop.correlation_id is None
    assert "\x00" not in str(hop.headers)
    assert "x-death" not in hop.headers
    assert "nested" not in hop.headers
    assert len(str(hop.headers["long"])) == 4000
    assert hop.headers["fine"] == 1


FULL: dict[str, Any] = {f"h{number}": number for number in range(64)}


def test_d1_a_message_full_of_headers_of_its_own_gives_up_as_any_other() -> None:
    hop = failed(RuntimeError("first"), headers=FULL)
    for attempt in range(2, 6):
        assert hop.headers["attempt"] == attempt
        hop = failed(RuntimeError("again"), headers=hop.headers, queue="payment.commands", message_id="hop")

    assert hop.routing_key == "payment.commands.dlq"
    assert (hop.headers["error-message"], hop.headers["original-message-id"]) == ("again", "m-1")
    assert (len(hop.headers), hop.headers["h0"]) == (64, 0)


def test_d1_a_permanent_failure_is_explained_beside_however_many_headers() -> None:
    hop = failed(PermanentFailure("expired", "too old"), headers=FULL)

    assert (hop.headers["error-type"], hop.headers["error-permanent"]) == ("expired", True)


def test_p9_a_postponed_command_full_of_headers_keeps_its_attempt() -> None:
    hop = postpone(delivered(headers={**FULL, "attempt": 3}), POLICY, ID, NOW, "payment")

    assert hop.headers["attempt"] == 3


@pytest.mark.parametrize("odd", [float("nan"), 7, None, "\x00"])
def test_s16_what_a_stranger_wrote_for_an_earlier_hop_is_text_or_nothing(odd: object) -> None:
    hop = failed(RuntimeError("no luck"), headers={"first-failure-at": odd, "original-type": odd})

    assert hop.headers["original-type"] in ("ChargePayment", "")
    assert isinstance(hop.headers["first-failure-at"], str)
    assert "\x00" not in str(hop.headers)


def test_a_failure_names_its_innermost_frames_and_no_source_lines() -> None:
    def nested(depth: int) -> None:
        if depth == 0:
            raise RuntimeError("deep")
        nested(depth - 1)

    with pytest.raises(RuntimeError) as caught:
        nested(20)

    stack = str(failed(caught.value).headers["error-stack"]).splitlines()
    assert len(stack) == 8
    assert all(line.startswith(__file__) and line.endswith("nested") for line in stack)
