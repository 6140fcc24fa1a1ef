"""What a key must do, whatever is done under it: one effect, one answer, found again, closed for good."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from functools import partial
from typing import Any, Final, Protocol
from uuid import uuid4

from oms.conformance.verdict import Broken, Finding, NotTried
from participants.provider_terms import CallUnderWay, ProviderError, ProviderMisuse, Voided, VoidNotOffered

AT_ONCE: Final = 10
TRIES: Final = 100
BETWEEN_TRIES_S: Final = 0.1
AFTER_START_S: Final = 0.5
"""Seconds that a slow call gets to be at work before another one comes."""


class Kind(StrEnum):
    """Which request is made."""

    GOOD = "one that succeeds"
    OTHER = "another one that would succeed"
    REFUSED = "one that is refused"
    SLOW = "one that takes effect and is not answered in time"
    FAILING = "one that is never answered"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One thing that is tried with a provider."""

    name: str
    rules: tuple[str, ...]
    run: Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Work:
    """A key and the order that it is for, both new."""

    order_id: str
    key: str

    def beside(self) -> Work:
        """Another key for the same order."""
        return Work(self.order_id, f"{uuid4()}:{self.key.partition(':')[2]}")


class Keyed(Protocol):
    """What is done under keys: charges or shipments."""

    name: str
    success: type[Any]
    refusal: type[Any]

    def new(self) -> Work:
        """A key and an order that nobody has seen."""

    def offers(self, kind: Kind) -> bool:
        """Whether an example of such a request was given."""

    def do(self, work: Work, kind: Kind = Kind.GOOD) -> Awaitable[Any]:
        """Make the request; an answer, or a `ProviderError`."""

    def find(self, key: str) -> Awaitable[Any]:
        """What is remembered of a key."""

    def of_order(self, order_id: str) -> Awaitable[Sequence[Any]]:
        """What took effect for an order."""

    def void(self, key: str) -> Awaitable[Any]:
        """Close a key."""


def key_attempts(keyed: Keyed) -> list[Attempt]:
    """Everything about keys, in order."""
    return [
        Attempt("a first call", ("P6",), partial(_first, keyed)),
        Attempt("the same call again", ("P6",), partial(_again, keyed)),
        Attempt("the same call side by side", ("P6",), partial(_side_by_side, keyed)),
        Attempt("another request under the key", ("P6",), partial(_other_request, keyed)),
        Attempt("another key", ("P6",), partial(_other_key, keyed)),
        Attempt("a refusal", ("P8", "P6"), partial(_refusal, keyed)),
        Attempt("look-up by key and by order", ("P6",), partial(_look_up, keyed)),
        Attempt("void of a key without effect", ("P10",), partial(_void, keyed)),
        Attempt("void of a key that has its answer", ("P10",), partial(_late_void, keyed)),
        Attempt("void side by side with its call", ("P10",), partial(_void_beside, keyed)),
        Attempt("a call while an earlier one is at work", ("P6",), partial(_under_way, keyed)),
        Attempt("a failure is no refusal", ("P6", "P8"), partial(_failure, keyed)),
    ]


async def asked(call: Awaitable[Any]) -> Any:
    """What a call came to: its answer, or the error that says that there was none."""
    try:
        return await call
    except ProviderError as error:
        return error


async def answered(call: Callable[[], Awaitable[Any]]) -> Any:
    """The same, asked again for as long as an earlier call with the key is at work."""
    for _ in range(TRIES):
        came = await asked(call())
        if not isinstance(came, CallUnderWay):
            return came
        await asyncio.sleep(BETWEEN_TRIES_S)
    return came


def must(holds: object, rule: str, sent: str, expected: str, came: object) -> None:
    """Raises Broken where something does not hold."""
    if not holds:
        raise Broken(Finding(rule, sent, expected, words(came)))


def words(came: object) -> str:
    """Anything that came, in a person's words."""
    if isinstance(came, Exception):
        return f"{type(came).__name__}: {came}"
    if is_dataclass(came) and not isinstance(came, type):
        said = ", ".join(f"{each.name} {getattr(came, each.name)!r}" for each in fields(came))
        return f"{type(came).__name__} {said}".strip()
    return ", ".join(map(words, came)) or "none" if isinstance(came, list | tuple) else repr(came)


async def _first(keyed: Keyed) -> None:
    await _done(keyed, keyed.new())


async def _done(keyed: Keyed, work: Work) -> Any:
    came = await answered(partial(keyed.do, work))
    must(
        isinstance(came, keyed.success),
        "P6",
        f"{keyed.name} under the new key {work.key}",
        keyed.success.__name__,
        came,
    )
    return came


async def _again(keyed: Keyed) -> None:
    work = keyed.new()
    first = await _done(keyed, work)
    for _ in range(2):
        came = await answered(partial(keyed.do, work))
        must(came == first, "P6", f"the same {keyed.name} under {work.key} again", words(first), came)
    await _has_one(keyed, work, "three calls with one key")


async def _side_by_side(keyed: Keyed) -> None:
    work = keyed.new()
    came = await asyncio.gather(*(asked(keyed.do(work)) for _ in range(AT_ONCE)))
    answer = await _done(keyed, work)
    what = f"{AT_ONCE} calls at once with the key {work.key}"
    for each in came:
        fits = each == answer or isinstance(each, CallUnderWay)
        must(fits, "P6", what, f"{words(answer)} for each, or 409", each)
    await _has_one(keyed, work, what)


async def _other_request(keyed: Keyed) -> None:
    work = keyed.new()
    first = await _done(keyed, work)
    before = list(await keyed.of_order(work.order_id))
    came = await answered(partial(keyed.do, work, Kind.OTHER))
    sent = f"another {keyed.name} under the key {work.key}"
    must(isinstance(came, ProviderMisuse), "P6", sent, "a status such as 422, which is no answer", came)
    again = await answered(partial(keyed.do, work))
    must(again == first, "P6", f"the first {keyed.name} under that key again", words(first), again)
    after = list(await keyed.of_order(work.order_id))
    must(after == before, "P6", f"look-up by order after {sent}", words(before), after)


async def _other_key(keyed: Keyed) -> None:
    work = keyed.new()
    first = await _done(keyed, work)
    other = await _done(keyed, work.beside())
    must(other != first, "P6", f"the same {keyed.name} under another key", "a reference of its own", other)
    found = list(await keyed.of_order(work.order_id))
    must(len(found) == 2, "P6", f"look-up of the order of two keys: {work.order_id}", "both", found)


async def _refusal(keyed: Keyed) -> None:
    work = keyed.new()
    sent = f"a {keyed.name} that is refused, under {work.key}"
    refused = await answered(partial(keyed.do, work, Kind.REFUSED))
    must(isinstance(refused, keyed.refusal), "P8", sent, keyed.refusal.__name__, refused)
    again = await answered(partial(keyed.do, work, Kind.REFUSED))
    must(again == refused, "P6", f"{sent}, again", words(refused), again)
    found = await asked(keyed.find(work.key))
    must(isinstance(found, keyed.refusal), "P6", f"look-up of {work.key}", words(refused), found)
    effects = list(await keyed.of_order(work.order_id))
    must(not effects, "P8", f"look-up of the order of {work.key}", "nothing took effect", effects)


async def _look_up(keyed: Keyed) -> None:
    work = keyed.new()
    answer = await _done(keyed, work)
    found = await asked(keyed.find(work.key))
    must(found == answer, "P6", f"look-up of the key {work.key}", words(answer), found)
    [effect] = await _has_one(keyed, work, "one call")
    right = (effect.key, effect.reference) == (work.key, answer.reference)
    must(right, "P6", f"look-up of its order {work.order_id}", f"{work.key} with {answer.reference}", effect)
    nobody = keyed.new()
    found = await asked(keyed.find(nobody.key))
    must(found is None, "P6", f"look-up of a key that was never used: {nobody.key}", "no items", found)
    nothing = list(await keyed.of_order(nobody.order_id))
    must(not nothing, "P6", f"look-up of an order that was never seen: {nobody.order_id}", "none", nothing)


async def _void(keyed: Keyed) -> None:
    work = keyed.new()
    sent = f"void of the unused key {work.key}"
    came = await _voided(keyed, work)
    must(isinstance(came, Voided), "P10", sent, "status voided", came)
    again = await _voided(keyed, work)
    must(isinstance(again, Voided), "P10", f"{sent}, again", "status voided", again)
    late = await answered(partial(keyed.do, work))
    must(isinstance(late, ProviderMisuse), "P10", f"{keyed.name} after {sent}", "a status such as 410", late)
    found = await asked(keyed.find(work.key))
    must(isinstance(found, Voided), "P10", f"look-up after {sent}", "status voided", found)
    effects = list(await keyed.of_order(work.order_id))
    must(not effects, "P10", f"look-up of the order after {sent}", "nothing took effect", effects)


async def _late_void(keyed: Keyed) -> None:
    for kind in filter(keyed.offers, (Kind.GOOD, Kind.REFUSED)):
        work = keyed.new()
        answer = await answered(partial(keyed.do, work, kind))
        came = await _voided(keyed, work)
        must(came == answer, "P10", f"void of {work.key} after {kind}", words(answer), came)
        again = await answered(partial(keyed.do, work, kind))
        must(again == answer, "P10", f"the same {keyed.name} after that void", words(answer), again)


async def _void_beside(keyed: Keyed) -> None:
    works = [keyed.new() for _ in range(AT_ONCE)]
    await _voided(keyed, keyed.new())  # whether it is offered at all
    calls = [call for work in works for call in (asked(keyed.do(work)), asked(keyed.void(work.key)))]
    await asyncio.gather(*calls)
    for work in works:
        sent = f"void side by side with the {keyed.name} of {work.key}"
        came = await _voided(keyed, work)
        effects = list(await keyed.of_order(work.order_id))
        fits = len(effects) == (1 if isinstance(came, keyed.success) else 0)
        must(fits, "P10", sent, f"what look-up shows: {words(effects)}", came)


async def _under_way(keyed: Keyed) -> None:
    _require(keyed, Kind.SLOW)
    work = keyed.new()
    slow = asyncio.ensure_future(asked(keyed.do(work, Kind.SLOW)))
    await asyncio.sleep(AFTER_START_S)
    beside = await asked(keyed.do(work, Kind.SLOW))
    fits = isinstance(beside, CallUnderWay | keyed.success)
    must(fits, "P6", f"a second call while the first with {work.key} is at work", "409", beside)
    await slow
    answer = await answered(partial(keyed.do, work, Kind.SLOW))
    sent = f"a call after the first with {work.key} was given up"
    must(isinstance(answer, keyed.success), "P6", sent, keyed.success.__name__, answer)
    await _has_one(keyed, work, "calls of which the first was not answered")


async def _failure(keyed: Keyed) -> None:
    _require(keyed, Kind.FAILING)
    work = keyed.new()
    came = await asked(keyed.do(work, Kind.FAILING))
    no_answer = isinstance(came, ProviderError) and not isinstance(came, ProviderMisuse)
    sent = f"a {keyed.name} that the provider cannot answer, under {work.key}"
    must(no_answer, "P8", sent, "5xx or a time-out, which is no answer", came)


async def _has_one(keyed: Keyed, work: Work, what: str) -> Sequence[Any]:
    found = list(await keyed.of_order(work.order_id))
    must(len(found) == 1, "P6", f"look-up of order {work.order_id} after {what}", "one effect", found)
    return found


async def _voided(keyed: Keyed, work: Work) -> Any:
    """What a void came to. Raises NotTried where it is not offered."""
    came = await answered(partial(keyed.void, work.key))
    if isinstance(came, VoidNotOffered):
        raise NotTried("this provider offers no void; look-ups after its settling time are the only proof")
    return came


def _require(keyed: Keyed, kind: Kind) -> None:
    if not keyed.offers(kind):
        raise NotTried(f"no example is given of {kind}")
