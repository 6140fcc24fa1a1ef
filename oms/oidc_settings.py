"""What the variables of the company's own provider may say, one by one and together."""

from __future__ import annotations

from typing import Final, Protocol
from urllib.parse import urlsplit

from oms.loopback import is_loopback
from oms.variables import PREFIX, listed
from orchestrator.oidc.identity import BY_RANK
from orchestrator.tokens import Role

_ROLES: Final = ", ".join(role.value for role in reversed(BY_RANK))
_OPTIONAL: Final = ("oidc_client_secret", "oidc_audience", "oidc_client_id", "oidc_roles")


class OidcSettings(Protocol):
    """The settings of the provider, as far as they depend on each other."""

    @property
    def oidc_issuer(self) -> str | None:
        """Whose provider it is."""

    @property
    def oidc_client_id(self) -> str | None:
        """What the console is there."""

    @property
    def oidc_audience(self) -> str | None:
        """What the API is there."""

    @property
    def oidc_roles(self) -> dict[str, Role]:
        """Roles by what a claim holds."""

    @property
    def public_url(self) -> str | None:
        """Where people reach the console."""


def https_or_loopback(value: str) -> str:
    """An address without a path that says anything more; over TLS, but for a trial on this machine.

    Raises:
        ValueError: it is none.
    """
    example = "https://host/path without a query (http:// on loopback alone)"
    try:
        parts = urlsplit(value)
        sound = bool(parts.hostname) and (parts.port is None or parts.port > 0) and not parts.username
    except ValueError:
        sound = False
    if not sound or parts.query or parts.fragment:
        raise ValueError(f"allowed is {example}")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        raise ValueError(f"allowed is {example}")
    return value


def roles_by_group(text: str) -> dict[str, Role]:
    """``admin=a,operator=b`` by what a claim holds: a → admin, b → operator.

    Raises:
        ValueError: this is not what it says.
    """
    found: dict[str, Role] = {}
    for part in listed(text):
        name, _, group = (each.strip() for each in part.partition("="))
        if name not in {role.value for role in BY_RANK} or not group or group in found:
            raise ValueError(
                f"allowed is ROLE=GROUP (several with commas between), each role one of {_ROLES}, "
                "each group once"
            )
        found[group] = Role(name)
    return found


def oidc_trouble(settings: OidcSettings) -> str | None:
    """What is missing or contradicts itself, in a sentence; None where all is well."""
    named = f"{PREFIX}OIDC_ISSUER"
    if settings.oidc_issuer is None:
        given = [name for name in _OPTIONAL if getattr(settings, name)]
        return f"{named} must be set where {_variable(given[0])} is" if given else None
    if not settings.oidc_roles:
        return f"{_variable('oidc_roles')} must be set where {named} is: without it nobody has a role"
    if settings.oidc_client_id is None and settings.oidc_audience is None:
        return (
            f"{_variable('oidc_client_id')} (for people at the console) or {_variable('oidc_audience')} "
            f"(for programs) must be set where {named} is"
        )
    if settings.oidc_client_id is not None and settings.public_url is None:
        return f"{_variable('public_url')} must be set where {_variable('oidc_client_id')} is"
    if settings.oidc_client_id == settings.oidc_audience:
        return (
            f"{_variable('oidc_audience')} must be another than {_variable('oidc_client_id')}: what tells "
            "the console who somebody is would open /admin too"
        )
    return None


def _variable(name: str) -> str:
    return f"{PREFIX}{name.upper()}"
