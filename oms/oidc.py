"""The company's own provider, as the settings name it: for people at the console, for programs, or both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from messaging.certificates import UnusableAuthorities, trusting
from messaging.identifiers import NewId
from oms.failures import Failure
from oms.settings import Settings
from orchestrator.http.dependencies import SignIn
from orchestrator.oidc.code_flow import Client, CodeFlow
from orchestrator.oidc.identity import Bearers, RoleRules
from orchestrator.oidc.provider import Provider
from orchestrator.oidc.tokens import Verifier
from orchestrator.queries.people import PeopleQueries
from orchestrator.queries.reader import Reader


@dataclass(frozen=True, slots=True)
class OwnProvider:
    """What the provider is used for here; nothing of it where there is none."""

    bearers: Bearers | None = None
    sign_in: SignIn | None = None

    @property
    def people(self) -> PeopleQueries | None:
        """Those who sign in there."""
        return self.sign_in.people if self.sign_in is not None else None


@asynccontextmanager
async def own_provider(settings: Settings, reader: Reader, new_id: NewId) -> AsyncIterator[OwnProvider]:
    """The provider of the settings, while the block runs. It need not be up: it is asked when it is needed.

    Raises:
        Failure: whose certificates are believed cannot be read.
    """
    if settings.oidc_issuer is None:
        yield OwnProvider()
        return
    try:
        provider = Provider(settings.oidc_issuer, trusting())
    except UnusableAuthorities as error:
        raise Failure(str(error)) from None
    people = PeopleQueries(reader, settings.oidc_issuer, new_id)
    try:
        yield _used(settings, provider, people)
    finally:
        await provider.close()


def _used(settings: Settings, provider: Provider, people: PeopleQueries) -> OwnProvider:
    verifier = Verifier(provider)
    rules = RoleRules(settings.oidc_roles, settings.oidc_roles_claim, settings.oidc_name_claim)
    audience, client = settings.oidc_audience, _client(settings)
    return OwnProvider(
        bearers=Bearers(verifier, audience, rules) if audience is not None else None,
        sign_in=SignIn(CodeFlow(provider, verifier, client, rules), people, settings.oidc_session_s)
        if client is not None
        else None,
    )


def _client(settings: Settings) -> Client | None:
    if settings.oidc_client_id is None or settings.public_url is None:
        return None
    secret = settings.oidc_client_secret
    return Client(
        client_id=settings.oidc_client_id,
        secret=secret.get_secret_value() if secret is not None else None,
        scopes=settings.oidc_scopes,
        home=settings.public_url.rstrip("/"),
    )
