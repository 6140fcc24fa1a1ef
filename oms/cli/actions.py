"""How every action on one thing goes: look, say what is about to happen, act on exactly what was seen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from oms.cli import session

if TYPE_CHECKING:
    from rich.text import Text

    from oms.api_client import ApiClient, Document


@dataclass(frozen=True, slots=True)
class Consent:
    """On what, and whether it is asked once more.

    Attributes:
        expected_version: act on this version alone; None for the one that is shown.
        yes: ask nothing.
    """

    expected_version: int | None
    yes: bool


def act(
    url: str,
    token: str | None,
    look: Callable[[ApiClient], Awaitable[Document]],
    intention: Callable[[Document], Text],
    address: Callable[[Document], str],
    body: dict[str, Any],
    consent: Consent,
) -> Document:
    """Act on what ``look`` finds; gives the API's answer.

    Args:
        address: of the action on what was found.

    Raises:
        ApiFailure: the API could not be asked, or said no.
        typer.Abort: the person did.
    """
    before = session.ask(url, token, look)
    session.confirm(intention(before), consent.yes)
    version = before["version"] if consent.expected_version is None else consent.expected_version
    asked = {**body, "expected_version": version}
    return session.ask(url, token, lambda api: api.post(address(before), asked))
