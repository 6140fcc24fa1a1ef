"""Gateways and carriers: right ones pass, each wrong one is caught by the rule that it breaks."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Final

import pytest

from oms.conformance.providers import carrier_report, gateway_report
from oms.conformance.providers.charges import ChargeExamples
from oms.conformance.providers.shipments import ShipmentExamples
from oms.conformance.verdict import Report, Verdict
from simulation.loop import SimulatedLoop
from tests.unit.conformance.house import Fault, HouseCarrier, HouseGateway

CHARGES: Final = ChargeExamples(
    payment_method="pm_good", declined="pm_bad", slow="pm_slow", failing="pm_away"
)
SHIPMENTS: Final = ShipmentExamples(
    refused={"postal_code": "pm_bad"}, slow={"postal_code": "pm_slow"}, failing={"postal_code": "pm_away"}
)
OF_REFUNDS: Final = {
    Fault.REFUNDS_TWICE,
    Fault.REFUNDS_TOO_MUCH,
    Fault.OTHER_REFUND_DONE,
    Fault.REFUNDS_NOT_ON_THE_CHARGE,
    Fault.FINDS_NO_REFUND,
    Fault.WRONG_AMOUNT,
}
OTHER_RULES: Final = {
    Fault.REFUSAL_IS_A_FAILURE: "P8",
    Fault.REFUSAL_IS_MISUSE: "P8",
    Fault.VOIDS_NOTHING: "P10",
    Fault.VOIDS_EVERYTHING: "P10",
    Fault.FORGETS_VOIDS: "P10",
    Fault.FAILURE_IS_A_REFUSAL: "P8",
}
"""All the others break P6."""


def played(trial: Coroutine[Any, Any, Report]) -> Report:
    """In simulated time: slow calls cost nothing."""
    loop = SimulatedLoop()
    try:
        return loop.run_until_complete(trial)
    finally:
        loop.close()


def rules_of(report: Report) -> set[str]:
    return {finding.rule for finding in report.findings}


def test_a_right_gateway_passes_everything() -> None:
    report = played(gateway_report("house", HouseGateway(), CHARGES))
    assert report.findings == []
    assert {result.verdict for result in report.results} == {Verdict.PASSED}


def test_a_right_carrier_passes_everything() -> None:
    report = played(carrier_report("house", HouseCarrier(), SHIPMENTS))
    assert report.findings == []
    assert {result.verdict for result in report.results} == {Verdict.PASSED}


@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name.lower())
def test_a_wrong_gateway_is_caught(fault: Fault) -> None:
    report = played(gateway_report("house", HouseGateway(fault), CHARGES))
    assert OTHER_RULES.get(fault, "P6") in rules_of(report), report.as_json()
    assert all(finding.sent and finding.came and finding.look_at for finding in report.findings)


@pytest.mark.parametrize(
    "fault", [fault for fault in Fault if fault not in OF_REFUNDS], ids=lambda fault: fault.name.lower()
)
def test_a_wrong_carrier_is_caught(fault: Fault) -> None:
    report = played(carrier_report("house", HouseCarrier(fault), SHIPMENTS))
    assert OTHER_RULES.get(fault, "P6") in rules_of(report), report.as_json()


def test_what_is_not_offered_is_not_tried() -> None:
    gateway = HouseGateway(offers_void=False)
    report = played(gateway_report("house", gateway, ChargeExamples(payment_method="pm_good")))
    untried = {result.check for result in report.results if result.verdict is Verdict.NOT_TRIED}
    assert untried == {
        "a refusal",
        "void of a key without effect",
        "void of a key that has its answer",
        "void side by side with its call",
        "a call while an earlier one is at work",
        "a failure is no refusal",
    }
    assert report.ok


def test_nothing_else_is_asked_where_the_first_call_has_no_success() -> None:
    gateway = HouseGateway()
    report = played(gateway_report("house", gateway, ChargeExamples(payment_method="pm_bad")))
    assert [result.verdict for result in report.results] == [Verdict.FAILED, Verdict.NOT_TRIED]
    assert len(gateway.house.entries) == 1
