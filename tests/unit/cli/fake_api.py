"""A small API in memory behind the command line's transport: enough for every command, and for trouble."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx

ORDER_ID = "01980000-0000-7000-8000-000000000001"
SAGA_ID = "01980000-0000-7000-8000-000000000002"
DEAD_ID = "01980000-0000-7000-8000-000000000003"
THEN = "2026-01-31T12:00:00.000000Z"

ORDER: dict[str, Any] = {
    "order_id": ORDER_ID,
    "saga_id": SAGA_ID,
    "customer_id": "c-42",
    "status": "completed",
    "compensating": False,
    "currency": "EUR",
    "total": 2598,
    "lines": [{"sku": "SKU-1", "quantity": 2, "unit_price": 1299}],
    "failure": None,
    "cancel_requested_at": None,
    "created_at": THEN,
    "updated_at": THEN,
    "ended_at": THEN,
}

SAGA: dict[str, Any] = {
    "saga_id": SAGA_ID,
    "order_id": ORDER_ID,
    "definition": "order_fulfillment",
    "definition_version": 1,
    "status": "compensating",
    "order_status": "reserved",
    "step": "charge",
    "direction": "compensating",
    "version": 7,
    "incidents": [
        {
            "kind": "compensation_stuck",
            "step": "charge",
            "direction": "compensating",
            "since": THEN,
            "message": "charged 25.98 EUR is still held",
        }
    ],
    "due_at": THEN,
    "failure": {"code": "step_deadline", "message": "not answered", "ends_as": "rejected"},
    "cancel_requested_at": None,
    "created_at": THEN,
    "updated_at": THEN,
    "ended_at": None,
    "steps": [
        {
            "name": "charge",
            "kind": "compensatable",
            "status": "compensating",
            "attempts": 3,
            "compensation_attempts": 5,
            "result": {"reference": "ch_17"},
        }
    ],
    "allowed_actions": ["retry", "resolve"],
    "history": [
        {
            "seq": 1,
            "at": THEN,
            "kind": "saga_started",
            "accepted": {},
            "status": "running",
            "order_status": "pending",
            "step": "reserve",
            "direction": "forward",
            "sent": [{"type": "ReserveInventory", "message_id": "m"}],
        },
        {
            "seq": 2,
            "at": "2026-01-31T12:00:00.250000Z",
            "kind": "outcome_received",
            "accepted": {
                "event": "PaymentDeclinedEvent",
                "step": "charge",
                "data": {"code": "card_declined"},
            },
            "status": "compensating",
            "order_status": "reserved",
            "step": "charge",
            "direction": "compensating",
            "sent": [],
        },
    ],
}

SAGA_SUMMARY = {
    **{name: SAGA[name] for name in SAGA if name not in ("incidents", "steps", "history", "failure")},
    "incident_kinds": ["compensation_stuck"],
}

DEAD_LETTER: dict[str, Any] = {
    "dead_letter_id": DEAD_ID,
    "kind": "command",
    "status": "open",
    "cause": None,
    "version": 4,
    "deaths": 2,
    "queue": "payment.commands",
    "type": "ChargePayment",
    "saga_id": SAGA_ID,
    "step": "charge",
    "direction": "forward",
    "error_type": "ProviderUnavailable",
    "error_message": "no answer \x1b[31m",
    "permanent": False,
    "attempts": 5,
    "first_failed_at": THEN,
    "last_failed_at": THEN,
    "created_at": THEN,
    "updated_at": THEN,
    "exchange": "oms.commands",
    "routing_key": "payment",
    "message_id": "m",
    "error_stack": "",
    "headers": {"attempt": 5},
    "body_form": "json",
    "body": {"amount": 2598, "payment_method": "***"},
    "body_bytes": 100,
    "body_truncated": False,
}

Answer = Callable[[httpx.Request], httpx.Response]


class FakeApi(httpx.AsyncBaseTransport):
    """Answers from a table of routes; keeps what it was asked."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.routes: dict[tuple[str, str], Answer] = {}
        for method, path, document in (
            ("POST", "/orders", ORDER),
            ("GET", "/orders", page(ORDER)),
            ("GET", f"/orders/{ORDER_ID}", ORDER),
            ("POST", f"/orders/{ORDER_ID}/cancel", {**ORDER, "status": "cancelled"}),
            ("GET", "/admin/sagas", page(SAGA_SUMMARY)),
            ("GET", f"/admin/sagas/{SAGA_ID}", SAGA),
            ("GET", f"/admin/sagas/{SAGA_ID}/explain", {"awaits": {"step": "charge", "since": THEN}}),
            *(
                ("POST", f"/admin/sagas/{SAGA_ID}/actions/{action}", SAGA)
                for action in ("cancel", "retry", "resolve")
            ),
            ("GET", "/admin/dead-letters", page(DEAD_LETTER)),
            (
                "GET",
                "/admin/dead-letters/groups",
                page({**DEAD_LETTER, "count": 2, "permanent": 0, "steps": ["charge"]}),
            ),
            ("GET", f"/admin/dead-letters/{DEAD_ID}", DEAD_LETTER),
            (
                "POST",
                f"/admin/dead-letters/{DEAD_ID}/replay",
                {"dry_run": True, "what": "ChargePayment is built anew", "dead_letter": DEAD_LETTER},
            ),
            ("POST", f"/admin/dead-letters/{DEAD_ID}/discard", {**DEAD_LETTER, "status": "discarded"}),
            ("GET", "/inventory", page({"sku": "SKU-1", "on_hand": 10, "reserved": 2, "available": 8})),
            ("PUT", "/inventory/SKU-1", {"sku": "SKU-1", "on_hand": 7, "reserved": 2, "available": 5}),
        ):
            self.on(method, path, json_answer(document))

    def on(self, method: str, path: str, answer: Answer) -> None:
        """Answer this route so from now on."""
        self.routes[method, path] = answer

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Look the route up."""
        await request.aread()
        self.requests.append(request)
        answer = self.routes.get((request.method, request.url.path))
        return problem(404, "not found")(request) if answer is None else answer(request)

    @property
    def bodies(self) -> list[Any]:
        """The JSON bodies that came, in order."""
        return [json.loads(request.content) for request in self.requests if request.content]


def page(*items: Any, cursor: str | None = None) -> dict[str, Any]:
    """One page of a list."""
    return {"items": list(items), "next_cursor": cursor}


def json_answer(document: Any, status: int = 200, **headers: str) -> Answer:
    """Always the same document."""
    return lambda _request: httpx.Response(status, json=document, headers=headers)


def problem(status: int, detail: str, **members: Any) -> Answer:
    """Always the same problem."""
    body = {"type": "about:blank", "title": "No", "status": status, "detail": detail, **members}
    return lambda _request: httpx.Response(
        status, json=body, headers={"Content-Type": "application/problem+json"}
    )


def unreachable(request: httpx.Request) -> httpx.Response:
    """Nobody is there."""
    raise httpx.ConnectError("connection refused", request=request)
