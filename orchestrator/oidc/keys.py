"""Keys that a provider signs with: public ones alone, each for the algorithms of its kind (RFC 7517)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from jwt import PyJWK
from jwt.exceptions import PyJWTError

ALGORITHMS: Final[Mapping[str, str]] = {
    "RS256": "RSA",
    "RS384": "RSA",
    "RS512": "RSA",
    "PS256": "RSA",
    "PS384": "RSA",
    "PS512": "RSA",
    "ES256": "EC",
    "ES384": "EC",
    "ES512": "EC",
    "EdDSA": "OKP",
}
"""What may sign a token, and the kind of key that it takes. Neither `none` nor what a shared secret signs."""

LEAST_RSA_BITS: Final = 2048
MOST_KEYS: Final = 100


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of a provider, as it publishes them."""

    published: tuple[Mapping[str, Any], ...]

    def fitting(self, key_id: str | None, algorithm: str) -> PyJWK | None:
        """The key of this id, for an algorithm that is allowed; without an id the only one that fits."""
        fit = [each for each in self.published if _fits(each, key_id, algorithm)]
        if not fit or (key_id is None and len(fit) > 1):
            return None
        return _loaded(fit[0], algorithm)


def keys_of(document: Mapping[str, Any]) -> Keys:
    """The keys of a key set; what is no key in it is passed over, as its standard wants."""
    listed = document.get("keys")
    found = listed[:MOST_KEYS] if isinstance(listed, list) else []
    return Keys(tuple(_public(found)))


def _public(listed: list[Any]) -> Iterator[Mapping[str, Any]]:
    for each in listed:
        if isinstance(each, dict) and each.get("kty") in ALGORITHMS.values():
            yield each


def _fits(key: Mapping[str, Any], key_id: str | None, algorithm: str) -> bool:
    return (
        key.get("kty") == ALGORITHMS[algorithm]
        and key.get("alg", algorithm) == algorithm
        and key.get("use", "sig") == "sig"
        and (key_id is None or key.get("kid") == key_id)
    )


def _loaded(key: Mapping[str, Any], algorithm: str) -> PyJWK | None:
    try:
        loaded = PyJWK(dict(key), algorithm)
    except (PyJWTError, ValueError, TypeError):
        return None
    bits = getattr(loaded.key, "key_size", LEAST_RSA_BITS)
    return None if key["kty"] == "RSA" and bits < LEAST_RSA_BITS else loaded
