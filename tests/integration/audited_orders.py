"""Orders as they stand in the tables when all went well, to be bent by tests of the audit."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import Table, create_engine, insert
from sqlalchemy.engine import Connection

from messaging.identifiers import time_ordered_ids
from oms.audit.reading import ledger_of
from oms.sandbox.tables import AUTHORIZATIONS, CHARGES, REFUNDS, RELEASES, SHIPMENTS
from orchestrator.tables import orders, saga_metadata, sagas
from participants.inventory.tables import STOCK, STOCK_MOVEMENTS

NOW: Final = datetime(2026, 1, 31, 12, tzinfo=UTC)
SKU: Final = "SKU-1"
PRICE: Final = 1299
QUANTITY: Final = 2
TOTAL: Final = PRICE * QUANTITY

_LINES: Final = [{"sku": SKU, "quantity": QUANTITY}]


class Books:
    """Writes whole orders into every schema of a database."""

    def __init__(self, url: str) -> None:
        self.engine = create_engine(url)
        self.go_to(NOW)

    def go_to(self, moment: datetime) -> None:
        """Let everything that is written from now on have happened at this moment, its ids included."""
        self.now = moment
        milliseconds = int(moment.timestamp() * 1000)
        self.new_id = time_ordered_ids(random.SystemRandom(), lambda: milliseconds)

    def stock(self, on_hand: int, reserved: int = 0, delivered: int | None = None) -> None:
        """A product; ``delivered`` is what its first movement says, by default what is on hand."""
        with self.engine.begin() as connection:
            _put(connection, STOCK, sku=SKU, on_hand=on_hand, reserved=reserved, updated_at=self.now)
            quantity = on_hand if delivered is None else delivered
            _put(
                connection,
                STOCK_MOVEMENTS,
                sku=SKU,
                kind="adjustment",
                quantity=quantity,
                recorded_at=self.now,
            )

    def saga(
        self,
        status: str,
        order_status: str,
        definition: str = "order_fulfillment",
        steps: Sequence[Mapping[str, str]] = (),
    ) -> tuple[UUID, UUID]:
        """A saga and its order, without any trace at the participants."""
        order_id, saga_id = self.new_id(), self.new_id()
        ended = status in ("completed", "compensated")
        document = {
            "customer_id": "c",
            "currency": "EUR",
            "lines": [{**line, "unit_price": PRICE} for line in _LINES],
            "payment_method": "pm_card_visa",
            "shipping_address": {},
        }
        with self.engine.begin() as connection:
            _put(
                connection,
                orders,
                order_id=order_id,
                saga_id=saga_id,
                customer_id="c",
                document=document,
                created_at=self.now,
            )
            _put(
                connection,
                sagas,
                saga_id=saga_id,
                order_id=order_id,
                definition=definition,
                definition_version=1,
                status=status,
                order_status=order_status,
                direction="forward" if status in ("running", "completed") else "compensating",
                version=5,
                incident_kinds=[],
                created_at=self.now,
                updated_at=self.now,
                ended_at=self.now if ended else None,
                ended_as=order_status if ended else None,
                state={"steps": [*steps]} if steps else {},
            )
        return saga_id, order_id

    def completed(self) -> tuple[UUID, UUID]:
        """An order that went through, whole in every schema."""
        saga_id, order_id = self.saga("completed", "completed")
        self.ledger("inventory", saga_id, order_id, "reserve", "consumed")
        self.ledger("payment", saga_id, order_id, "charge", "done")
        self.ledger("shipping", saga_id, order_id, "ship", "done")
        self.ledger("inventory", saga_id, order_id, "commit", "done")
        self.reduction(saga_id)
        self.charge(order_id)
        self.shipment(order_id)
        return saga_id, order_id

    def compensated(self) -> tuple[UUID, UUID]:
        """An order whose address was refused after it was paid, undone in every schema."""
        saga_id, order_id = self.saga("compensated", "rejected")
        self.ledger("inventory", saga_id, order_id, "reserve", "undone")
        self.ledger("payment", saga_id, order_id, "charge", "undone")
        self.ledger("shipping", saga_id, order_id, "ship", "rejected")
        self.charge(order_id, refunded=TOTAL)
        return saga_id, order_id

    def captured(self) -> tuple[UUID, UUID]:
        """An order whose money was authorized, and captured once its parcel had left."""
        saga_id, order_id = self.saga("completed", "completed")
        self.ledger("inventory", saga_id, order_id, "reserve", "consumed")
        self.ledger("payment", saga_id, order_id, "authorize", "done")
        self.ledger("shipping", saga_id, order_id, "ship", "done")
        self.ledger("payment", saga_id, order_id, "capture", "done")
        self.ledger("inventory", saga_id, order_id, "commit", "done")
        self.reduction(saga_id)
        self.authorization(order_id, captured=TOTAL)
        self.charge(order_id)
        self.shipment(order_id)
        return saga_id, order_id

    def voided(self) -> tuple[UUID, UUID]:
        """An order whose address was refused after its money was authorized, undone in every schema."""
        saga_id, order_id = self.saga("compensated", "rejected")
        self.ledger("inventory", saga_id, order_id, "reserve", "undone")
        self.ledger("payment", saga_id, order_id, "authorize", "undone")
        self.ledger("shipping", saga_id, order_id, "ship", "rejected")
        self.authorization(order_id, released=True)
        return saga_id, order_id

    def returned(self, order_id: UUID, status: str = "completed") -> UUID:
        """The return of one piece of an order, whole in every schema."""
        words = {"completed": "returned", "compensated": "expired"}
        steps = [{"name": name, "forward": "succeeded"} for name in ("claim", "refund", "restock")]
        label, done = words.get(status, "awaiting_goods"), steps if status == "completed" else ()
        saga_id, subject_id = self.saga(status, label, "order_return", done)
        with self.engine.begin() as connection:
            _put(connection, saga_metadata, saga_id=saga_id, key="order_id", value=str(order_id))
        lines = json.dumps([{"sku": SKU, "quantity": 1, "unit_price": PRICE}])
        self.execute(
            "UPDATE orchestrator.orders SET document = json_build_object('currency', 'EUR', 'lines', "
            "%(lines)s::json) WHERE order_id = %(id)s",
            lines=lines,
            id=subject_id,
        )
        if status == "completed":
            self.ledger("payment", saga_id, subject_id, "claim", "done")
            self.ledger("payment", saga_id, subject_id, "refund", "done")
            self.ledger("inventory", saga_id, subject_id, "restock", "done")
            self.restocking(saga_id)
            self.refund(order_id)
        return saga_id

    def restocking(self, saga_id: UUID) -> None:
        """What a return leaves in the stock movements, and in stock."""
        with self.engine.begin() as connection:
            moved = {"sku": SKU, "kind": "restocking", "quantity": 1, "saga_id": saga_id}
            _put(connection, STOCK_MOVEMENTS, **moved, recorded_at=self.now)
        self.execute("UPDATE inventory.stock SET on_hand = on_hand + 1")

    def refund(self, order_id: UUID) -> None:
        """The refund of one piece in the sandbox's books."""
        self.execute(
            "UPDATE sandbox.charges SET refunded = refunded + %(amount)s WHERE order_id = %(id)s",
            amount=PRICE,
            id=str(order_id),
        )
        with self.engine.begin() as connection:
            request = _request(uuid4().hex, order_id, "succeeded")
            _put(connection, REFUNDS, **request, charge="ch", amount=PRICE)

    def ledger(
        self,
        participant: str,
        saga_id: UUID,
        order_id: UUID,
        step: str,
        state: str,
        verdict: Mapping[str, Any] | None = None,
    ) -> None:
        """One row of a ledger with the outcomes that belong to its state."""
        command, body = _WORK.get(step, ("Work", {}))
        answered = state not in ("intent", "tombstone")
        undone = state == "undone"
        with self.engine.begin() as connection:
            _put(
                connection,
                ledger_of(participant),
                saga_id=saga_id,
                step=step,
                order_id=order_id,
                command=command,
                state=state,
                forward_type="Outcome" if answered else None,
                forward_event_id=uuid4() if answered else None,
                forward_body=json.dumps(body).encode() if answered else None,
                compensation_type="Undone" if undone else None,
                compensation_event_id=uuid4() if undone else None,
                compensation_body=b"{}" if undone else None,
                details={},
                verdict=verdict,
                intent_at=self.now,
                updated_at=self.now,
            )

    def reduction(self, saga_id: UUID) -> None:
        """What a commit leaves in the stock movements."""
        with self.engine.begin() as connection:
            _put(
                connection,
                STOCK_MOVEMENTS,
                sku=SKU,
                kind="reduction",
                quantity=-QUANTITY,
                saga_id=saga_id,
                recorded_at=self.now,
            )

    def charge(self, order_id: UUID | str, refunded: int = 0) -> None:
        """A charge in the sandbox's books, and its refund."""
        key = uuid4().hex
        with self.engine.begin() as connection:
            _put(
                connection,
                CHARGES,
                **_request(key, order_id, "succeeded"),
                amount=TOTAL,
                currency="EUR",
                refunded=refunded,
                refunds_answer_from_call=1,
            )
            if refunded:
                refund = _request(f"r{key}", order_id, "succeeded")
                _put(connection, REFUNDS, **refund, charge=f"ch_{key}", amount=refunded)

    def authorization(self, order_id: UUID, captured: int = 0, *, released: bool = False) -> None:
        """Money that the sandbox's books say was set aside, and its release."""
        key = uuid4().hex
        with self.engine.begin() as connection:
            _put(
                connection,
                AUTHORIZATIONS,
                **_request(key, order_id, "authorized"),
                amount=TOTAL,
                currency="EUR",
                captured=captured,
                released=released,
                expired=False,
                captures_answer_from_call=1,
            )
            if released:
                release = _request(f"r{key}", order_id, "succeeded")
                _put(connection, RELEASES, **release, authorization=f"au_{key}")

    def shipment(self, order_id: UUID) -> None:
        """A shipment in the sandbox's books."""
        with self.engine.begin() as connection:
            _put(connection, SHIPMENTS, **_request(uuid4().hex, order_id, "shipped"))

    def execute(self, statement: str, **parameters: Any) -> None:
        """Bend something."""
        with self.engine.begin() as connection:
            connection.exec_driver_sql(statement, parameters)


_WORK: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "reserve": ("ReserveInventory", {"lines": _LINES}),
    "charge": ("ChargePayment", {"amount": TOTAL, "currency": "EUR", "reference": "ch"}),
    "authorize": ("AuthorizePayment", {"amount": TOTAL, "currency": "EUR", "reference": "au"}),
    "capture": ("CapturePayment", {"amount": TOTAL, "currency": "EUR", "reference": "ch"}),
    "ship": ("ShipOrder", {"reference": "sh"}),
    "commit": ("CommitInventory", {"lines": _LINES}),
    "claim": ("ClaimRefund", {"amount": PRICE, "currency": "EUR"}),
    "refund": ("RefundPart", {"amount": PRICE, "currency": "EUR", "reference": "re"}),
    "restock": ("RestockItems", {"restocked": [{"sku": SKU, "quantity": 1}], "written_off": []}),
}


def _request(key: str, order_id: UUID | str, outcome: str) -> dict[str, Any]:
    return {
        "key": key,
        "order_id": str(order_id),
        "fingerprint": "f",
        "outcome": outcome,
        "calls": 1,
        "answers_from_call": 1,
        "created_at": NOW,
    }


def _put(connection: Connection, table: Table, **values: Any) -> None:
    connection.execute(insert(table).values(**values))
