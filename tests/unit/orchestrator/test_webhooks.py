"""What a webhook becomes by what is answered, and which addresses it may have."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from orchestrator.webhooks.addresses import Reach, UnusableUrl, is_public, receiver_url
from orchestrator.webhooks.delivery import signature
from orchestrator.webhooks.webhook import (
    KEPT_ATTEMPTS,
    LONGEST_DELAY_S,
    Attempt,
    Pause,
    State,
    Webhook,
    delay_s,
    failed,
)

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def a_webhook() -> Webhook:
    return Webhook(
        webhook_id=UUID(int=1),
        url="https://shop.example.com/hooks",
        types=(),
        state=State.ACTIVE,
        pause=None,
        cursor=None,
        pruned_sagas=0,
        secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        old_secret=None,
        old_until=None,
        version=1,
        created_at=NOON,
        created_by="ada",
        updated_at=NOON,
        next_at=NOON,
    )


def at(moment: datetime) -> Attempt:
    return Attempt(moment, UUID(int=2), "OrderCompletedEvent", "it answers 500", 3)


def test_pauses_grow_up_to_an_hour_and_are_left_to_chance() -> None:
    rng = random.Random(1)
    bounds = [(2.5, 5), (5, 10), (10, 20)]
    for failures, (least, most) in enumerate(bounds, 1):
        assert all(least <= delay_s(failures, rng) <= most for _ in range(100))
    assert all(LONGEST_DELAY_S / 2 <= delay_s(10**6, rng) <= LONGEST_DELAY_S for _ in range(100))


def test_a_receiver_that_wants_to_be_left_alone_is_for_an_hour_at_most() -> None:
    rng = random.Random(1)
    assert delay_s(1, rng, 900) == 900
    assert delay_s(1, rng, 1e9) == LONGEST_DELAY_S
    assert 2.5 <= delay_s(1, rng, 0) <= 5
    assert delay_s(10**6, rng, 1) >= LONGEST_DELAY_S / 2


def test_it_is_paused_once_it_has_failed_for_long_enough_and_not_before() -> None:
    webhook = a_webhook()
    for hour in range(24):
        webhook = failed(webhook, at(NOON + hour * HOUR), 5, 24 * HOUR)
        assert webhook.state is State.ACTIVE
        assert webhook.next_at > NOON + hour * HOUR
    webhook = failed(webhook, at(NOON + 24 * HOUR), 5, 24 * HOUR)
    assert (webhook.state, webhook.pause, webhook.failures) == (State.PAUSED, Pause.FAILING, 25)
    assert (webhook.failing_since, len(webhook.attempts)) == (NOON, KEPT_ATTEMPTS)


def test_a_signature_is_that_of_the_specification() -> None:
    """Its example."""
    signed = signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.31.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
        *("168.63.129.16", "192.0.2.1", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1%eth0"),
        *("fd00:ec2::254", "fec0::1", "ff0e::1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "::127.0.0.1"),
        *("64:ff9b::a00:1", "2002:7f00:1::", "not an address", ""),
    ],
)
def test_private_addresses_are_known_in_all_their_forms(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_others_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        *("http://shop.example.com/", "https://localhost/", "https://127.1/", "https://2130706433/"),
        *("https://0x7f000001/", "https://017700000001/", "https://127.0.0.1./", "https://[::1]:8443/"),
        *("https://[::ffff:10.0.0.1]/", "https://metadata.google.internal/", "https://printer.local/"),
        *("https://jane:secret@shop.example.com/", "https://shop.example.com/#here", "ftp://example.com/"),
        *("https://shop.example.com:0/", "https://shop.example.com:99999/", "https://", "shop.example.com"),
        *(
            "https://[::1",
            "https://shop example.com/",
            "https://shop.example.com/" + "x" * 2000,
            "",
            "https://é.fr",
        ),
    ],
)
def test_what_is_no_url_of_a_receiver_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(UnusableUrl) as refused:
        receiver_url(url, Reach.PUBLIC)
    assert "jane" not in str(refused.value)


def test_where_private_addresses_are_allowed_they_may_be_without_tls() -> None:
    assert str(receiver_url("http://127.0.0.1:9000/a?b=c", Reach.ANYWHERE)) == "http://127.0.0.1:9000/a?b=c"
    assert str(receiver_url("https://shop.example.com/a", Reach.PUBLIC)) == "https://shop.example.com/a"
