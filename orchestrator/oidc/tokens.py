"""Tokens that a provider has signed: whether one is good here, and what it claims (RFC 7519, RFC 8725)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Protocol

import jwt
from jwt import PyJWK
from jwt.exceptions import (
    DecodeError,
    ExpiredSignatureError,
    ImmatureSignatureError,
    InvalidAudienceError,
    InvalidIssuerError,
    InvalidSignatureError,
    MissingRequiredClaimError,
    PyJWTError,
)

from orchestrator.oidc.keys import ALGORITHMS, Keys

CLOCK_SKEW_S: Final = 60
"""Seconds by which the provider's clock may differ from ours."""

LONGEST: Final = 16_384
"""Characters of a token."""

SIGNED: Final = ("iss", "sub", "aud", "exp", "iat")
"""What a token must claim."""

ACCESS: Final = frozenset({"jwt", "at+jwt", "application/at+jwt", ""})
"""Types of a token that opens something: those of their own standard, and those that say nothing special."""

_SHAPE: Final = re.compile(r"[A-Za-z0-9_-]{2,}\.[A-Za-z0-9_-]{2,}\.[A-Za-z0-9_-]*")


class TokenUnfit(Exception):
    """A token is not good here; the message says why and repeats nothing of it."""


class Signer(Protocol):
    """Whose tokens these are."""

    issuer: str

    async def keys(self) -> Keys:
        """The keys that are known. Raises ProviderUnavailable."""

    async def newer_keys(self) -> Keys:
        """The same, asked for anew where that was not done just now."""


def is_jwt(text: str) -> bool:
    """Whether a text has the shape of a signed token, or of one that should be."""
    return len(text) <= LONGEST and _SHAPE.fullmatch(text) is not None


class Verifier:
    """Reads tokens of one signer."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    async def claims(
        self,
        token: str,
        audience: str,
        types: frozenset[str] = ACCESS,
        required: tuple[str, ...] = SIGNED,
    ) -> Mapping[str, Any]:
        """What a token claims.

        Args:
            audience: whom it must be for.
            types: what its header may say that it is, in small letters.
            required: claims that it must have.

        Raises:
            TokenUnfit: it is not good here.
            ProviderUnavailable: no key of its signer is known.
        """
        algorithm, key_id = _header(token, types)
        key = await self._key(key_id, algorithm)
        try:
            claims: Mapping[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=audience,
                issuer=self._signer.issuer,
                leeway=CLOCK_SKEW_S,
                options={"require": list(required)},
            )
        except PyJWTError as error:
            raise TokenUnfit(_why(error)) from None
        return claims

    async def _key(self, key_id: str | None, algorithm: str) -> PyJWK:
        known = (await self._signer.keys()).fitting(key_id, algorithm)
        found = known or (await self._signer.newer_keys()).fitting(key_id, algorithm)
        if found is None:
            raise TokenUnfit("it is signed with a key that is not the issuer's")
        return found


def _header(token: str, types: frozenset[str]) -> tuple[str, str | None]:
    if not is_jwt(token):
        raise TokenUnfit("it is no signed token")
    try:
        header = jwt.get_unverified_header(token)
    except PyJWTError:
        raise TokenUnfit("it is no signed token") from None
    algorithm, key_id = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise TokenUnfit(f"its algorithm is none of {', '.join(ALGORITHMS)}")
    if str(header.get("typ", "")).lower() not in types:
        raise TokenUnfit("it is a token of another kind")
    return algorithm, key_id


def _why(error: PyJWTError) -> str:
    match error:
        case ExpiredSignatureError():
            return "it has expired"
        case ImmatureSignatureError():
            return "it is not valid yet"
        case InvalidAudienceError():
            return "it is for another audience"
        case InvalidIssuerError():
            return "it is from another issuer"
        case MissingRequiredClaimError():
            return f"it lacks the claim {error.claim}"
        case InvalidSignatureError():
            return "its signature is not the issuer's"
        case DecodeError():
            return "it cannot be read"
    return "one of its claims is not as it must be"
