"""What is around the servers: versions, settings and their files, providers, the broker's policies."""

from __future__ import annotations

import platform
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Final

from messaging.certificates import UnusableAuthorities, trusting
from oms import broker_policies, broker_setup
from oms.configuration_file import readable_by_all
from oms.doctor.finding import Finding, note, well, wrong
from oms.exposure import require_orders_guarded
from oms.extensions import CARRIERS, GATEWAYS, everything_installed, made_by
from oms.failures import Failure
from oms.health import VERSION
from oms.settings import HTTP, SANDBOX, Settings
from oms.variables import PREFIX, doubts
from orchestrator.oidc.provider import Provider
from orchestrator.oidc.remembered import ProviderUnavailable

OLDEST_PYTHON: Final = (3, 11)


def version_findings() -> Iterator[Finding]:
    """Which program this is, and on what it runs."""
    python = platform.python_version()
    if sys.version_info < OLDEST_PYTHON:
        yield wrong("version", f"Python {python}: install 3.11 or newer")
    yield well("version", f"{VERSION} on Python {python}, {platform.system()} {platform.machine()}")
    for each in everything_installed():
        yield note("extension", f"{each.distribution}: {each.name}")


def setting_findings(settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Variables that nobody reads, and settings that are allowed and yet not meant for customers."""
    found = [wrong("settings", doubt) for doubt in (*doubts(environment), *readable_by_all())]
    yield from found or [well("settings", "every variable is known, every value allowed")]
    if settings.admin_token is None:
        yield note("tokens", f"{PREFIX}ADMIN_TOKEN is not set: `oms api` needs it; `oms run` makes its own")
    if settings.orders_token is None and settings.orders_open == "no":
        yield note("tokens", f"{PREFIX}ORDERS_TOKEN is not set: beyond loopback the API will not start")
    elif settings.orders_open == "yes":
        yield note("tokens", f"{PREFIX}ORDERS_OPEN=yes: everybody who reaches the API may order")
    try:
        require_orders_guarded(settings, "127.0.0.1")
        trusting()
    except (Failure, UnusableAuthorities) as error:
        yield wrong("settings", str(error))


async def provider_findings(settings: Settings) -> AsyncIterator[Finding]:
    """The payment gateway and the carrier as they are chosen, and the company's own OpenID provider."""
    for name, group, chosen, url in (
        ("payment gateway", GATEWAYS, settings.payment_gateway_chosen, settings.payment_gateway_url),
        ("carrier", CARRIERS, settings.carrier_chosen, settings.carrier_url),
    ):
        if chosen == SANDBOX:
            yield note(name, "the sandbox: nobody is charged and nothing is shipped")
        elif chosen != HTTP:
            yield _of_extension(name, group, chosen, settings)
        elif url is not None:
            yield well(name, url.partition("?")[0].rpartition("@")[2])
    if settings.oidc_issuer is not None:
        yield await _sign_in(settings.oidc_issuer)


def _of_extension(name: str, group: str, chosen: str, settings: Settings) -> Finding:
    """Whether its participant would find it; no client is made, as that may ask for secrets of its own."""
    try:
        extension, _ = made_by(group, chosen, settings.extensions_off)
    except Failure as error:
        return wrong(name, f"{PREFIX}{name.upper().replace(' ', '_')}: {error}")
    return well(name, f"the extension {chosen} of {extension.distribution} {extension.version}")


async def _sign_in(issuer: str) -> Finding:
    try:
        provider = Provider(issuer, trusting())
    except UnusableAuthorities as error:
        return wrong("sign-in", str(error))
    try:
        keys = await provider.keys()
    except ProviderUnavailable as error:
        return wrong("sign-in", f"{issuer}: {error}: look at {PREFIX}OIDC_ISSUER, and at the provider")
    finally:
        await provider.close()
    if not keys.published:
        return wrong("sign-in", f"{issuer} publishes no key that can verify a token")
    return well("sign-in", f"{issuer} answers, with {len(keys.published)} keys")


def policy_findings(settings: Settings, listed: str | None) -> Iterator[Finding]:
    """What policies at the broker would lose; AMQP tells nothing of them, so somebody has to list them."""
    if not settings.broker_url:
        return
    if listed is None:
        yield note("policies", "not looked at: pipe what `rabbitmqctl` lists into `oms doctor --policies -`")
        return
    try:
        harms = broker_policies.harms(broker_policies.read(listed), broker_setup.queues(settings))
    except Failure as error:
        yield wrong("policies", str(error))
        return
    yield from [wrong("policies", harm) for harm in harms] or [well("policies", "none harms our queues")]
