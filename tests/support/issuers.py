"""An OpenID provider that a test makes by hand, to have it do what no good one does."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from oms.serving import served

AUDIENCE: Final = "oms-api"
CLIENT: Final = "oms-console"

_ALGORITHMS: Final = {
    "RS": jwt.algorithms.RSAAlgorithm,
    "PS": jwt.algorithms.RSAAlgorithm,
    "ES": jwt.algorithms.ECAlgorithm,
    "Ed": jwt.algorithms.OKPAlgorithm,
}


def _private(algorithm: str, bits: int) -> Any:
    if algorithm.startswith("ES"):
        return ec.generate_private_key(ec.SECP256R1())
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65537, bits)


class SigningKey:
    """A key that a provider signs with."""

    def __init__(self, key_id: str = "one", algorithm: str = "RS256", bits: int = 2048) -> None:
        self.key_id = key_id
        self.algorithm = algorithm
        self.private = _private(algorithm, bits)

    @property
    def published(self) -> dict[str, Any]:
        """As it stands in the key set."""
        of_kind: Any = _ALGORITHMS[self.algorithm[:2]]
        public: dict[str, Any] = of_kind.to_jwk(self.private.public_key(), as_dict=True)
        return {**public, "kid": self.key_id, "use": "sig"}

    def signed(self, claims: Mapping[str, Any], **header: Any) -> str:
        """A token of these claims."""
        headers = {"kid": self.key_id, **header}
        return jwt.encode(dict(claims), self.private, self.algorithm, headers)


def claims(issuer: str, **changes: Any) -> dict[str, Any]:
    """What a good token says; what is changed to None is not in it."""
    now = int(time.time())
    said = {
        "iss": issuer,
        "sub": "8f2c",
        "aud": AUDIENCE,
        "iat": now,
        "exp": now + 300,
        "groups": ["oms-operators"],
        "preferred_username": "jane",
    }
    return {name: value for name, value in {**said, **changes}.items() if value is not None}


@dataclass
class MadeIssuer:
    """The provider: what it publishes, and what it answers with when it is given a code.

    Attributes:
        asked: how often each of its pages was asked for.
        answers: statuses and bodies of pages that are not as they should be.
        told: what its tokens claim beside what all of them do.
        id_token: instead of the one that it would make.
    """

    url: str = ""
    keys: list[SigningKey] = field(default_factory=lambda: [SigningKey()])
    asked: Counter[str] = field(default_factory=Counter)
    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    told: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] = field(default_factory=dict)
    id_token: str | None = None
    redeemed: list[Mapping[str, str]] = field(default_factory=list)
    codes: set[str] = field(default_factory=lambda: {"a-code"})
    nonce: str = ""

    def token(self, **changes: Any) -> str:
        """A good access token, but for what is changed."""
        return self.keys[0].signed(claims(self.url, **changes))

    def be_good(self) -> None:
        """Do again what a good one does, with the same keys."""
        fresh = MadeIssuer(self.url, self.keys)
        for name in ("answers", "metadata", "told", "userinfo", "id_token", "redeemed", "codes"):
            setattr(self, name, getattr(fresh, name))

    def app(self) -> Starlette:
        """The provider as a program."""
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._describe),
                Route("/keys", self._publish),
                Route("/token", self._redeem, methods=["POST"]),
                Route("/userinfo", self._tell),
            ]
        )

    def sent_to(self, location: str) -> dict[str, str]:
        """What stands in the address that somebody was sent to, who then has signed in there."""
        parts = urlsplit(location)
        assert location.startswith(f"{self.url}/authorize?"), location
        found = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.nonce = found["nonce"]
        return found

    async def _describe(self, _: Request) -> Response:
        described = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "end_session_endpoint": f"{self.url}/leave",
            **self.metadata,
        }
        return self._answer("discovery", described)

    async def _publish(self, _: Request) -> Response:
        return self._answer("keys", {"keys": [key.published for key in self.keys]})

    async def _tell(self, _: Request) -> Response:
        return self._answer("userinfo", self.userinfo)

    async def _redeem(self, request: Request) -> Response:
        sent = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        self.redeemed.append({**sent, "authorization": request.headers.get("authorization", "")})
        if sent["code"] not in self.codes:
            return JSONResponse({"error": "invalid_grant"}, 400)
        self.codes.discard(sent["code"])
        told = {"aud": CLIENT, "nonce": self.nonce, **self.told}
        token = self.id_token or self.token(**told)
        return self._answer("token", {"id_token": token, "access_token": "opaque", "token_type": "Bearer"})

    def _answer(self, page: str, body: Any) -> Response:
        self.asked[page] += 1
        status, found = self.answers.get(page, (200, body))
        return Response(found, status) if isinstance(found, str | bytes) else JSONResponse(found, status)


@asynccontextmanager
async def a_made_issuer() -> AsyncIterator[MadeIssuer]:
    """A provider on this machine, while the block runs."""
    issuer = MadeIssuer()
    async with served(issuer.app(), "127.0.0.1", 0) as url:
        issuer.url = url
        yield issuer
