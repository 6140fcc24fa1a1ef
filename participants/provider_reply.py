"""Reading a provider's answer at the edge: what does not fit our limits never reaches a ledger."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, TypeGuard

from participants.provider_http import Call
from participants.provider_terms import ProviderMisuse

_CODE: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_REFERENCE: Final = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,200}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_MAX_MESSAGE: Final = 1000


def text(call: Call, answer: Mapping[str, Any], name: str) -> str:
    """A reference, key, currency or status: printable, at most 200 characters.

    Raises:
        ProviderMisuse: it is missing or of another form; this provider does not speak our dialect.
    """
    value = answer.get(name)
    if not is_reference(value):
        raise ProviderMisuse(f"{call}: the answer's {name} is missing or not printable text of at most 200")
    return value


def amount(call: Call, answer: Mapping[str, Any], name: str) -> int:
    """An amount in minor units. Raises ProviderMisuse when it is none."""
    value = answer.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ProviderMisuse(f"{call}: the answer's {name} is missing or not a whole number of minor units")
    return value


def items(call: Call, answer: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """The objects under ``items``. Raises ProviderMisuse when there is no such list."""
    found = answer.get("items")
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise ProviderMisuse(f"{call}: the answer has no list of items")
    return tuple(found)


def refusal(answer: Mapping[str, Any] | None, *, otherwise: str) -> tuple[str, str]:
    """Code and message of a business refusal, as `tidied` leaves them."""
    answer = answer or {}
    return tidied(answer.get("code"), answer.get("detail") or answer.get("message"), otherwise=otherwise)


def is_reference(value: object) -> TypeGuard[str]:
    """Whether it may stand in a ledger as a provider's name for something."""
    return isinstance(value, str) and _REFERENCE.fullmatch(value) is not None


def tidied(code: object, message: object, *, otherwise: str) -> tuple[str, str]:
    """Code and message of a business refusal, fit for an event; ``otherwise`` where the code is unusable.

    Unlike a reference these carry no identity, so a sloppy provider is tidied up, not refused.
    """
    usable = isinstance(code, str) and _CODE.fullmatch(code)
    tidy = _CONTROL.sub(" ", message)[:_MAX_MESSAGE] if isinstance(message, str) else ""
    return str(code) if usable else otherwise, tidy
