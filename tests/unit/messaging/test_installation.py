"""What marks a message as an installation's own, and what tells another's (M4)."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from contracts.envelope import INSTALLATION
from contracts.failures import ERROR_TYPE, PERMANENT
from messaging.errors import ForeignMessage
from messaging.installation import Identity
from messaging.retries import RetryPolicy, after_failure
from messaging.transport import Delivery
from tests.conformance.correspondence import message
from tests.support.participants import NOW

OURS, THEIRS = UUID(int=1), UUID(int=2)


def a_delivery(**headers: object) -> Delivery:
    return Delivery(
        queue="inventory.commands",
        body=b"{}",
        message_id=str(uuid4()),
        type="ReserveInventory",
        correlation_id=str(uuid4()),
        headers=headers,
        exchange="oms.commands",
        routing_key="inventory",
        redelivered=False,
    )


def test_m4_what_leaves_says_whose_it_is() -> None:
    [marked] = Identity(OURS).marked([message(headers={"attempt": 2})])

    assert marked.headers == {"attempt": 2, INSTALLATION: str(OURS)}


def test_m4_what_is_passed_on_keeps_the_installation_that_it_came_with() -> None:
    foreign = message(headers={INSTALLATION: str(THEIRS)})

    assert list(Identity(OURS).marked([foreign])) == [foreign]


def test_m4_without_an_identity_nothing_is_marked_and_nothing_refused() -> None:
    plain = message()

    assert list(Identity().marked([plain])) == [plain]
    assert Identity().refusal(a_delivery(installation=str(THEIRS))) is None


def test_m4_ones_own_messages_and_those_that_do_not_say_are_taken() -> None:
    """Messages of the release before, and of participants in other languages, carry no id."""
    assert Identity(OURS).refusal(a_delivery(installation=str(OURS))) is None
    assert Identity(OURS).refusal(a_delivery()) is None


def test_m4_anothers_message_is_refused_with_one_sentence_that_names_both() -> None:
    refusal = Identity(OURS).refusal(a_delivery(installation=str(THEIRS)))

    assert str(refusal) == (
        f"it is of installation {THEIRS}, and this is installation {OURS}: "
        "both use this virtual host, give each one of its own"
    )


@pytest.mark.parametrize("odd", [7, "", "\x00\n", "x" * 5000, True, 1.5])
def test_an_id_that_is_none_is_refused_and_shown_in_few_words(odd: object) -> None:
    refusal = Identity(OURS).refusal(a_delivery(installation=odd))

    assert refusal is not None
    assert len(str(refusal)) < 250
    assert str(refusal).isprintable()


def test_m4_a_refused_message_is_a_dead_letter_at_once_and_no_permanent_failure() -> None:
    """Its own orchestrator is not to give it up: it sends it again."""
    delivery = replace(a_delivery(installation=str(THEIRS)))

    hop = after_failure(delivery, ForeignMessage("why"), RetryPolicy(), uuid4(), NOW, "inventory")

    assert hop.routing_key == "inventory.commands.dlq"
    assert (hop.headers[ERROR_TYPE], hop.headers[PERMANENT]) == ("foreign_installation", False)
    assert hop.headers[INSTALLATION] == str(THEIRS)
