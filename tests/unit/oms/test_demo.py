"""The demo's sample orders are valid and its verdict is honest: it fails when anything differs."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import replace

import pytest
from rich.console import Console

from contracts.orders import Order
from oms.audit import Report
from oms.audit.checklist import Check
from oms.audit.report import Finding
from oms.demo.deeds import Decide
from oms.demo.play import demo_settings
from oms.demo.results import Course, Level, Money, Result
from oms.demo.sample_orders import CANCELLED, COMPLETED, HELD_ABOVE, SCARCE, STOCK, stories
from oms.demo.view import LinesView
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


def test_the_demo_uses_nothing_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMS_DATABASE_URL", "postgresql://production/db")
    monkeypatch.setenv("OMS_PAYMENT_DATABASE_URL", "postgresql://production/db")
    monkeypatch.setenv("OMS_BROKER_URL", "amqp://production")
    monkeypatch.setenv("OMS_PAYMENT_GATEWAY_URL", "https://gateway.example")
    monkeypatch.setenv("OMS_CARRIER_URL", "https://carrier.example")
    settings = demo_settings()
    assert settings.database_url_of("payment") is None
    assert settings.broker_url == ()
    assert settings.payment_gateway_url is None
    assert settings.carrier_url is None
