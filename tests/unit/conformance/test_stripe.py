"""Stripe's gateway conforms, against the stand-in of Stripe's HTTP that is delivered with it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from oms.conformance.providers import gateway_report
from oms.conformance.providers.charges import ChargeExamples
from oms.kit.providers import ProviderLimits
from tests.architecture.sources import PROJECT

METHODS = ChargeExamples(
    declined="pm_card_chargeDeclined", slow="pm_stand_in_slow", failing="pm_stand_in_fails"
)


@pytest.fixture
async def stripe(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    monkeypatch.setattr(sys, "path", [*sys.path, str(PROJECT / "examples/oms_stripe")])
    from oms_stripe import gateway, stand_in  # type: ignore[import-not-found]

    with stand_in.serving(stand_in.Books()) as url:
        monkeypatch.setenv(gateway.KEY, "sk_test_123")
        monkeypatch.setenv(gateway.URL, url)
        made = gateway.gateway(ProviderLimits(timeout_s=2, concurrency=50))
        yield made
        await made.close()


async def test_stripes_gateway_keeps_every_rule_that_a_gateway_has_to_keep(stripe: Any) -> None:
    report = await gateway_report("stripe", stripe, METHODS)
    found = {each.check: (each.findings, each.note) for each in report.results}
    assert {name: said for name, said in found.items() if said != ((), "")} == {}
    assert len(found) == 17
