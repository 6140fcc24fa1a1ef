"""What `oms doctor` says of things that no test can start."""

from __future__ import annotations

import pytest

from oms.doctor.broker import product_finding
from oms.doctor.finding import Verdict
from oms.doctor.surroundings import provider_findings
from oms.settings import load_settings


@pytest.mark.parametrize(
    ("product", "verdict"),
    [
        ("RabbitMQ 3.10.8", Verdict.WELL),
        ("RabbitMQ 4.3.0-rc.1", Verdict.WELL),
        ("RabbitMQ 10.0", Verdict.WELL),
        ("RabbitMQ 3.9.29", Verdict.WRONG),
        ("RabbitMQ 2.8.7", Verdict.WRONG),
        ("LavinMQ 2.0.0", Verdict.NOTE),
        ("a broker", Verdict.NOTE),
    ],
)
def test_a_broker_is_judged_by_what_it_calls_itself(product: str, verdict: Verdict) -> None:
    assert product_finding("broker", product).verdict is verdict


async def test_a_provider_that_is_not_installed_is_told() -> None:
    settings = load_settings(payment_gateway="no-such-gateway", carrier="no-such-carrier")
    found = [finding async for finding in provider_findings(settings)]
    assert [finding.verdict for finding in found] == [Verdict.WRONG, Verdict.WRONG]
    gateway, carrier = (finding.sentence for finding in found)
    assert gateway.startswith("OMS_PAYMENT_GATEWAY: there is no 'no-such-gateway' in oms.payment_gateways;")
    assert carrier.startswith("OMS_CARRIER: there is no 'no-such-carrier' in oms.carriers;")
