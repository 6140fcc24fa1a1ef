"""The demo's sample orders are valid and its verdict is honest: it fails when anything differs."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Final

import pytest
from rich.console import Console

from contracts.orders import Order
from oms import extensions, settings, variables
from oms.audit import Report
from oms.audit.checklist import Check
from oms.audit.report import Finding
from oms.demo.deeds import Decide
from oms.demo.play import demo_settings, run_with_samples
from oms.demo.results import Course, Level, Money, Result
from oms.demo.sample_orders import CANCELLED, COMPLETED, HELD_ABOVE, SCARCE, STOCK, stories
from oms.demo.view import LinesView
from oms.extensions import KIT_PARTICIPANTS, Extension
from oms.failures import Failure
from oms.sandbox import CARRIER_TRIGGERS, PAYMENT_TRIGGERS
from oms.sandbox.triggers import carrier_behaviour


def played() -> list[Course]:
    """Every story, ended as it must."""
    return [Course(story, ends=Counter(dict(story.expected))) for story in stories()]


def good() -> Result:
    levels = [Level(sku, count, count - 1, 0, 1) for sku, count in STOCK.items()]
    return Result(played(), levels, Money(2, 300, 100, 200), Report(), 1.0)


def test_every_sample_order_is_a_valid_order() -> None:
    for story in stories():
        assert [Order.model_validate(dict(order)) for order in story.orders]
        assert sum(story.expected.values()) == len(story.orders), story.name


def test_the_triggers_that_the_stories_use_exist_in_the_sandbox() -> None:
    orders = [order for story in stories() for order in story.orders]
    methods = {order["payment_method"] for order in orders}
    postal_codes = {order["shipping_address"]["postal_code"] for order in orders}
    assert methods <= set(PAYMENT_TRIGGERS)
    assert len(postal_codes & set(CARRIER_TRIGGERS)) == 1
    assert [sku for sku in STOCK if carrier_behaviour("10117", [sku]).outcome == "rejected"] == [
        "VASE.SHIP-REFUSED"
    ]


def test_only_what_is_meant_to_be_scarce_runs_out() -> None:
    wanted: Counter[str] = Counter()
    for story in stories():
        for order in story.orders:
            wanted.update({line["sku"]: line["quantity"] for line in order["lines"]})
    short = {sku for sku, on_hand in STOCK.items() if wanted[sku] > on_hand}
    assert short == {SCARCE}


def test_an_order_that_was_cancelled_too_late_must_complete() -> None:
    (story,) = [story for story in stories() if story.cancelled]
    course = Course(story, too_late=1)
    assert course.expected == {CANCELLED: len(story.orders) - 1, COMPLETED: 1}


def test_a_story_is_done_once_somebody_has_seen_to_each_of_its_orders() -> None:
    for course in played():
        assert course.done is (course.story.deed is None)
        course.seen_to = len(course.story.orders)
        assert course.done


def test_what_is_to_be_held_is_above_the_limit_and_nothing_else_is() -> None:
    for story in stories():
        totals = [Order.model_validate(dict(order)).total for order in story.orders]
        assert all((total > HELD_ABOVE) is isinstance(story.deed, Decide) for total in totals), story.name


def test_what_came_back_is_in_stock_again() -> None:
    assert Level("A", 10, 8, 0, 3, back=1).adds_up
    assert not Level("A", 10, 7, 0, 3, back=1).adds_up


def test_all_is_well_when_everything_came_out_as_it_must() -> None:
    assert good().as_expected


def _one_end_differs() -> Result:
    courses = played()
    courses[0].ends = Counter({CANCELLED: len(courses[0].story.orders)})
    return replace(good(), courses=courses)


def _the_audit_objects() -> Result:
    report = Report()
    report.add(Finding(Check.HAS_SAGA, "there is no such saga"))
    return replace(good(), report=report)


@pytest.mark.parametrize(
    "result",
    [
        _one_end_differs(),
        _the_audit_objects(),
        replace(good(), levels=[Level("A", 10, 10, 0, 1)]),
        replace(good(), levels=[Level("A", 10, 9, 1, 1)]),
        replace(good(), money=Money(2, 300, 100, 199)),
    ],
)
def test_the_demo_fails_when_anything_differs(result: Result) -> None:
    assert not result.as_expected
    shown = io.StringIO()
    LinesView(Console(file=shown, width=120)).result(result)
    assert "Something did not come out as it must" in shown.getvalue()
    assert "✘" in shown.getvalue()


SAID: Final = {
    "OMS_DATABASE_URL": "postgresql://production/db",
    "OMS_ORCHESTRATOR_DATABASE_URL": "postgresql://production/db",
    "OMS_INVENTORY_DATABASE_URL": "postgresql://production/db",
    "OMS_PAYMENT_DATABASE_URL": "postgresql://production/db",
    "OMS_SHIPPING_DATABASE_URL": "postgresql://production/db",
    "OMS_SANDBOX_DATABASE_URL": "postgresql://production/db",
    "OMS_AUDIT_DATABASE_URL": "postgresql://production/db",
    "OMS_BROKER_URL": "amqp://production",
    "OMS_ADMIN_TOKEN": "an-admin-token",
    "OMS_ORDERS_TOKEN": "a-token-for-orders",
    "OMS_SAGA_TOKENS": "enrolment=a-token-for-them",
    "OMS_OIDC_ISSUER": "https://id.example.com",
    "OMS_OIDC_CLIENT_ID": "console",
    "OMS_OIDC_CLIENT_SECRET": "a-secret",
    "OMS_OIDC_AUDIENCE": "api",
    "OMS_OIDC_ROLES": "admin=a",
    "OMS_OIDC_ROLES_CLAIM": "roles",
    "OMS_OIDC_NAME_CLAIM": "email",
    "OMS_OIDC_SCOPES": "openid",
    "OMS_OIDC_SESSION_S": "300",
    "OMS_PUBLIC_URL": "https://oms.example.com",
    "OMS_PAYMENT_GATEWAY": "stripe",
    "OMS_PAYMENT_GATEWAY_URL": "https://gateway.example",
    "OMS_CARRIER": "ups",
    "OMS_CARRIER_URL": "https://carrier.example",
    "OMS_SAGA_DEFINITIONS": "shop.sagas:enrolment",
    "OMS_DATABASE_CONNECTIONS": "50",
    "OMS_EXTENSIONS_OFF": "wine",
    "OMS_PROVIDER_TIMEOUT_S": "60",
    "OMS_PROVIDER_CONCURRENCY": "1",
    "OMS_LINGER_S": "1",
    "OMS_WEBHOOKS_PRIVATE": "yes",
    "OMS_WEBHOOKS_GIVE_UP_S": "1",
    "OMS_ORDERS_OPEN": "yes",
    "OMS_SANDBOX_OPEN": "yes",
    "OMS_HEALTH_URLS": "payment=http://payment:8080",
    "OMS_HEALTH_PORT": "80",
    "OMS_STOP_WITHIN_S": "5",
    "OMS_LOG_FORMAT": "json",
    "OMS_LOG_LEVEL": "debug",
    "OMS_LOG_REPEATS": "5",
    "OMS_PAYMENT_FLOW": "capture",
    "OMS_SHIPMENTS": "single",
    "OMS_HOLD_ABOVE": "EUR=1",
    "OMS_RETURN_WITHIN_S": "1",
    "OMS_STEP_DEADLINE_S": "1",
    "OMS_STEP_GRACE_S": "1",
    "OMS_RESEND_AFTER_S": "1",
    "OMS_RETRY_DELAYS_S": "7",
    "OMS_MAX_ATTEMPTS": "1",
    "OMS_IDEMPOTENCY_TTL_S": "100000",
}
"""Everything that the environment can say, each thing other than the demo has it."""

WINE: Final = Extension(KIT_PARTICIPANTS, "wine", "wine", "1.0", EntryPoint("wine", "w:w", KIT_PARTICIPANTS))


def test_the_demo_goes_by_nothing_that_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extensions, "everything_installed", lambda: (WINE,))
    monkeypatch.setattr(settings, "everything_installed", lambda: (WINE,))
    assert SAID.keys() == set(variables.SETTINGS)
    before = demo_settings()
    for name, value in {**SAID, f"{variables.PREFIX}WINE_DATABASE_URL": "postgresql://production/db"}.items():
        monkeypatch.setenv(name, value)
    said = settings.load_settings()
    same = {name for name in type(before).model_fields if getattr(said, name) == getattr(before, name)}
    assert same == {"extensions_off"}

    assert demo_settings() == before
    assert demo_settings().database_url_of("wine") is None
    assert (before.payment_gateway_chosen, before.carrier_chosen) == ("sandbox", "sandbox")
    assert before.extensions_off == ("wine",)


def test_the_demo_goes_by_no_file_of_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = demo_settings()
    file = tmp_path / "oms.toml"
    file.write_text('payment_gateway = "stripe"\ncarrier = "ups"\nshipments = "single"\n')
    monkeypatch.setenv("OMS_CONFIG", str(file))
    assert settings.load_settings().payment_gateway == "stripe"
    assert demo_settings() == before
    file.write_text("this is no TOML")
    assert demo_settings() == before


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"payment_gateway": "stripe"}, "OMS_PAYMENT_GATEWAY away"),
        ({"payment_gateway_url": "https://gateway.example"}, "OMS_PAYMENT_GATEWAY_URL away"),
        ({"payment_gateway_url": "sandbox", "carrier": "ups"}, "OMS_CARRIER away"),
    ],
)
async def test_sample_orders_are_not_submitted_to_real_providers(said: dict[str, str], named: str) -> None:
    with pytest.raises(Failure, match=named):
        await run_with_samples(settings.load_settings(**said), "127.0.0.1", 0)
