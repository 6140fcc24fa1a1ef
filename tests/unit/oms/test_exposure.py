"""Nothing that acts for everybody is put where everybody is, unless somebody said so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from oms import processes
from oms.exposure import is_beyond_loopback, may_show_sandbox, require_orders_guarded
from oms.failures import Failure
from oms.settings import MissingSettings, Settings, load_settings

TOKEN = "a-token-of-some-length"
EVERYTHING: dict[str, Any] = {
    "database_url": "postgresql://127.0.0.1:1/none",
    "broker_url": "amqp://127.0.0.1:1/",
    "payment_gateway_url": "sandbox",
    "carrier_url": "sandbox",
    "admin_token": TOKEN,
}


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.2", "127.255.1.1", "localhost", "::1", "::ffff:127.0.0.1"]
)
def test_loopback_is_loopback_however_it_is_written(host: str) -> None:
    assert not is_beyond_loopback(host)
    require_orders_guarded(load_settings(), host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "0", "10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1"])
def test_beyond_it_orders_ask_for_a_token_or_are_open_by_word(host: str) -> None:
    assert is_beyond_loopback(host)
    with pytest.raises(MissingSettings) as refused:
        require_orders_guarded(load_settings(), host)
    for part in ("OMS_ORDERS_TOKEN", "OMS_ORDERS_OPEN=yes", host, "cancel"):
        assert part in str(refused.value)
    require_orders_guarded(load_settings(orders_token=TOKEN), host)
    require_orders_guarded(load_settings(orders_open="yes"), host)


def test_a_token_and_openness_contradict_each_other() -> None:
    with pytest.raises(MissingSettings, match="contradict"):
        require_orders_guarded(load_settings(orders_token=TOKEN, orders_open="yes"), "127.0.0.1")


def test_a_name_that_stands_for_no_address_is_told() -> None:
    with pytest.raises(Failure, match="cannot listen on no"):
        is_beyond_loopback("no.such.host.invalid")


Start = Callable[[Settings, str, int], Awaitable[None]]


@pytest.mark.parametrize("start", [processes.run_api, processes.run])
@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
async def test_neither_the_api_nor_everything_starts_open_to_all(start: Start, host: str) -> None:
    with pytest.raises(MissingSettings, match="OMS_ORDERS_TOKEN"):
        await start(load_settings(**EVERYTHING), host, 0)


async def test_the_sandbox_does_not_start_open_to_all() -> None:
    with pytest.raises(MissingSettings, match="OMS_SANDBOX_OPEN=yes"):
        await processes.run_sandbox(load_settings(**EVERYTHING), "0.0.0.0", 0)


def test_a_played_provider_is_shown_on_loopback_or_by_word() -> None:
    assert may_show_sandbox(load_settings(), "localhost")
    assert not may_show_sandbox(load_settings(), "0.0.0.0")
    assert may_show_sandbox(load_settings(sandbox_open="yes"), "0.0.0.0")
