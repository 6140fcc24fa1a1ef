"""The payment gateway and the carrier as the outside world has them: their books are the truth.

They keep the promises of `docs/providers.md` (one effect a key for as long as the key lives, 409 while an
earlier call is at work), refuse an amount of 0, and break every habit that nobody promised: they are slow,
answer nothing after having taken the money, do late what was given up long ago, are down for minutes, and
forget old keys.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from participants.provider_http import Call, Reply
from participants.provider_terms import ProviderTraits, ProviderUnavailable
from participants.shipping.carrier import SHIPMENT_REJECTED
from simulation.cast import UNSHIPPABLE
from simulation.facts import (
    AskedForNothing,
    Authorized,
    Charged,
    Expired,
    Fact,
    GivenUp,
    Refunded,
    Shipped,
)
from simulation.loop import SimulatedLoop
from simulation.process import Host
from simulation.triggers import Moods, Trouble
from simulation.weather import Fault, Weather

CALL_TIMEOUT_S: Final = 2.0
"""Seconds after which a client gives a call up."""

LONGEST_CALL_S: Final = 4.0
LATEST_EFFECT_S: Final = 15.0
"""Longest time after a given-up call at which it still takes effect."""

TRAITS: Final = ProviderTraits(key_lifetime_s=50.0, settling_time_s=40.0)
"""What the providers state; the settling time leaves room for a database clock that jumps."""

KEY_REALLY_LIVES_S: Final = 75.0

DECLINED_METHOD: Final = "pm_card_declined"
EXPIRING_METHOD: Final = "pm_authorization_expires"
"""What is authorized has expired when it is captured."""

REFUSED_PRODUCTS: Final = (UNSHIPPABLE, ".SHIP-REFUSED")
"""How the SKUs end whose parcels the carrier refuses."""

RENEWING_METHOD: Final = "pm_authorization_renews"
"""The same, and it can be set aside anew."""

REFUSED_POSTAL_CODE: Final = "00000"


@dataclass(slots=True)
class Entry:
    """What a provider has under one key."""

    key: str
    order_id: str
    status: str
    since: float
    amount: int = 0
    currency: str = ""
    charge: str = ""
    refunded: int = 0
    authorization: str = ""
    left: int = 0
    """Of an authorization: what is set aside still."""
    expires: bool = False
    renewable: bool = False
    renewed: bool = False
    lines: Sequence[Mapping[str, Any]] = ()
    """Of a shipment: what is in the parcel."""
    refused: Reply | None = None

    @property
    def reference(self) -> str:
        """The provider's name for it; keys are used again once they are forgotten, so times are in it."""
        return f"{self.key}@{self.since:.6f}"


@dataclass(slots=True)
class Books:
    """One provider's entries of one kind: everything that ever stood, and what a key means now."""

    entries: list[Entry] = field(default_factory=list)
    by_key: dict[str, Entry] = field(default_factory=dict)
    at_work: set[str] = field(default_factory=set)


class Provider:
    """The servers of gateway and carrier, reached by every process over its own `ProviderLine`."""

    def __init__(
        self, loop: SimulatedLoop, weather: Weather, tell: Callable[[Fact], None], *, offers_void: bool
    ) -> None:
        self.charges, self.refunds, self.shipments = Books(), Books(), Books()
        self.authorizations, self.releases = Books(), Books()
        self.down_until = 0.0
        self.broken_orders: set[str] = set()
        """Orders that are refused for good until somebody repairs what is wrong at the provider."""
        self._loop = loop
        self._weather = weather
        self._tell = tell
        self._offers_void = offers_void
        self._moods = Moods()

    @property
    def is_down(self) -> bool:
        """Whether it answers nobody."""
        return self._loop.time() < self.down_until

    def arrive(self, call: Call, work_s: float, answer: Callable[[Reply], None]) -> None:
        """A call has arrived; the answer is given after ``work_s`` seconds of work."""
        if self.is_down:
            answer(Reply(503, None))
        elif call.method == "GET":
            answer(Reply(200, {"items": self._listed(call)}))
        else:
            self._work(call, work_s, answer)

    def give_back_by_hand(self, order_id: str, key: str) -> None:
        """A person sees to it at the gateway that no money of an order is kept, and none will be taken."""
        self.close_by_hand(self.charges, key)
        for entry in self.charges.entries:
            if entry.order_id == order_id and entry.status == "succeeded" and entry.refunded < entry.amount:
                self._tell(Refunded(order_id, entry.amount - entry.refunded, by_hand=True))
                entry.refunded = entry.amount

    def give_up_by_hand(self, order_id: str, key: str) -> None:
        """A person sees to it that no money of an order is set aside, and none will be."""
        self.close_by_hand(self.authorizations, key)
        for entry in self.authorizations.entries:
            if entry.order_id == order_id and entry.left:
                self._give_up(entry, by_hand=True)

    def close_by_hand(self, books: Books, key: str) -> Entry:
        """A person has a key closed; it keeps the answer that it has."""
        entry = books.by_key.get(key)
        if entry is None:
            self._void(books, key, None)
            entry = books.by_key[key]
        entry.since = self._loop.time()
        return entry

    def repair(self, order_id: str) -> None:
        """A person repairs what made the provider refuse an order's requests."""
        self.broken_orders.discard(order_id)

    def _books(self, path: str) -> Books:
        name = path.split("/")[1]
        return {
            "charges": self.charges,
            "captures": self.charges,
            "refunds": self.refunds,
            "authorizations": self.authorizations,
            "releases": self.releases,
            "shipments": self.shipments,
        }[name]

    def _work(self, call: Call, work_s: float, answer: Callable[[Reply], None]) -> None:
        books, key = self._books(call.path), call.key or ""
        if call.path.endswith("/void") and not self._offers_void:
            answer(Reply(404, None))
        elif key in books.at_work and self._lies(call, key):
            answer(Reply(200, {"key": key, "status": "voided"}))
        elif key in books.at_work:
            answer(Reply(409, {"code": "in_progress"}))
        else:
            books.at_work.add(key)
            self._loop.in_the_world(work_s, self._finish, call, books, key, answer)

    def _lies(self, call: Call, key: str) -> bool:
        """Whether it says that a charge's key is closed while the charge is still being made."""
        saga_id = key.split(":")[0]
        return call.path == "/charges/void" and self._weather.strikes(Fault.VOID_LIES, "gateway", saga_id)

    def _finish(self, call: Call, books: Books, key: str, answer: Callable[[Reply], None]) -> None:
        books.at_work.discard(key)
        entry = books.by_key.get(key)
        if entry is not None and self._loop.time() - entry.since > KEY_REALLY_LIVES_S:
            entry = None
        if call.path.endswith("/void"):
            answer(self._void(books, key, entry))
        elif entry is not None:
            answer(_answer_of(entry))
        elif (trouble := self._moods.trouble(call, key)) is Trouble.FAILS:
            answer(Reply(503, None))
        elif trouble is Trouble.REFUSED:
            answer(Reply(402, {"code": "refused", "message": "It is refused."}))
        else:
            done = self._do(call, books, key)
            (_ignore if trouble is Trouble.SILENT else answer)(done)

    def _do(self, call: Call, books: Books, key: str) -> Reply:
        body: Mapping[str, Any] = call.body or {}
        if body.get("order_id") in self.broken_orders:
            return Reply(400, {"code": "bad_request"})
        if body.get("amount") == 0:
            self._tell(AskedForNothing(call.path, key))
            return Reply(400, {"code": "amount_too_small"})
        match call.path:
            case "/charges":
                return self._charge(books, key, body)
            case "/refunds":
                return self._refund(books, key, body)
            case "/authorizations":
                return self._authorize(books, key, body)
            case "/captures" | "/releases" | "/authorizations/renew":
                return self._of_authorization(call.path, books, key, body)
            case _:
                return self._ship(books, key, body)

    def _charge(self, books: Books, key: str, body: Mapping[str, Any]) -> Reply:
        entry = Entry(key, body["order_id"], "succeeded", self._loop.time(), body["amount"], body["currency"])
        if body["payment_method"] == DECLINED_METHOD:
            entry.status = "declined"
            entry.refused = Reply(402, {"code": "card_declined", "message": "The card was declined."})
        else:
            self._tell(Charged(entry.order_id, key, entry.amount, entry.currency))
        return self._enter(books, entry)

    def _refund(self, books: Books, key: str, body: Mapping[str, Any]) -> Reply:
        for charge in self.charges.entries:
            if charge.reference == body["charge"]:
                if charge.order_id in self.broken_orders:
                    return Reply(400, {"code": "bad_request"})
                if charge.refunded + body["amount"] > charge.amount:
                    return Reply(422, {"code": "more_than_taken"})
                charge.refunded += body["amount"]
                entry = Entry(key, charge.order_id, "succeeded", self._loop.time(), body["amount"])
                entry.charge = charge.reference
                self._tell(Refunded(charge.order_id, entry.amount, key=key))
                return self._enter(books, entry)
        return Reply(422, {"code": "unknown_charge"})

    def _authorize(self, books: Books, key: str, body: Mapping[str, Any]) -> Reply:
        entry = Entry(
            key, body["order_id"], "authorized", self._loop.time(), body["amount"], body["currency"]
        )
        if body["payment_method"] == DECLINED_METHOD:
            entry.status = "declined"
            entry.refused = Reply(402, {"code": "card_declined", "message": "The card was declined."})
        else:
            entry.left = entry.amount
            entry.renewable = body["payment_method"] == RENEWING_METHOD
            entry.expires = entry.renewable or body["payment_method"] == EXPIRING_METHOD
            self._tell(Authorized(entry.order_id, key, entry.amount, entry.currency))
        return self._enter(books, entry)

    def _of_authorization(self, path: str, books: Books, key: str, body: Mapping[str, Any]) -> Reply:
        for authorization in self.authorizations.entries:
            if authorization.reference == body["authorization"]:
                if authorization.order_id in self.broken_orders:
                    return Reply(400, {"code": "bad_request"})
                if path == "/releases":
                    return self._release(books, key, authorization)
                if path == "/authorizations/renew":
                    return self._renew(books, key, authorization, body["amount"])
                return self._capture(books, key, authorization, body["amount"])
        return Reply(422, {"code": "unknown_authorization"})

    def _renew(self, books: Books, key: str, expired: Entry, amount: int) -> Reply:
        entry = Entry(key, expired.order_id, "authorized", self._loop.time(), amount, expired.currency)
        if not expired.renewable:
            entry.status = "declined"
            entry.refused = Reply(402, {"code": "no_stored_method", "message": "No method is stored."})
        else:
            entry.left, entry.renewed = entry.amount, True
            self._tell(Authorized(entry.order_id, key, entry.amount, entry.currency, renewed=True))
        return self._enter(books, entry)

    def _release(self, books: Books, key: str, authorization: Entry) -> Reply:
        self._give_up(authorization)
        entry = Entry(key, authorization.order_id, "succeeded", self._loop.time())
        entry.authorization = authorization.reference
        return self._enter(books, entry)

    def _give_up(self, authorization: Entry, *, by_hand: bool = False) -> None:
        if authorization.left or not authorization.renewed:
            given_up = (authorization.order_id, authorization.left, by_hand, authorization.renewed)
            self._tell(GivenUp(*given_up))
        authorization.left = 0

    def _capture(self, books: Books, key: str, authorization: Entry, amount: int) -> Reply:
        if not authorization.expires and amount > authorization.left:
            return Reply(422, {"code": "more_than_authorized"})
        entry = Entry(
            key, authorization.order_id, "succeeded", self._loop.time(), amount, authorization.currency
        )
        if authorization.expires:
            entry.status = "declined"
            entry.refused = Reply(402, {"code": "authorization_expired", "message": "It has expired."})
            self._tell(Expired(authorization.order_id, authorization.left))
            authorization.left = 0
        else:
            authorization.left -= amount
            self._tell(Charged(entry.order_id, key, amount, entry.currency, captured=True))
        return self._enter(books, entry)

    def _ship(self, books: Books, key: str, body: Mapping[str, Any]) -> Reply:
        entry = Entry(key, body["order_id"], "shipped", self._loop.time(), lines=body["lines"])
        unshippable = any(line["sku"].endswith(REFUSED_PRODUCTS) for line in body["lines"])
        if unshippable or body["address"]["postal_code"] == REFUSED_POSTAL_CODE:
            entry.status = "rejected"
            entry.refused = Reply(422, {"type": SHIPMENT_REJECTED, "code": "refused", "message": "No."})
        else:
            self._tell(Shipped(entry.order_id, key))
        return self._enter(books, entry)

    def _void(self, books: Books, key: str, entry: Entry | None) -> Reply:
        if entry is None:
            entry = Entry(key, "", "voided", self._loop.time(), refused=Reply(410, {"code": "key_voided"}))
            books.by_key[key] = entry
        return Reply(200, _item(entry))

    def _enter(self, books: Books, entry: Entry) -> Reply:
        books.entries.append(entry)
        books.by_key[entry.key] = entry
        return _answer_of(entry)

    def _listed(self, call: Call) -> list[dict[str, Any]]:
        books, query = self._books(call.path), dict(call.query)
        if "key" in query:
            entry = books.by_key.get(query["key"])
            alive = entry is not None and self._loop.time() - entry.since <= KEY_REALLY_LIVES_S
            return [_item(entry)] if entry is not None and alive else []
        return [
            _item(entry)
            for entry in books.entries
            if entry.order_id == query["order_id"] and entry.refused is None
        ]


def _answer_of(entry: Entry) -> Reply:
    return entry.refused or Reply(200, {"reference": entry.reference, "status": entry.status})


def _item(entry: Entry) -> dict[str, Any]:
    refused = (entry.refused.body if entry.refused else None) or {}
    return {
        "key": entry.key,
        "order_id": entry.order_id,
        "reference": entry.reference,
        "status": entry.status,
        "amount": entry.amount,
        "currency": entry.currency,
        "charge": entry.charge,
        "authorization": entry.authorization,
        "refunded": entry.refunded,
        **refused,
    }


class ProviderLine:
    """One process's `ProviderExchange` with the providers."""

    def __init__(self, host: Host, provider: Provider, rng: random.Random) -> None:
        self._host = host
        self._provider = provider
        self._rng = rng

    async def perform(self, call: Call) -> Reply:
        """See `ProviderExchange.perform`."""
        loop = self._host.loop
        reply: asyncio.Future[Reply] = loop.create_future()
        saga_id = (call.key or "").split(":")[0] or None
        on_the_way_s, work_s = self._rng.random() * 0.1, self._rng.random() * 0.6
        lost = self._host.strikes(Fault.ANSWER_LOST, saga_id)
        if self._host.strikes(Fault.EFFECT_LATE, saga_id):
            lost = True
            late_s = CALL_TIMEOUT_S + self._rng.random() * LATEST_EFFECT_S
            on_the_way_s, work_s = self._rng.choice(((late_s, 0.01), (0.01, late_s)))
        elif self._host.strikes(Fault.PROVIDER_SLOW, saga_id):
            work_s = self._rng.random() * CALL_TIMEOUT_S * 1.5
        if not self._host.strikes(Fault.PROVIDER_UNREACHED, saga_id):
            send = partial(_ignore if lost else self._answer, reply)
            loop.in_the_world(on_the_way_s, self._provider.arrive, call, work_s, send)
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                return await reply
        except TimeoutError:
            raise ProviderUnavailable(f"{call}: no reply within {CALL_TIMEOUT_S:g} s") from None

    async def close(self) -> None:
        """See `ProviderExchange.close`."""

    def _answer(self, reply: asyncio.Future[Reply], answer: Reply) -> None:
        if self._host.alive and not reply.done():
            self._host.loop.in_the_world(self._rng.random() * 0.02, self._give, reply, answer)

    def _give(self, reply: asyncio.Future[Reply], answer: Reply) -> None:
        if not reply.done():
            reply.set_result(answer)


def _ignore(*_: object) -> None:
    """The answer is lost."""
