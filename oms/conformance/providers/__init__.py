"""All that is tried with a provider, as payment gateway or as carrier."""

from __future__ import annotations

import time
from collections.abc import Sequence

from oms.conformance.play import Tell
from oms.conformance.providers.authorizations import authorization_attempts
from oms.conformance.providers.charges import ChargeExamples, Charges, refund_attempts
from oms.conformance.providers.keys import Attempt, key_attempts, words
from oms.conformance.providers.shipments import ShipmentExamples, Shipments
from oms.conformance.verdict import Broken, Finding, NotTried, Report, Result
from participants.payment.gateway import PaymentGateway
from participants.provider_terms import ProviderError
from participants.shipping.carrier import Carrier


async def gateway_report(
    name: str, gateway: PaymentGateway, examples: ChargeExamples, tell: Tell = lambda _: None
) -> Report:
    """Try everything with a payment gateway. It takes and gives back real money where the gateway does."""
    attempts = [
        *key_attempts(Charges(gateway, examples)),
        *refund_attempts(gateway, examples),
        *await authorization_attempts(gateway, examples),
    ]
    return await _tried(name, attempts, tell)


async def carrier_report(
    name: str, carrier: Carrier, examples: ShipmentExamples, tell: Tell = lambda _: None
) -> Report:
    """Try everything with a carrier. It orders real parcels where the carrier takes them."""
    return await _tried(name, key_attempts(Shipments(carrier, examples)), tell)


async def _tried(name: str, attempts: Sequence[Attempt], tell: Tell) -> Report:
    report = Report(name)
    for attempt in attempts:
        tell(attempt.name)
        began, note, broken = time.monotonic(), "", Broken()
        try:
            await attempt.run()
        except Broken as found:
            broken = found
        except ProviderError as error:
            broken = Broken(Finding("P6", attempt.name, "an answer", words(error)))
        except NotTried as reason:
            note = str(reason)
        seconds = time.monotonic() - began
        report.results.append(Result(attempt.name, "", attempt.rules, broken.findings, note, seconds))
        if broken.findings and attempt is attempts[0]:
            report.results.append(Result("everything else", "", (), note="the first call had no success"))
            break
    return report
