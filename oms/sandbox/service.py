"""The sandbox provider itself: a payment gateway and a carrier that keep their promises.

Same key and same request: one effect, one answer (P6). Another request under the key: 422. A call
while an earlier one with its key is at work: 409. Everything is in the books before it is answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from contracts.problems import ProblemError
from messaging.sqlstates import is_transient
from oms.sandbox import books
from oms.sandbox.books import Entry
from oms.sandbox.desk import Desk
from oms.sandbox.requests import (
    AuthorizationRequest,
    CaptureRequest,
    ChargeRequest,
    KeyedRequest,
    Listing,
    RefundRequest,
    ReleaseRequest,
    RenewalRequest,
    ShipmentRequest,
    VoidRequest,
    cursor_after,
)
from oms.sandbox.tables import AUTHORIZATIONS, CHARGES, EFFECT, REFUNDS, RELEASES, SHIPMENTS
from oms.sandbox.triggers import REFUSED, Behaviour, carrier_behaviour, payment_behaviour
from participants.provider_http import Reply
from participants.shipping.carrier import SHIPMENT_REJECTED

ClientLeft = Callable[[], Awaitable[None]]
"""Returns when nobody waits for the reply any more."""

_SHOWN: Final = {
    CHARGES: ("amount", "currency"),
    REFUNDS: ("charge", "amount"),
    AUTHORIZATIONS: ("amount", "currency"),
    RELEASES: ("authorization",),
    SHIPMENTS: (),
}
_LATER: Final = {CHARGES: ("refunded", "authorization"), AUTHORIZATIONS: ("captured", "released", "expired")}
"""What listings show beside that, because it may change, or says where it is from."""

_DECLINED: Final = (402, "about:blank")
_REFUSAL: Final = {CHARGES: _DECLINED, AUTHORIZATIONS: _DECLINED, SHIPMENTS: (422, SHIPMENT_REJECTED)}
_REFERENCE_PREFIX: Final = {
    CHARGES: "ch_",
    REFUNDS: "re_",
    AUTHORIZATIONS: "au_",
    RELEASES: "rl_",
    SHIPMENTS: "sh_",
}
_EXPIRED: Final = Behaviour("declined", "authorization_expired", "The authorization has expired.")
_RELEASED: Final = Behaviour("declined", "authorization_released", "The authorization was given up.")
_NOT_EXPIRED: Final = Behaviour("declined", "not_expired", "What was authorized has not expired.")
_NOTHING_STORED: Final = Behaviour("declined", "no_stored_method", "No payment method is stored.")
_CLOSED: Final = Behaviour("voided")


class Sandbox:
    """Charges, refunds, authorizations and shipments over a database with the `oms.sandbox.tables`.

    ``clock`` gives the time written into the books; ``silence_s`` is how long a call that is never
    answered is kept waiting when the client does not leave before.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        silence_s: float = 30.0,
    ) -> None:
        self._engine = engine
        self._autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._desks = {table: Desk(self._autocommit, table) for table in _REFUSAL}
        self._clock = clock
        self._silence_s = silence_s
        self._at_work: set[tuple[str, str]] = set()

    async def charge(self, key: str, request: ChargeRequest, client_left: ClientLeft) -> Reply:
        """Take money, or decline (402)."""
        behaviour = payment_behaviour(request.payment_method)
        row = self._row(key, request, behaviour) | {
            "order_id": request.order_id,
            "amount": request.amount,
            "currency": request.currency,
            "refunded": 0,
            "refunds_answer_from_call": behaviour.refunds_answer_from_call,
        }
        return await self._answer(CHARGES, row, behaviour, client_left)

    async def authorize(self, key: str, request: AuthorizationRequest, client_left: ClientLeft) -> Reply:
        """Set money aside, or decline (402)."""
        behaviour = payment_behaviour(request.payment_method)
        if behaviour.outcome == EFFECT[CHARGES]:
            behaviour = replace(behaviour, outcome=EFFECT[AUTHORIZATIONS])
        row = self._row(key, request, behaviour) | {
            "order_id": request.order_id,
            "amount": request.amount,
            "currency": request.currency,
            **_untouched(behaviour),
        }
        return await self._answer(AUTHORIZATIONS, row, behaviour, client_left)

    async def renew(self, key: str, request: RenewalRequest, client_left: ClientLeft) -> Reply:
        """Set aside anew what has expired, or decline (402): never do two authorizations stand."""
        with self._working_on(AUTHORIZATIONS, key), _storage():
            async with self._engine.begin() as connection:
                expired = await _authorization(connection, request.authorization)
                if request.amount > expired["amount"]:
                    raise ProblemError(422, "more_than_authorized", "This is more than was authorized.")
                renewed = _of_renewal(expired)
                row = self._row(key, request, renewed) | {
                    "order_id": expired["order_id"],
                    "amount": request.amount,
                    "currency": expired["currency"],
                    **_untouched(renewed),
                }
                entry = (await books.enter(connection, AUTHORIZATIONS, [row]))[key]
                _check_same_request(entry, row)
                await books.renewed(connection, expired["key"])
        return _reply(AUTHORIZATIONS, entry)

    async def release(self, key: str, request: ReleaseRequest, client_left: ClientLeft) -> Reply:
        """Give up what is left of an authorization; one that has expired as well."""
        with self._working_on(RELEASES, key), _storage():
            async with self._engine.begin() as connection:
                authorization = await _authorization(connection, request.authorization)
                row = self._row(key, request, Behaviour(EFFECT[RELEASES])) | {
                    "order_id": authorization["order_id"],
                    "authorization": request.authorization,
                }
                entry = (await books.enter(connection, RELEASES, [row]))[key]
                _check_same_request(entry, row)
                await books.release(connection, authorization["key"])
        return _reply(RELEASES, entry)

    async def capture(self, key: str, request: CaptureRequest, client_left: ClientLeft) -> Reply:
        """Take money of an authorization, never more than is left; decline (402) where it stands no more."""
        with self._working_on(CHARGES, key), _storage():
            async with self._engine.begin() as connection:
                authorization = await _authorization(connection, request.authorization)
                row = self._row(key, request, _of_capture(authorization)) | {
                    "order_id": authorization["order_id"],
                    "amount": request.amount,
                    "currency": authorization["currency"],
                    "refunded": 0,
                    "refunds_answer_from_call": 1,
                    "authorization": request.authorization,
                }
                entry = (await books.enter(connection, CHARGES, [row]))[key]
                _check_same_request(entry, row)
                await _take_once(connection, authorization, entry)
        return _reply(CHARGES, entry)

    async def void_authorization(self, key: str, request: VoidRequest, client_left: ClientLeft) -> Reply:
        """Close a key of `authorize`; one that has its answer keeps it (P10)."""
        return await self._void(AUTHORIZATIONS, self._row(key, request, _CLOSED) | _untouched(_CLOSED))

    async def ship(self, key: str, request: ShipmentRequest, client_left: ClientLeft) -> Reply:
        """Take a parcel, or refuse it (422 with a type of its own)."""
        behaviour = carrier_behaviour(request.address.postal_code, (line.sku for line in request.lines))
        row = self._row(key, request, behaviour) | {"order_id": request.order_id}
        return await self._answer(SHIPMENTS, row, behaviour, client_left)

    async def refund(self, key: str, request: RefundRequest, client_left: ClientLeft) -> Reply:
        """Give money of a charge back, never more than was taken."""
        with self._working_on(REFUNDS, key), _storage():
            async with self._engine.begin() as connection:
                charge = await books.lock(connection, CHARGES, _key_of(CHARGES, request.charge))
                if charge is None or not _had_effect(CHARGES, charge):
                    raise ProblemError(422, "unknown_charge", "No money was taken under this reference.")
                if charge["refunds_answer_from_call"] == REFUSED:
                    raise ProblemError(402, "refund_refused", "The customer's bank takes nothing back.")
                behaviour = Behaviour("succeeded", answers_from_call=charge["refunds_answer_from_call"])
                row = self._row(key, request, behaviour) | {
                    "order_id": charge["order_id"],
                    "charge": request.charge,
                    "amount": request.amount,
                }
                entry = (await books.enter(connection, REFUNDS, [row]))[key]
                _check_same_request(entry, row)
                await _give_back_once(connection, charge, entry)
        return _reply(REFUNDS, entry)

    async def void_charge(self, key: str, request: VoidRequest, client_left: ClientLeft) -> Reply:
        """Close a key of `charge`; one that has its answer keeps it (P10)."""
        extra = {"refunded": 0, "refunds_answer_from_call": 1}
        return await self._void(CHARGES, self._row(key, request, _CLOSED) | extra)

    async def void_shipment(self, key: str, request: VoidRequest, client_left: ClientLeft) -> Reply:
        """Close a key of `ship`; one that has its answer keeps it (P10)."""
        return await self._void(SHIPMENTS, self._row(key, request, _CLOSED))

    async def list(self, table: Table, listing: Listing) -> Reply:
        """A page of one of the books: ``items``, and a ``next_cursor`` where there are more."""
        with _storage():
            async with self._autocommit.connect() as connection:
                rows = await books.entries(connection, table, listing)
        page = rows[: listing.limit]
        cursor = cursor_after(page[-1]["key"]) if len(rows) > len(page) else None
        return Reply(200, {"items": [_item(table, row) for row in page], "next_cursor": cursor})

    async def _answer(
        self, table: Table, row: Mapping[str, Any], behaviour: Behaviour, client_left: ClientLeft
    ) -> Reply:
        with self._working_on(table, row["key"]):
            with _storage():
                entry = await self._desks[table].enter(row)
            _check_same_request(entry, row)
            if entry["calls"] <= behaviour.silent_calls:
                await self._stay_silent(client_left)
        return _reply(table, entry)

    async def _void(self, table: Table, row: Mapping[str, Any]) -> Reply:
        closed = {**row, "fingerprint": None, "calls": 0, "answers_from_call": 0}
        with self._working_on(table, row["key"]), _storage():
            async with self._autocommit.connect() as connection:
                entry = await books.void(connection, table, closed)
        return Reply(200, _item(table, entry))

    async def _stay_silent(self, client_left: ClientLeft) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._silence_s):
                await client_left()
        raise ProblemError(504, "no_answer", "The sandbox did its work and keeps silent about it.")

    @contextmanager
    def _working_on(self, table: Table, key: str) -> Iterator[None]:
        """Only one call at a time with a key in this process; between processes the books decide."""
        work = (table.name, key)
        if work in self._at_work:
            raise ProblemError(409, "in_progress", "An earlier call with this key is at work.")
        self._at_work.add(work)
        try:
            yield
        finally:
            self._at_work.discard(work)

    def _row(self, key: str, request: KeyedRequest, behaviour: Behaviour) -> dict[str, Any]:
        return {
            "key": key,
            "fingerprint": request.fingerprint(),
            "outcome": behaviour.outcome,
            "code": behaviour.code,
            "message": behaviour.message,
            "calls": 1,
            "answers_from_call": behaviour.answers_from_call,
            "created_at": self._clock(),
        }


async def _give_back_once(connection: AsyncConnection, charge: Entry, entry: Entry) -> None:
    """Count the refund on its charge, in the very call from which on it stands."""
    if entry["calls"] != entry["answers_from_call"]:
        return
    if await books.give_back(connection, charge["key"], entry["amount"]) is None:
        raise ProblemError(422, "more_than_taken", "This would give back more than was taken.")


async def _take_once(connection: AsyncConnection, authorization: Entry, entry: Entry) -> None:
    """Count the capture on its authorization, in the very call from which on it stands."""
    if entry["outcome"] != EFFECT[CHARGES] or entry["calls"] != entry["answers_from_call"]:
        return
    if await books.capture(connection, authorization["key"], entry["amount"]) is None:
        raise ProblemError(422, "more_than_authorized", "This would take more than is left of it.")


async def _authorization(connection: AsyncConnection, reference: str) -> Entry:
    """The authorization of this reference, locked. Raises ProblemError where there is none."""
    entry = await books.lock(connection, AUTHORIZATIONS, _key_of(AUTHORIZATIONS, reference))
    if entry is None or not _had_effect(AUTHORIZATIONS, entry):
        raise ProblemError(422, "unknown_authorization", "Nothing was set aside under this reference.")
    return entry


def _of_capture(authorization: Entry) -> Behaviour:
    """How a capture goes that is asked for now."""
    if authorization["released"]:
        return _RELEASED
    if authorization["expired"]:
        return _EXPIRED
    return Behaviour(EFFECT[CHARGES], answers_from_call=authorization["captures_answer_from_call"])


def _of_renewal(authorization: Entry) -> Behaviour:
    """How a renewal goes that is asked for now."""
    if not authorization["expired"] or authorization["released"]:
        return _NOT_EXPIRED
    return Behaviour(EFFECT[AUTHORIZATIONS]) if authorization["renewable"] else _NOTHING_STORED


def _untouched(behaviour: Behaviour) -> dict[str, Any]:
    """An authorization of which nothing was taken or given up."""
    return {
        "captured": 0,
        "released": False,
        "expired": behaviour.expires,
        "renewable": behaviour.renews,
        "captures_answer_from_call": behaviour.captures_answer_from_call,
    }


def _key_of(table: Table, reference: str) -> str:
    """References are made from keys, so that a look-up needs no index of its own."""
    return reference.removeprefix(_REFERENCE_PREFIX[table])


def _had_effect(table: Table, entry: Entry) -> bool:
    return bool(_stands(entry) and entry["outcome"] == EFFECT[table])


def _stands(entry: Entry) -> bool:
    return bool(entry["calls"] >= entry["answers_from_call"])


def _check_same_request(entry: Entry, row: Mapping[str, Any]) -> None:
    if entry["outcome"] == "voided":
        raise ProblemError(410, "key_voided", "This key was closed; nothing will happen under it.")
    if entry["fingerprint"] != row["fingerprint"]:
        raise ProblemError(422, "idempotency_key_reused", "This key belongs to another request.")


def _reply(table: Table, entry: Entry) -> Reply:
    """The stored answer of an entry, or 503 while the provider plays dead."""
    if not _stands(entry):
        raise ProblemError(503, "unavailable", "The sandbox plays a provider that is down.")
    if entry["outcome"] == EFFECT[table]:
        shown = ("key", "order_id", *_SHOWN[table])
        return Reply(200, _headline(table, entry) | {name: entry[name] for name in shown})
    status, kind = _REFUSAL[table]
    raise ProblemError(status, entry["code"], entry["message"], type=kind)


def _headline(table: Table, entry: Entry) -> dict[str, Any]:
    reference = _REFERENCE_PREFIX[table] + entry["key"] if entry["outcome"] == EFFECT[table] else None
    return {"reference": reference, "status": entry["outcome"]}


def _item(table: Table, entry: Entry) -> dict[str, Any]:
    """An entry as listings show it: more than the answer, since what stands here may change."""
    names = ["key", "order_id", *_SHOWN[table], "code", "message", *_LATER.get(table, ())]
    item = _headline(table, entry) | {name: entry[name] for name in names}
    item["created_at"] = entry["created_at"].astimezone(UTC).isoformat().replace("+00:00", "Z")
    return item


@contextmanager
def _storage() -> Iterator[None]:
    """A database in trouble makes this provider unavailable; it is no bug."""
    try:
        yield
    except Exception as trouble:
        if not is_transient(trouble):
            raise
        raise ProblemError(503, "storage_unavailable", "The sandbox cannot reach its database.") from trouble
