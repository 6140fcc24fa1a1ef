"""A provider over HTTP: asked seldom, believed as far as it can be, missed for a while without harm."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from orchestrator.oidc import provider as provider_module
from orchestrator.oidc.identity import Bearers, RoleRules
from orchestrator.oidc.provider import MAX_BYTES, Provider
from orchestrator.oidc.remembered import AGAIN_S, FRESH_S, STALE_S, ProviderUnavailable
from orchestrator.oidc.tokens import TokenUnfit, Verifier
from orchestrator.tokens import Role
from tests.support.issuers import AUDIENCE, MadeIssuer, SigningKey, a_made_issuer
from tests.support.served import served


@pytest.fixture
async def issuer() -> AsyncIterator[MadeIssuer]:
    async with a_made_issuer() as made:
        yield made


class Clock:
    """Goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def asking(issuer: MadeIssuer, clock: Clock) -> AsyncIterator[tuple[Provider, Bearers]]:
    provider = Provider(issuer.url, ssl.create_default_context(), clock)
    rules = RoleRules({"oms-operators": Role.OPERATOR})
    try:
        yield provider, Bearers(Verifier(provider), AUDIENCE, rules)
    finally:
        await provider.close()


async def test_many_tokens_at_once_ask_for_the_keys_once(issuer: MadeIssuer) -> None:
    async with asking(issuer, Clock()) as (_, bearers):
        found = await asyncio.gather(*(bearers.identity(issuer.token()) for _ in range(20)))
    assert {each.subject for each in found} == {"8f2c"}
    assert issuer.asked == {"discovery": 1, "keys": 1}


async def test_a_new_key_is_found_and_one_that_was_withdrawn_is_no_longer_believed(
    issuer: MadeIssuer,
) -> None:
    clock = Clock()
    async with asking(issuer, clock) as (_, bearers):
        before = issuer.token()
        await bearers.identity(before)
        issuer.keys = [SigningKey("two")]
        clock.now += AGAIN_S
        assert (await bearers.identity(issuer.token())).subject == "8f2c"
        with pytest.raises(TokenUnfit, match="not the issuer's"):
            await bearers.identity(before)


async def test_a_key_that_was_withdrawn_is_forgotten_even_if_nobody_misses_another(
    issuer: MadeIssuer,
) -> None:
    clock = Clock()
    async with asking(issuer, clock) as (_, bearers):
        before = issuer.token()
        await bearers.identity(before)
        issuer.keys = [SigningKey("two")]
        clock.now += FRESH_S
        with pytest.raises(TokenUnfit, match="not the issuer's"):
            await bearers.identity(before)


async def test_made_up_keys_do_not_have_the_provider_flooded(issuer: MadeIssuer) -> None:
    clock = Clock()
    async with asking(issuer, clock) as (_, bearers):
        for at in range(50):
            with pytest.raises(TokenUnfit):
                await bearers.identity(SigningKey(f"made-up-{at}", "ES256").signed({"iss": issuer.url}))
            clock.now += AGAIN_S / 20
    assert issuer.asked["keys"] <= 4


async def test_while_the_provider_is_down_its_keys_are_believed_for_a_day_and_no_longer(
    issuer: MadeIssuer,
) -> None:
    clock = Clock()
    async with asking(issuer, clock) as (_, bearers):
        token = issuer.token(exp=4_000_000_000)
        await bearers.identity(token)
        issuer.answers = {"discovery": (503, {}), "keys": (503, {})}
        clock.now += STALE_S - 1
        assert (await bearers.identity(token)).subject == "8f2c"
        clock.now += 1 + AGAIN_S
        with pytest.raises(ProviderUnavailable, match="answers with 503"):
            await bearers.identity(token)
        issuer.answers = {}
        clock.now += AGAIN_S
        assert (await bearers.identity(token)).subject == "8f2c"


async def test_a_provider_that_was_never_there_is_unavailable(issuer: MadeIssuer) -> None:
    nowhere = MadeIssuer(url="http://127.0.0.1:9")
    async with asking(nowhere, Clock()) as (_, bearers):
        with pytest.raises(ProviderUnavailable, match="the provider cannot be reached"):
            await bearers.identity(issuer.token())


@pytest.mark.parametrize(
    ("page", "answer", "why"),
    [
        ("discovery", (404, {}), "answers with 404 at /.well-known/openid-configuration"),
        ("discovery", (302, {}), "answers with 302"),
        ("discovery", (200, "no JSON"), "issuer: Field required"),
        ("discovery", (200, "[]"), "issuer: Field required"),
        ("discovery", (200, "x" * (MAX_BYTES + 1)), "more than 1000000 bytes"),
        ("keys", (500, {}), "answers with 500"),
        ("keys", (404, {}), "answers with 404 at /keys"),
    ],
)
async def test_an_answer_that_is_none_counts_as_no_provider(
    issuer: MadeIssuer, page: str, answer: tuple[int, Any], why: str
) -> None:
    issuer.answers[page] = answer
    async with asking(issuer, Clock()) as (_, bearers):
        with pytest.raises(ProviderUnavailable) as unavailable:
            await bearers.identity(issuer.token())
    assert why in str(unavailable.value)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"issuer": "https://evil.example.com"}, "issuer: it is another issuer's"),
        ({"jwks_uri": "file:///etc/passwd"}, "jwks_uri: it is no https address"),
        ({"token_endpoint": "ftp://host/token"}, "token_endpoint: it is no https address"),
        ({"authorization_endpoint": "javascript:alert(1)"}, "authorization_endpoint: it is no https address"),
        ({"end_session_endpoint": "//host"}, "end_session_endpoint: it is no https address"),
        ({"jwks_uri": 7}, "jwks_uri: Input should be a valid string"),
    ],
)
async def test_a_description_that_cannot_be_right_is_not_believed(
    issuer: MadeIssuer, changes: dict[str, Any], why: str
) -> None:
    issuer.metadata = changes
    async with asking(issuer, Clock()) as (provider, _):
        with pytest.raises(ProviderUnavailable) as unavailable:
            await provider.metadata()
    assert str(unavailable.value) == f"its discovery document cannot be used: {why}"


@pytest.mark.parametrize("keys", [None, "x", [], [7, None, "x"], [{"kty": "RSA"}], {"kid": "one"}])
async def test_a_key_set_without_a_key_verifies_nothing(issuer: MadeIssuer, keys: object) -> None:
    issuer.answers["keys"] = (200, {"keys": keys})
    async with asking(issuer, Clock()) as (_, bearers):
        with pytest.raises(TokenUnfit, match="not the issuer's"):
            await bearers.identity(issuer.token())


async def _hang_up(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    """The line is cut at once."""


async def _say_nothing(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def _drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    with suppress(ConnectionError):
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("serve", "why"),
    [
        (_drip, "does not answer within 0.2 s"),
        (_hang_up, "breaks off in the middle of its answer"),
        (_say_nothing, "does not answer within 0.2 s"),
    ],
)
async def test_a_provider_that_hangs_or_hangs_up_is_unavailable(
    serve: Any, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider_module, "TIMEOUT_S", 0.2)
    async with served(serve) as url, asking(MadeIssuer(url=url), Clock()) as (provider, _):
        with pytest.raises(ProviderUnavailable, match=why):
            await provider.metadata()
