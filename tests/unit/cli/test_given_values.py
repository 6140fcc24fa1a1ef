"""What options were given that nothing can carry: refused with a sentence, before or instead of an answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.conftest import Oms
from tests.unit.cli.fake_api import DEAD_ID, ORDER_ID, SAGA_ID, FakeApi

NO_TEXT = "a\udcff"
"""As an argument comes that is no UTF-8."""

TEXTS = (
    ("orders", "cancel", ORDER_ID, "--reason", NO_TEXT),
    ("orders", "list", "--customer", NO_TEXT),
    ("orders", "list", "--metadata", f"a={NO_TEXT}"),
    ("orders", "list", "--cursor", NO_TEXT),
    ("orders", "list", "--url", f"http://{NO_TEXT}"),
    ("orders", "list", "--url", f"http://127.0.0.1:8000/{NO_TEXT}"),
    ("orders", "list", "--token", NO_TEXT),
    ("orders", "return", ORDER_ID, f"{NO_TEXT}=1", "--reason", "why"),
    ("orders", "return", ORDER_ID, "SKU-1=1", "--reason", "why", "--idempotency-key", NO_TEXT),
    ("orders", "return", ORDER_ID, "SKU-1=1", "--reason", "why", "--idempotency-key", "ü"),
    ("orders", "return", ORDER_ID, "SKU-1=1", "--reason", "why", "--idempotency-key", "a\nb"),
    ("orders", "return", ORDER_ID, f"SKU-1={'9' * 5000}", "--reason", "why"),
    ("orders", "submit", "order.json", "--idempotency-key", NO_TEXT),
    ("orders", "submit", "order.json", "--idempotency-key", "ü"),
    ("orders", "submit", f"{NO_TEXT}.json"),
    ("orders", "approve", ORDER_ID, "--reason", NO_TEXT),
    ("sagas", "list", "--status", NO_TEXT),
    ("sagas", "retry", SAGA_ID, "--reason", NO_TEXT),
    ("sagas", "retry", SAGA_ID, "--reason", "why", "--step", NO_TEXT),
    ("sagas", "signal", SAGA_ID, "approval", "--body", NO_TEXT),
    ("sagas", "signal", SAGA_ID, "approval", "--body", f"@{NO_TEXT}"),
    ("sagas", "signal", SAGA_ID, "approval", "--reason", NO_TEXT),
    ("sagas", "signal", SAGA_ID, NO_TEXT),
    ("sagas", "start", NO_TEXT, "order.json"),
    ("sagas", "each", "retry", "--incident", NO_TEXT, "--dry-run"),
    ("dead-letters", "discard", DEAD_ID, "--reason", NO_TEXT),
    ("dead-letters", "show", DEAD_ID, "--full", "--reason", NO_TEXT),
    ("events", "--after", NO_TEXT),
    ("events", "--follow", "--type", NO_TEXT),
    ("stock", "set", "SKU-1", "1", "--location", NO_TEXT),
    ("webhooks", "add", NO_TEXT, "--reason", "why"),
    ("tokens", "create", "--name", NO_TEXT, "--role", "viewer"),
    ("tokens", "revoke", NO_TEXT),
    ("people", "sign-out", NO_TEXT),
    ("prune", "--older-than", "30d", "--reason", NO_TEXT),
    ("orphans", "take-back", "--reason", NO_TEXT),
    ("participant", NO_TEXT),
    ("conformance", NO_TEXT),
    ("new", "saga", NO_TEXT),
    ("sagas", "rehearse", "--definition", NO_TEXT),
    ("simulate", "--saga", NO_TEXT),
)
URLS = (
    "http://127.0.0.1\x01:8000",
    "http://127.0.0.1:8000\n/",
    "http://a b",
    "http://[::1",
    "http://\x7f",
    "http:// ",
)


@pytest.mark.parametrize("arguments", TEXTS, ids=lambda given: ascii(" ".join(given))[:60])
def test_text_that_cannot_be_sent_is_refused_in_a_sentence(
    arguments: tuple[str, ...], oms: Oms, api: FakeApi
) -> None:
    Path("order.json").write_text("{}")
    ran = oms(*arguments)
    assert ran.code in (1, 2), ran
    assert "unexpected" not in ran.err
    assert "Traceback" not in ran.err
    assert ran.err.splitlines()[-1].startswith("oms: ")
    assert [request for request in api.requests if request.method != "GET"] == []


@pytest.mark.parametrize("url", URLS, ids=ascii)
def test_a_url_that_is_none_is_named(url: str, oms: Oms, api: FakeApi) -> None:
    ran = oms("orders", "list", "--url", url)
    assert ran.code == 1
    assert ran.err.startswith("oms: --url (OMS_API_URL) must be an http(s) URL")
    assert api.requests == []


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "0", "-1", "1001", "1e999"])
def test_a_rate_is_a_number_within_its_bounds(number: str, oms: Oms, api: FakeApi) -> None:
    for command in (("sagas", "each", "retry"), ("dead-letters", "replay", "--all")):
        ran = oms(*command, "--reason", "why", "--rate", number)
        assert ran.code == 2, ran.err
        assert "rate" in ran.err or "number" in ran.err
    assert api.requests == []


@pytest.mark.parametrize("number", ["nan", "inf", "-1"])
def test_a_time_is_a_number_within_its_bounds(number: str, oms: Oms, api: FakeApi) -> None:
    for command in (("orders", "submit", "-"), ("sagas", "start", "enrolment", "-")):
        assert oms(*command, "--wait", "--timeout", number, stdin="{}").code == 2
    assert oms("conformance", "payment", "--answer-within", number).code == 2
    assert api.requests == []
