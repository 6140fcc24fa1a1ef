"""A server that answers as Stripe's documentation says Stripe does, for as much as the gateway asks of it.

It is no Stripe: it was written from the public reference, keeps its books in memory, and knows a few of
Stripe's test payment methods, and some of its own that go wrong. `python -m oms_stripe.stand_in` serves it.
"""

from __future__ import annotations

import itertools
import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

DECLINES: Final = {
    "pm_card_chargeDeclined": ("card_declined", "generic_decline"),
    "pm_card_chargeDeclinedInsufficientFunds": ("card_declined", "insufficient_funds"),
    "pm_card_authenticationRequired": ("authentication_required", "authentication_required"),
}
SLOW, FAILS, TAKES_AND_FAILS = "pm_stand_in_slow", "pm_stand_in_fails", "pm_stand_in_takes_and_fails"
METHODS: Final = {"pm_card_visa", "pm_card_mastercard", SLOW, FAILS, TAKES_AND_FAILS, *DECLINES}
USED_UP, DEBIT, NOT_SWITCHED_ON = "pm_stand_in_used_up", "pm_stand_in_debit", "pm_stand_in_not_switched_on"
UNUSABLE: Final[dict[str, dict[str, Any]]] = {
    USED_UP: {"message": "The PaymentMethod was used before, or detached. It may not be used again."},
    DEBIT: {"code": "payment_intent_incompatible_payment_method", "message": "Only cards are allowed."},
    NOT_SWITCHED_ON: {"code": "payment_method_unactivated", "message": "Activate it in the dashboard."},
}
"""Payment methods with which a request is wrong, and what is said of it; the last is the account's fault."""

LEAST, MOST = 50, 99_999_999
"""What can be paid at once, in the smallest unit of any currency."""

UNHEARD_OF: Final = "kpw"
"""A currency in which nobody can pay."""

Form = dict[str, str]
Answer = tuple[int, dict[str, Any]]


class Refused(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, kind: str, code: str = "", **more: Any) -> None:
        super().__init__(code or kind)
        said = {"type": kind, "message": code, **({"code": code} if code else {}), **more}
        self.answer: Answer = (status, {"error": said})


def _invalid(code: str = "", status: int = 400, **more: Any) -> Refused:
    return Refused(status, "invalid_request_error", code, **more)


def _check_amount(form: Form) -> None:
    amount = int(form.get("amount", "0"))
    if form.get("currency") == UNHEARD_OF or len(form.get("currency", "")) != 3:
        raise _invalid(param="currency", message="This is no currency to pay in.")
    if amount < 1:
        raise _invalid("parameter_invalid_integer", param="amount")
    if not LEAST <= amount <= MOST:
        raise _invalid("amount_too_small" if amount < LEAST else "amount_too_large", param="amount")


@dataclass
class Books:
    """What one account holds, and what its idempotency keys have been used for.

    Attributes:
        slow_s: seconds until the slow payment method is answered.
    """

    slow_s: float = 3.0
    intents: dict[str, dict[str, Any]] = field(default_factory=dict)
    charges: dict[str, dict[str, Any]] = field(default_factory=dict)
    refunds: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    _keys: dict[str, tuple[tuple[str, Form], Answer | None]] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def post(self, path: str, form: Form, key: str | None) -> Answer:
        """One request with an effect: once a key, or an error that says why not."""
        with self._lock:
            self.asked.append((path, key or ""))
            if key is not None and key in self._keys:
                request, answer = self._keys[key]
                if request != (path, form):
                    return Refused(400, "idempotency_error").answer
                if answer is None:
                    return _invalid("idempotency_key_in_use", 409).answer
                return answer
            if key is not None:
                self._keys[key] = ((path, form), None)
        answer = self._performed(path, form)
        with self._lock:
            if key is not None:
                if answer[0] == 400:  # what is refused as such leaves its key free
                    del self._keys[key]
                else:
                    self._keys[key] = ((path, form), answer)
        return answer

    def _performed(self, path: str, form: Form) -> Answer:
        try:
            with self._lock:
                made = self._made(path.strip("/").split("/")[1:], form)
        except Refused as refused:
            return refused.answer
        if form.get("payment_method") == SLOW:
            time.sleep(self.slow_s)
        if form.get("payment_method") == TAKES_AND_FAILS:
            return Refused(500, "api_error").answer
        return 200, made

    def _made(self, parts: list[str], form: Form) -> dict[str, Any]:
        match parts:
            case ["payment_intents"]:
                return self._intent(form)
            case ["payment_intents", reference, "capture"]:
                return self._captured(self._known(self.intents, reference), form)
            case ["payment_intents", reference, "cancel"]:
                return self._canceled(self._known(self.intents, reference))
            case ["refunds"]:
                return self._refund(form)
        raise _invalid("url_invalid", 404)

    def _intent(self, form: Form) -> dict[str, Any]:
        _check_amount(form)
        method = form.get("payment_method")
        if method in UNUSABLE:
            raise _invalid(**UNUSABLE[method])
        if method is not None and method not in METHODS:
            raise _invalid("resource_missing", param="payment_method")
        intent = self._new(
            "pi",
            self.intents,
            form,
            amount=int(form["amount"]),
            currency=form["currency"],
            status="requires_payment_method",
            capture_method=form.get("capture_method", "automatic"),
            transfer_group=form.get("transfer_group"),
            last_payment_error=None,
        )
        if form.get("confirm") == "true":
            self._confirm(intent, str(method))
        return intent

    def _confirm(self, intent: dict[str, Any], method: str) -> None:
        if method == FAILS:
            raise Refused(500, "api_error")
        code, decline = DECLINES.get(method, (None, None))
        same = {name: intent[name] for name in ("amount", "currency", "transfer_group", "metadata")}
        manual = intent["capture_method"] == "manual"
        charge = self._new(
            "ch",
            self.charges,
            {},
            **same,
            payment_intent=intent["id"],
            status="failed" if code else "succeeded",
            captured=not code and not manual,
            amount_captured=0 if code or manual else intent["amount"],
            amount_refunded=0,
            failure_code=decline,
            failure_message="Your card was declined." if code else None,
        )
        intent["latest_charge"] = charge["id"]
        if code:
            told: dict[str, Any] = {"code": code, "decline_code": decline}
            told["message"] = "Your card was declined."
            intent["last_payment_error"] = told
            raise Refused(402, "card_error", **told)
        intent["status"] = "requires_capture" if manual else "succeeded"

    def _captured(self, intent: dict[str, Any], form: Form) -> dict[str, Any]:
        if intent["status"] != "requires_capture":
            raise _invalid("payment_intent_unexpected_state")
        amount = int(form.get("amount_to_capture", intent["amount"]))
        if not 0 < amount <= intent["amount"]:
            raise _invalid("amount_too_large")
        self.charges[intent["latest_charge"]] |= {"captured": True, "amount_captured": amount}
        intent["status"] = "succeeded"
        return intent

    def _canceled(self, intent: dict[str, Any]) -> dict[str, Any]:
        if intent["status"] in ("succeeded", "canceled"):
            raise _invalid("payment_intent_unexpected_state")
        intent["status"] = "canceled"
        return intent

    def _refund(self, form: Form) -> dict[str, Any]:
        intent = self._known(self.intents, form.get("payment_intent", ""))
        charge = self.charges.get(intent.get("latest_charge", ""), {})
        amount = int(form["amount"])
        if not charge.get("captured") or amount > charge["amount_captured"] - charge["amount_refunded"]:
            raise _invalid("charge_already_refunded" if charge.get("amount_refunded") else "amount_too_large")
        charge["amount_refunded"] += amount
        more = {"charge": charge["id"], "payment_intent": intent["id"], "currency": charge["currency"]}
        return self._new("re", self.refunds, form, amount=amount, status="succeeded", **more)

    def _new(self, kind: str, book: dict[str, dict[str, Any]], form: Form, **fields: Any) -> dict[str, Any]:
        metadata = {name[9:-1]: value for name, value in form.items() if name.startswith("metadata[")}
        name = f"{kind}_{next(self._numbers):06}"
        made = {"id": name, "created": int(time.time()), "metadata": metadata, **fields}
        book[name] = made
        return made

    def _known(self, book: dict[str, dict[str, Any]], name: str) -> dict[str, Any]:
        if name not in book:
            raise _invalid("resource_missing", 404)
        return book[name]

    def get(self, path: str, query: Form) -> Answer:
        """One look-up."""
        parts = path.strip("/").split("/")[1:]
        books = {"payment_intents": self.intents, "charges": self.charges, "refunds": self.refunds}
        book = books.get(parts[0])
        with self._lock:
            self.asked.append((path, ""))
            try:
                if book is None:
                    raise _invalid("url_invalid", 404)
                if len(parts) == 2 and parts[1] != "search":
                    return 200, self._known(book, parts[1])
                return 200, self._page(list(reversed(book.values())), query)
            except Refused as refused:
                return refused.answer

    def _page(self, found: list[dict[str, Any]], query: Form) -> dict[str, Any]:
        """A page of a list, the newest first; a search differs in how it goes on."""
        if "query" in query:
            name, _, value = query["query"].partition(":")
            wanted = (name.split("'")[1], value.strip("'"))
            found = [each for each in found if each["metadata"].get(wanted[0]) == wanted[1]]
        for name in ("transfer_group", "charge", "payment_intent"):
            found = [each for each in found if name not in query or each.get(name) == query[name]]
        found = [each for each in found if each["created"] >= int(query.get("created[gte]", "0"))]
        after = query.get("starting_after") or query.get("page")
        names = [each["id"] for each in found]
        if after in names:
            found = found[names.index(after) + 1 :]
        page, more = found[: int(query.get("limit", "10"))], len(found) > int(query.get("limit", "10"))
        following = {"next_page": page[-1]["id"]} if more and "query" in query else {}
        return {"object": "list", "data": page, "has_more": more, **following}


def _handler(books: Books) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            self._answer(self._refusal() or books.get(url.path, dict(parse_qsl(url.query))))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
            key = self.headers.get("Idempotency-Key")
            self._answer(self._refusal() or books.post(self.path, dict(parse_qsl(body)), key))

        def _refusal(self) -> Answer | None:
            allowed = self.headers.get("Authorization", "").startswith("Bearer sk_test_")
            return None if allowed else _invalid("api_key_invalid", 401).answer

        def _answer(self, answer: Answer) -> None:
            status, document = answer
            body = json.dumps(document).encode()
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                self.close_connection = True  # who asked has given up

        def log_message(self, *args: Any) -> None:
            """Nothing is logged: bodies and keys are nobody's business."""

    return Handler


@contextmanager
def serving(books: Books, port: int = 0) -> Iterator[str]:
    """The stand-in, served on loopback for as long as the block runs; gives its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", port), _handler(books))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def main() -> None:
    """Serve it until interrupted."""
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 12111
    with serving(Books(), port) as url:
        sys.stdout.write(f"a stand-in for Stripe is at {url}\n")
        sys.stdout.flush()
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
