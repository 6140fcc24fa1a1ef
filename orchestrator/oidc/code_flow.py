"""Signing in at the provider: the authorization code flow with PKCE (RFC 6749, RFC 7636, RFC 9700)."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from orchestrator.oidc.identity import Identity, RoleRules
from orchestrator.oidc.provider import Metadata, Provider
from orchestrator.oidc.remembered import ProviderUnavailable
from orchestrator.oidc.tokens import SIGNED, TokenUnfit, Verifier

ID_TOKEN: Final = frozenset({"jwt", ""})
LOGOUT_TOKEN: Final = frozenset({"jwt", "logout+jwt", ""})
LOGOUT_EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"

_CODE: Final = re.compile(r"[A-Za-z0-9_]{1,64}")


class SignInRefused(Exception):
    """The provider did not let somebody in, or not in a way that can be believed; the message says why."""


@dataclass(frozen=True, slots=True)
class Client:
    """What we are at the provider.

    Attributes:
        secret: None for a client that has none, and shows by PKCE alone that it is the same.
        home: where people reach us, as in ``https://oms.example.com``.
    """

    client_id: str
    secret: str | None
    scopes: str
    home: str

    @property
    def callback(self) -> str:
        """Where the provider sends people who have signed in."""
        return f"{self.home}/console/login/callback"

    @property
    def signed_out(self) -> str:
        """Where it sends those who have signed out."""
        return f"{self.home}/console/login"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One way to the provider and back: only the browser that began it can bring it to its end."""

    state: str
    nonce: str
    verifier: str

    @classmethod
    def new(cls) -> Attempt:
        """One that nobody can guess."""
        return cls(*(secrets.token_urlsafe(32) for _ in range(3)))

    @property
    def challenge(self) -> str:
        """What is told of the verifier (S256)."""
        digest = hashlib.sha256(self.verifier.encode()).digest()
        return urlsafe_b64encode(digest).decode().rstrip("=")


@dataclass(frozen=True, slots=True)
class Arrival:
    """Somebody who has come back from the provider.

    Attributes:
        id_token: says to the provider who leaves, when that is.
    """

    identity: Identity
    id_token: str


class CodeFlow:
    """Sends people to the provider and takes them in again."""

    def __init__(self, provider: Provider, verifier: Verifier, client: Client, rules: RoleRules) -> None:
        self._provider = provider
        self._verifier = verifier
        self._client = client
        self._rules = rules

    @property
    def called(self) -> str:
        """What people know the provider by."""
        return urlsplit(self._provider.issuer).hostname or self._provider.issuer

    @property
    def claim(self) -> str:
        """The claim that gives roles."""
        return self._rules.claim

    async def way_there(self, attempt: Attempt) -> str:
        """The address at the provider where somebody signs in. Raises ProviderUnavailable."""
        metadata = await self._provider.metadata()
        asked = {
            "response_type": "code",
            "client_id": self._client.client_id,
            "redirect_uri": self._client.callback,
            "scope": self._client.scopes,
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": attempt.challenge,
            "code_challenge_method": "S256",
        }
        return _with_query(metadata.authorization_endpoint, asked)

    async def arrived(self, attempt: Attempt, answer: Mapping[str, str]) -> Arrival:
        """Who has come back, by what stands in the address that the provider sent them to.

        Raises:
            SignInRefused: nobody who can be believed.
            ProviderUnavailable: the provider cannot be asked.
        """
        metadata = await self._provider.metadata()
        if not hmac.compare_digest(answer.get("state", "").encode(), attempt.state.encode()):
            raise SignInRefused("this sign-in was begun elsewhere")
        if not _is_from(metadata, answer.get("iss")):
            raise SignInRefused("another provider has answered")
        if "code" not in answer:
            raise SignInRefused(f"the provider says: {_plain(answer.get('error', 'nothing'))}")
        tokens = await self._redeemed(metadata, answer["code"], attempt)
        try:
            return await self._identified(metadata, tokens, attempt)
        except TokenUnfit as unfit:
            raise SignInRefused(f"the provider's token cannot be used: {unfit}") from None

    async def way_out(self, id_token: str | None) -> str | None:
        """The address at the provider where somebody signs out there too; None where it has none."""
        try:
            metadata = await self._provider.metadata()
        except ProviderUnavailable:
            return None
        if metadata.end_session_endpoint is None:
            return None
        asked = {"client_id": self._client.client_id, "post_logout_redirect_uri": self._client.signed_out}
        hint = {"id_token_hint": id_token} if id_token else {}
        return _with_query(metadata.end_session_endpoint, {**asked, **hint})

    async def gone(self, logout_token: str) -> str:
        """The subject of whom the provider says that they have signed out (Back-Channel Logout 1.0).

        Raises:
            TokenUnfit: this is no such token, or it names no subject.
            ProviderUnavailable: no key of the provider is known.
        """
        required = (*SIGNED, "jti", "events")
        claims = await self._verifier.claims(logout_token, self._client.client_id, LOGOUT_TOKEN, required)
        events = claims["events"]
        if not isinstance(events, dict) or LOGOUT_EVENT not in events or "nonce" in claims:
            raise TokenUnfit("it is no logout token")
        return str(claims["sub"])

    async def _redeemed(self, metadata: Metadata, code: str, attempt: Attempt) -> Mapping[str, Any]:
        asked = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._client.callback,
            "code_verifier": attempt.verifier,
        }
        headers, body = _credentials(self._client, metadata)
        status, told = await self._provider.ask(
            "POST", metadata.token_endpoint, data={**asked, **body}, headers=headers
        )
        if status != 200 or not isinstance(told.get("id_token"), str):
            raise SignInRefused(f"the provider did not take the code: {_plain(told.get('error', status))}")
        return told

    async def _identified(self, metadata: Metadata, tokens: Mapping[str, Any], attempt: Attempt) -> Arrival:
        id_token = str(tokens["id_token"])
        claims = await self._verifier.claims(id_token, self._client.client_id, ID_TOKEN)
        if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), attempt.nonce.encode()):
            raise TokenUnfit("it was made for another sign-in")
        if claims.get("azp", self._client.client_id) != self._client.client_id:
            raise TokenUnfit("it was given to another client")
        if not self._rules.are_told(claims) and metadata.userinfo_endpoint is not None:
            claims = await self._with_userinfo(metadata.userinfo_endpoint, claims, tokens)
        return Arrival(self._rules.identity(claims), id_token)

    async def _with_userinfo(
        self, address: str, claims: Mapping[str, Any], tokens: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Claims that the provider tells only when it is asked for them, of the same subject."""
        headers = {"Authorization": f"Bearer {tokens.get('access_token', '')}"}
        status, told = await self._provider.ask("GET", address, headers=headers)
        if status != 200 or told.get("sub") != claims["sub"]:
            return claims
        return {**told, **claims}


def _credentials(client: Client, metadata: Metadata) -> tuple[dict[str, str], dict[str, str]]:
    """How we say who we are: headers, and fields of the body."""
    if client.secret is None:
        return {}, {"client_id": client.client_id}
    methods = metadata.token_endpoint_auth_methods_supported
    if "client_secret_basic" not in methods and "client_secret_post" in methods:
        return {}, {"client_id": client.client_id, "client_secret": client.secret}
    pair = f"{quote(client.client_id, safe='')}:{quote(client.secret, safe='')}"
    return {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}, {}


def _is_from(metadata: Metadata, told: str | None) -> bool:
    """Whether the answer is this provider's, as far as providers say so (RFC 9207)."""
    if told is None:
        return not metadata.authorization_response_iss_parameter_supported
    return told == metadata.issuer


def _with_query(address: str, query: Mapping[str, str]) -> str:
    return f"{address}{'&' if urlsplit(address).query else '?'}{urlencode(query)}"


def _plain(said: object) -> str:
    """A code of the provider's own, of which anybody may have made the address."""
    return str(said) if _CODE.fullmatch(str(said)) else "an error without a name"
