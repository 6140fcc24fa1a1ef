"""Stripe's HTTP: forms that go there, objects and errors that come back, lists page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from oms.kit.providers import (
    Call,
    CallUnderWay,
    HttpExchange,
    ProviderMisuse,
    ProviderUnavailable,
    Reply,
)

VERSION: Final = "2024-06-20"
"""The version of the API that every request names, so that the account's own does not matter."""

PAGE: Final = 100

_OF_WHAT_IS_ASKED: Final = frozenset({400, 402, 404})
"""Statuses of a request that is wrong in itself; others are about the account and its rights."""


@dataclass(frozen=True, slots=True)
class CardRefused(Exception):
    """Stripe's `card_error`: the payment is refused for a business reason."""

    code: str
    message: str


class RequestRefused(ProviderMisuse):
    """Stripe's `invalid_request_error`: asking for the same again is useless.

    Attributes:
        code: what is wrong, in Stripe's word; empty where it has none.
        param: the field that is wrong; empty where Stripe names none.
        message: Stripe's own words, which may repeat what was sent.
    """

    def __init__(self, told: str, error: Mapping[str, Any]) -> None:
        super().__init__(told)
        self.code, self.param, self.message = (
            str(error.get(name) or "") for name in ("code", "param", "message")
        )


class KeyUsedOtherwise(ProviderMisuse):
    """Stripe's `idempotency_error`: another request has been made under this key."""


class Api:
    """One Stripe account."""

    def __init__(self, exchange: HttpExchange) -> None:
        self._exchange = exchange

    async def post(self, path: str, key: str, **fields: Any) -> Mapping[str, Any]:
        """Make or change something, under an idempotency key.

        Raises:
            CardRefused: the card was refused.
            KeyUsedOtherwise: another request was made under this key.
            RequestRefused: there is something wrong with what is asked for.
            CallUnderWay: an earlier request with this key is at work.
            ProviderUnavailable: there is no answer.
            ProviderMisuse: asking again is useless.
        """
        form = dict(_flattened("", fields))
        call = Call("POST", path, key, form=form)
        return _object(call, await self._exchange.perform(call))

    async def get(self, path: str, **query: Any) -> Mapping[str, Any]:
        """Look something up. Raises ProviderUnavailable, ProviderMisuse."""
        call = Call("GET", path, query=tuple(_flattened("", query)))
        return _object(call, await self._exchange.perform(call))

    async def every(self, path: str, **query: Any) -> AsyncIterator[Mapping[str, Any]]:
        """All objects of a list to its end, the newest first; whoever calls bounds it by what is asked for.

        Raises:
            ProviderUnavailable: there is no answer.
        """
        after: dict[str, str] = {}
        while True:
            page = await self.get(path, limit=PAGE, **query, **after)
            for each in page.get("data", ()):
                yield each
            if not page.get("has_more"):
                return
            following = page.get("next_page")
            after = {"page": following} if following else {"starting_after": page["data"][-1]["id"]}

    async def close(self) -> None:
        """Give the connections back."""
        await self._exchange.close()


def _flattened(prefix: str, fields: Mapping[str, Any]) -> list[tuple[str, str]]:
    """``{"metadata": {"a": 1}}`` as ``metadata[a]=1``, as Stripe wants its forms."""
    flat: list[tuple[str, str]] = []
    for name, value in fields.items():
        full = f"{prefix}[{name}]" if prefix else name
        if isinstance(value, Mapping):
            flat += _flattened(full, value)
        elif value is not None:
            flat.append((full, str(value).lower() if isinstance(value, bool) else str(value)))
    return flat


def _object(call: Call, reply: Reply) -> Mapping[str, Any]:
    if 200 <= reply.status < 300 and reply.body is not None:
        return reply.body
    error = reply.body.get("error") if reply.body is not None else None
    raise _refusal(call, reply.status, error if isinstance(error, Mapping) else {})


def _refusal(call: Call, status: int, error: Mapping[str, Any]) -> Exception:
    """What an error of Stripe's means; its words are repeated only where they are for the customer."""
    kind, code = str(error.get("type") or ""), str(error.get("code") or "")
    if status == 402 and kind == "card_error":
        return CardRefused(str(error.get("decline_code") or code), str(error.get("message", "")))
    told = " ".join(filter(None, (f"{call}: {status}", kind, code)))
    if kind == "idempotency_error":
        return KeyUsedOtherwise(told)
    if status == 409:
        return CallUnderWay(told)
    if 200 <= status < 300 or status >= 500 or status in (408, 425, 429) or not error:
        return ProviderUnavailable(told)
    return RequestRefused(told, error) if status in _OF_WHAT_IS_ASKED else ProviderMisuse(told)
