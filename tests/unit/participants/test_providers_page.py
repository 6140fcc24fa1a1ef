"""The gateway shown in docs/providers.md works as the page says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from oms.sandbox.triggers import CARRIER_TRIGGERS, PARCEL_TRIGGERS, PAYMENT_TRIGGERS
from participants.breaker import BreakerPolicy
from participants.payment.gateway import Charged, Declined, PaymentGateway, Refunded
from participants.provider_terms import ProviderMisuse, ProviderTraits, Voided

PAGE = (Path(__file__).parents[3] / "docs" / "providers.md").read_text()


def example(**arguments: Any) -> PaymentGateway:
    names: dict[str, Any] = {"__name__": "docs_providers"}
    source = PAGE.partition("```python\n")[2].partition("```")[0]
    exec(compile("from __future__ import annotations\n" + source, "docs/providers.md", "exec"), names)
    gateway: PaymentGateway = names["HouseAccounts"](**arguments)
    return gateway


async def test_the_example_charges_once_and_gives_back_once() -> None:
    gateway = example(balances={"anna": 100}, currency="EUR")
    charged = await gateway.charge("k", "o-1", 70, "EUR", "anna")
    assert isinstance(charged, Charged)
    assert await gateway.charge("k", "o-1", 70, "EUR", "anna") == charged == await gateway.find_charge("k")
    assert isinstance(await gateway.charge("k2", "o-2", 70, "EUR", "anna"), Declined)
    for _ in range(2):
        assert isinstance(await gateway.refund("r", charged.reference, 70), Refunded)
    assert [found.refunded for found in await gateway.charges_of("o-1")] == [70]
    assert len(await gateway.refunds_of("o-1")) == 1
    assert await gateway.find_refund("r")
    with pytest.raises(ProviderMisuse):
        await gateway.refund("r2", charged.reference, 1)
    assert isinstance(await gateway.charge("k3", "o-3", 100, "EUR", "anna"), Charged)


async def test_the_example_offers_voids() -> None:
    gateway = example(balances={"anna": 100}, currency="EUR")
    assert await gateway.void("k") == Voided()
    with pytest.raises(ProviderMisuse):
        await gateway.charge("k", "o-1", 70, "EUR", "anna")


@pytest.mark.parametrize("trigger", [*PAYMENT_TRIGGERS, *CARRIER_TRIGGERS, *PARCEL_TRIGGERS])
def test_every_trigger_of_the_sandbox_is_on_the_page(trigger: str) -> None:
    assert f"| `{trigger}` |" in PAGE


def test_the_page_states_the_defaults() -> None:
    policy, traits = BreakerPolicy(), ProviderTraits()
    assert (policy.failure_share, policy.minimum_calls, policy.window_s, policy.cool_down_s) == (
        0.5,
        10,
        10,
        5,
    )
    assert (traits.settling_time_s, traits.key_lifetime_s) == (120, 86_400)
