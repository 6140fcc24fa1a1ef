"""Tokens of a provider: the good ones, and every way in which one can be bad."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from orchestrator.oidc.identity import Bearers, RoleRules
from orchestrator.oidc.keys import Keys, keys_of
from orchestrator.oidc.tokens import CLOCK_SKEW_S, LONGEST, TokenUnfit, Verifier
from orchestrator.tokens import Role
from tests.support.issuers import AUDIENCE, SigningKey, claims

ISSUER = "https://id.example.com"
RULES = RoleRules({"oms-admins": Role.ADMIN, "oms-operators": Role.OPERATOR, "oms-viewers": Role.VIEWER})
ONE = SigningKey()


class FromNow(int):
    """Seconds from the moment at which the test runs, which may be minutes after it was collected."""


def at_once(changes: dict[str, Any]) -> dict[str, Any]:
    now = int(time.time())
    return {name: now + value if isinstance(value, FromNow) else value for name, value in changes.items()}


class Published:
    """A signer of the keys that it is made with."""

    issuer = ISSUER

    def __init__(self, *keys: SigningKey | Mapping[str, Any]) -> None:
        listed = [key.published if isinstance(key, SigningKey) else dict(key) for key in keys]
        self._keys = keys_of({"keys": listed})

    async def keys(self) -> Keys:
        return self._keys

    async def newer_keys(self) -> Keys:
        return self._keys


def bearers(*keys: SigningKey | Mapping[str, Any], rules: RoleRules = RULES) -> Bearers:
    return Bearers(Verifier(Published(*keys or (ONE,))), AUDIENCE, rules)


async def refusal(token: str, *keys: SigningKey | Mapping[str, Any]) -> str:
    with pytest.raises(TokenUnfit) as refused:
        await bearers(*keys).identity(token)
    assert token not in str(refused.value)
    return str(refused.value)


def encoded(part: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def by_secret(secret: bytes, header: dict[str, Any]) -> str:
    """A token whose signature is made with a shared secret."""
    text = f"{encoded(header)}.{encoded(claims(ISSUER))}"
    signature = hmac.digest(secret, text.encode(), hashlib.sha256)
    return f"{text}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


@pytest.mark.parametrize("algorithm", ["RS256", "RS512", "PS256", "ES256", "EdDSA"])
async def test_a_good_token_names_its_subject_and_gives_a_role(algorithm: str) -> None:
    key = SigningKey(algorithm=algorithm)
    identity = await bearers(key).identity(key.signed(claims(ISSUER)))
    assert (identity.subject, identity.name, identity.role) == ("8f2c", "oidc:8f2c (jane)", Role.OPERATOR)


@pytest.mark.parametrize("kind", ["at+jwt", "application/at+jwt", "JWT"])
async def test_an_access_token_may_say_what_it_is(kind: str) -> None:
    assert (await bearers().identity(ONE.signed(claims(ISSUER), typ=kind))).role is Role.OPERATOR


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"exp": FromNow(-CLOCK_SKEW_S - 1)}, "it has expired"),
        ({"nbf": FromNow(CLOCK_SKEW_S + 60)}, "it is not valid yet"),
        ({"iat": FromNow(CLOCK_SKEW_S + 60)}, "it is not valid yet"),
        ({"aud": "another"}, "it is for another audience"),
        ({"aud": ["another", "others"]}, "it is for another audience"),
        ({"iss": f"{ISSUER}/"}, "it is from another issuer"),
        ({"iss": "https://evil.example.com"}, "it is from another issuer"),
        ({"exp": None}, "it lacks the claim exp"),
        ({"iat": None}, "it lacks the claim iat"),
        ({"aud": None}, "it lacks the claim aud"),
        ({"iss": None}, "it lacks the claim iss"),
        ({"sub": None}, "it lacks the claim sub"),
        ({"sub": ""}, "its subject is not 1 to 255 visible ASCII characters"),
        ({"sub": "jane doe"}, "its subject is not 1 to 255 visible ASCII characters"),
        ({"sub": "x" * 256}, "its subject is not 1 to 255 visible ASCII characters"),
        ({"sub": 7}, "one of its claims is not as it must be"),
        ({"exp": "tomorrow"}, "it cannot be read"),
        ({"nonce": "n"}, "it is for signing in, and no access token"),
    ],
)
async def test_a_token_that_is_not_good_here_says_why(changes: dict[str, Any], why: str) -> None:
    assert await refusal(ONE.signed(claims(ISSUER, **at_once(changes)))) == why


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": FromNow(30 - CLOCK_SKEW_S)},
        {"nbf": FromNow(CLOCK_SKEW_S - 30)},
        {"iat": FromNow(CLOCK_SKEW_S - 30)},
        {"aud": ["another", AUDIENCE]},
    ],
)
async def test_clocks_may_differ_a_little_and_a_token_may_be_for_several(changes: dict[str, Any]) -> None:
    assert (await bearers().identity(ONE.signed(claims(ISSUER, **at_once(changes))))).role is Role.OPERATOR


@pytest.mark.parametrize("none", ["none", "None", "NONE", "nOnE", "", None, 7])
async def test_an_unsigned_token_is_refused(none: object) -> None:
    token = f"{encoded({'alg': none, 'kid': 'one'})}.{encoded(claims(ISSUER))}."
    assert "its algorithm is none of RS256" in await refusal(token)


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
async def test_a_token_signed_with_the_public_key_as_a_secret_is_refused(algorithm: str) -> None:
    public = ONE.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    token = by_secret(public, {"alg": algorithm, "kid": "one", "typ": "JWT"})
    assert "its algorithm is none of RS256" in await refusal(token)


async def test_a_shared_secret_among_the_keys_opens_nothing() -> None:
    secret = {"kty": "oct", "kid": "one", "k": base64.urlsafe_b64encode(b"s" * 32).decode()}
    assert "its algorithm is none of" in await refusal(by_secret(b"s" * 32, {"alg": "HS256"}), secret)


async def test_another_key_of_the_same_name_is_not_believed() -> None:
    assert await refusal(SigningKey("one").signed(claims(ISSUER))) == "its signature is not the issuer's"


@pytest.mark.parametrize("key_id", ["two", "../../one", "", "x" * 1000])
async def test_a_key_that_is_not_published_is_not_believed(key_id: str) -> None:
    token = SigningKey(key_id).signed(claims(ISSUER))
    assert await refusal(token) == "it is signed with a key that is not the issuer's"


async def test_a_key_that_a_token_brings_along_is_not_believed() -> None:
    stranger = SigningKey("two")
    token = stranger.signed(claims(ISSUER), jwk=stranger.published, jku="https://evil.example.com/keys")
    assert await refusal(token) == "it is signed with a key that is not the issuer's"


@pytest.mark.parametrize(
    "change", [{"use": "enc"}, {"alg": "RS512"}, {"kty": "EC"}, {"n": "AQAB"}, {"n": 7}, {"kid": "two"}]
)
async def test_a_key_for_something_else_verifies_nothing(change: dict[str, Any]) -> None:
    token = ONE.signed(claims(ISSUER))
    why = await refusal(token, {**ONE.published, **change})
    assert why == "it is signed with a key that is not the issuer's"


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
async def test_a_key_that_is_too_short_verifies_nothing() -> None:
    short = SigningKey(bits=1024)
    assert (
        await refusal(short.signed(claims(ISSUER)), short)
        == "it is signed with a key that is not the issuer's"
    )


async def test_a_token_without_the_name_of_its_key_is_read_where_there_is_one_key() -> None:
    token = jwt.encode(claims(ISSUER), ONE.private, "RS256")
    assert (await bearers(ONE).identity(token)).subject == "8f2c"
    assert "not the issuer's" in await refusal(token, ONE, SigningKey("two"))


async def test_an_extension_that_must_be_understood_is_refused() -> None:
    token = ONE.signed(claims(ISSUER), crit=["x-lifetime"], **{"x-lifetime": 1})
    assert await refusal(token)


@pytest.mark.parametrize("kind", ["logout+jwt", "dpop+jwt", "secevent+jwt", "id+jwt"])
async def test_a_token_of_another_kind_opens_nothing(kind: str) -> None:
    assert await refusal(ONE.signed(claims(ISSUER), typ=kind)) == "it is a token of another kind"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "a.b",
        "a.b.c",
        "e30.e30.",
        "e30.e30.x.y.z",
        f"{encoded(['RS256'])}.e30.x",
        f"e30.{'A' * LONGEST}.x",
        "é.é.é",
    ],
)
async def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(TokenUnfit):
        await bearers().identity(text)


@pytest.mark.parametrize("at", [0, 1, 2])
async def test_a_token_that_was_changed_is_refused(at: int) -> None:
    parts = ONE.signed(claims(ISSUER)).split(".")
    other = SigningKey("two").signed(claims(ISSUER, sub="boss", groups=["oms-admins"])).split(".")
    parts[at] = other[at]
    assert await refusal(".".join(parts))


# -- claims and roles -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "role"),
    [
        (["oms-viewers"], Role.VIEWER),
        (["oms-viewers", "oms-admins", "oms-operators"], Role.ADMIN),
        (["others", "oms-viewers"], Role.VIEWER),
        ("oms-operators", Role.OPERATOR),
        ("oms-viewers oms-admins", None),
        (["OMS-ADMINS"], None),
        (["admin"], None),
        ([], None),
        (None, None),
        ({"oms-admins": True}, None),
        ([["oms-admins"]], None),
        (7, None),
    ],
)
def test_groups_give_the_highest_role_that_is_mapped_and_no_other(said: object, role: Role | None) -> None:
    assert RULES.identity({"sub": "s", "groups": said}).role is role


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        ("realm_access.roles", {"realm_access": {"roles": ["oms-admins"]}}),
        ("https://example.com/roles", {"https://example.com/roles": ["oms-admins"]}),
        ("resource_access.oms.roles", {"resource_access": {"oms": {"roles": ["oms-admins"]}}}),
        ("scope", {"scope": "openid oms-admins"}),
    ],
)
def test_the_claim_may_be_named_as_providers_name_theirs(claim: str, said: dict[str, Any]) -> None:
    assert RoleRules(RULES.roles, claim).identity({"sub": "s", **said}).role is Role.ADMIN


@pytest.mark.parametrize("path", ["realm_access", "realm_access.roles.oms", ".", "a..b", "realm_access."])
def test_a_path_that_leads_nowhere_gives_nothing(path: str) -> None:
    said = {"sub": "s", "realm_access": {"roles": ["oms-admins"]}}
    assert RoleRules(RULES.roles, path).identity(said).role is None


@pytest.mark.parametrize(
    ("shown", "name"),
    [
        ("jane", "oidc:s (jane)"),
        ("s", "oidc:s"),
        (None, "oidc:s"),
        (7, "oidc:s"),
        ("", "oidc:s"),
        ("two\nlines", "oidc:s"),
        ("x" * 65, "oidc:s"),
        ("\u202eevil", "oidc:s"),
    ],
)
def test_the_name_begins_with_the_subject_whatever_somebody_is_called(shown: object, name: str) -> None:
    assert RULES.identity({"sub": "s", "preferred_username": shown}).name == name
