"""Who somebody is here, by what a provider claims: a subject, a name for the audit log, a role."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from orchestrator.oidc.tokens import TokenUnfit, Verifier
from orchestrator.tokens import Role

GROUPS: Final = "groups"
SHOWN_NAME: Final = "preferred_username"

BY_RANK: Final = (Role.ADMIN, Role.OPERATOR, Role.VIEWER)
"""The roles that a provider may give; somebody who is given several has the first of them."""

_SUBJECT: Final = re.compile(r"[!-~]{1,255}")
_LONGEST_NAME: Final = 64


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody whom the provider knows.

    Attributes:
        name: stands in the audit log: the subject, which never changes, then what people call it.
        role: None where nothing that is claimed gives one.
    """

    subject: str
    name: str
    role: Role | None


@dataclass(frozen=True, slots=True)
class RoleRules:
    """Which claims give which role.

    Attributes:
        roles: by what the claim holds, such as the name of a group.
        claim: its name, or its path with points between, as in ``realm_access.roles``.
        name_claim: what people call the subject.
    """

    roles: Mapping[str, Role]
    claim: str = GROUPS
    name_claim: str = SHOWN_NAME

    def identity(self, claims: Mapping[str, Any]) -> Identity:
        """Whose claims these are. Raises TokenUnfit for a subject that is none."""
        subject = claims.get("sub")
        if not isinstance(subject, str) or not _SUBJECT.fullmatch(subject):
            raise TokenUnfit("its subject is not 1 to 255 visible ASCII characters")
        given = {self.roles[held] for held in self.held(claims) if held in self.roles}
        role = next((role for role in BY_RANK if role in given), None)
        return Identity(subject, _name(subject, claims.get(self.name_claim)), role)

    def held(self, claims: Mapping[str, Any]) -> frozenset[str]:
        """What the claim holds: a list of texts, or a text, of which `scope` holds several."""
        found = _found(claims, self.claim)
        if isinstance(found, str):
            return frozenset(found.split() if self.claim == "scope" else [found])
        return (
            frozenset(each for each in found if isinstance(each, str))
            if isinstance(found, list)
            else frozenset()
        )

    def are_told(self, claims: Mapping[str, Any]) -> bool:
        """Whether the claim is there at all, be it empty."""
        return _found(claims, self.claim) is not None


class Bearers:
    """Programs that come with a token which the provider has signed for us."""

    def __init__(self, verifier: Verifier, audience: str, rules: RoleRules) -> None:
        """
        Args:
            audience: our name at the provider, which an access token must be for.
        """
        self._verifier = verifier
        self._audience = audience
        self._rules = rules

    async def identity(self, token: str) -> Identity:
        """Whose token it is.

        Raises:
            TokenUnfit: it is not good here. One with a nonce is for signing in, and opens nothing.
            ProviderUnavailable: no key of the provider is known.
        """
        claims = await self._verifier.claims(token, self._audience)
        if "nonce" in claims:
            raise TokenUnfit("it is for signing in, and no access token")
        return self._rules.identity(claims)


def _found(claims: Mapping[str, Any], path: str) -> Any:
    """By the whole name first: some providers name claims by addresses, which have points."""
    return next(_by_path(claims, path), None)


def _by_path(claims: Mapping[str, Any], path: str) -> Iterator[Any]:
    if path in claims:
        yield claims[path]
    first, _, rest = path.partition(".")
    if rest and isinstance(claims.get(first), dict):
        yield from _by_path(claims[first], rest)


def _name(subject: str, shown: Any) -> str:
    if (
        isinstance(shown, str)
        and shown != subject
        and shown.isprintable()
        and 0 < len(shown) <= _LONGEST_NAME
    ):
        return f"oidc:{subject} ({shown})"
    return f"oidc:{subject}"
