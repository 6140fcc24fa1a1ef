"""The demo: the whole system in one process, sample orders, and the audit's word on what came of them.

Nothing of the environment's databases and brokers is used, and the folder is deleted afterwards.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import structlog

from oms.api_client import ApiClient, Document, Refused
from oms.audit import audit, sources_of
from oms.audit.installed import installed_of
from oms.demo.deeds import RETURNED, Deed
from oms.demo.results import Course, Level, Money, Result
from oms.demo.sample_orders import HELD_ABOVE, LOCATIONS, PRICES, STOCK, End, stories
from oms.demo.view import DemoView, view_for
from oms.failures import Failure
from oms.observing.logs import configure_logs
from oms.processes import FOLDER, Running, stack
from oms.serving import until_told_to_stop
from oms.settings import HTTP, SANDBOX, Settings, settings_of_code
from oms.variables import PREFIX

log = structlog.get_logger(__name__)

LONGEST_S: Final = 90
"""Seconds after which the demo gives up on orders that have not ended."""

_LOOK_S: Final = 0.1
_AT_ONCE: Final = 8


class DemoFailed(Failure):
    """Some order did not end in time."""


async def run_demo() -> bool:
    """Run the demo; returns whether everything came out as it must. Raises Failure."""
    view = view_for(sys.stdout)
    settings = demo_settings()
    configure_logs(settings, "demo")
    view.say("starting PostgreSQL, all services, a payment gateway and a carrier in this process ...")
    with tempfile.TemporaryDirectory(prefix="oms-demo-", ignore_cleanup_errors=True) as folder:
        async with stack(settings, "127.0.0.1", 0, Path(folder)) as running:
            view.say(f"ready on {running.api_url}")
            async with ApiClient(running.api_url, running.admin_token) as api:
                result = await _play(api, running, view)
    view.result(result)
    return result.as_expected


def demo_settings() -> Settings:
    """Everything embedded, whatever the environment says and whatever extensions are installed; short times,
    so that trouble passes quickly.
    """
    return settings_of_code(
        payment_gateway=SANDBOX,
        carrier=SANDBOX,
        log_format="console",
        log_level="error",
        provider_timeout_s=1,
        retry_delays_s=(0.5, 1, 2),
        resend_after_s=3,
        step_deadline_s=60,
        hold_above=f"EUR={HELD_ABOVE}",
        shipments="split",
    )


async def run_with_samples(settings: Settings, host: str, port: int) -> None:
    """`oms run --demo`: serve, with stock and one round of sample orders to look at.

    Raises:
        Failure: a real provider would charge for them or ship them, or something cannot be started.
    """
    configure_logs(settings, "oms")
    _require_sandbox(settings)
    stop = until_told_to_stop(settings.stop_within_s)
    async with stack(settings, host, port, FOLDER) as running:
        async with ApiClient(running.api_url, running.admin_token) as api:
            courses = await order_samples(api)
        number = sum(len(course.order_ids) for course in courses)
        log.info("sample orders submitted", orders=number, console=f"{running.api_url}/console")
        await stop.wait()


def _require_sandbox(settings: Settings) -> None:
    for name, chosen, url in (
        ("PAYMENT_GATEWAY", settings.payment_gateway_chosen, settings.payment_gateway_url),
        ("CARRIER", settings.carrier_chosen, settings.carrier_url),
    ):
        if chosen not in (SANDBOX, HTTP) or (chosen == HTTP and url is not None):
            variable = f"{PREFIX}{name}" if chosen != HTTP else f"{PREFIX}{name}_URL"
            raise Failure(f"sample orders are for the sandbox: take {variable} away, or leave out --demo")


async def order_samples(api: ApiClient) -> list[Course]:
    """Stock, and one round of sample orders; nobody does anything about them."""
    await _set_stock(api)
    courses = [Course(story) for story in stories()]
    await _submit_all(api, courses)
    return courses


async def _play(api: ApiClient, running: Running, view: DemoView) -> Result:
    loop = asyncio.get_running_loop()
    before = await _set_stock(api)
    started_at = loop.time()
    courses = [Course(story) for story in stories()]
    with view.following(courses):
        async with asyncio.TaskGroup() as together:
            acting = together.create_task(_act_all(api, courses))
            orders = await _until_ended(api, courses, acting, view)
    took_s = loop.time() - started_at
    returns = [made for course in courses for made in course.returns.values()]
    levels = await _levels(api, before, orders, returns)
    money = await _money(api, orders, returns)
    view.say("auditing every order and every product ...")
    report = await audit(sources_of(running.settings, installed_of(running.settings)))
    return Result(courses, levels, money, report, took_s)


async def _set_stock(api: ApiClient) -> dict[str, int]:
    for sku, on_hand in STOCK.items():
        place = {"location": LOCATIONS[sku]} if sku in LOCATIONS else {}
        await api.put(f"/inventory/{sku}", {"on_hand": on_hand, **place})
    return dict(STOCK)


async def _act_all(api: ApiClient, courses: Sequence[Course]) -> None:
    """Customers order, and then everybody does what the stories tell."""
    await _submit_all(api, courses)
    async with asyncio.TaskGroup() as people:
        for course in courses:
            if course.story.deed is not None:
                for order_id in course.order_ids:
                    people.create_task(_see_to(api, course, course.story.deed, order_id))


async def _see_to(api: ApiClient, course: Course, deed: Deed, order_id: str) -> None:
    returned = await deed.do(api, order_id)
    if returned is not None:
        course.returns[order_id] = returned
    course.seen_to += 1


async def _submit_all(api: ApiClient, courses: Sequence[Course]) -> None:
    """All stories at once, as orders come in life: mixed."""
    waiting = [(course, number) for course in courses for number in range(len(course.story.orders))]
    waiting.sort(key=lambda each: each[1] / len(each[0].story.orders))
    queue = iter(waiting)

    async def customer() -> None:
        for course, number in queue:
            await _submit(api, course, number)

    async with asyncio.TaskGroup() as customers:
        for _ in range(_AT_ONCE):
            customers.create_task(customer())


async def _submit(api: ApiClient, course: Course, number: int) -> None:
    order = await api.post("/orders", course.story.orders[number])
    course.order_ids.append(order["order_id"])
    if course.story.cancelled:
        try:
            await api.post(f"/orders/{order['order_id']}/cancel", None)
        except Refused as refused:
            if refused.status != 409:
                raise
            course.too_late += 1


async def _until_ended(
    api: ApiClient, courses: Sequence[Course], acting: asyncio.Task[Any], view: DemoView
) -> list[Document]:
    """Look at all orders again and again until none is under way. Raises DemoFailed."""
    try:
        async with asyncio.timeout(LONGEST_S):
            while True:
                everything_is_done = acting.done()
                orders = (await api.items("/orders", {}, limit=1000))["items"]
                _count_ends(courses, orders)
                view.progress(orders)
                if everything_is_done and all(course.done for course in courses):
                    return list(orders)
                await asyncio.sleep(_LOOK_S)
    except TimeoutError:
        late = [course.story.name for course in courses if not course.done]
        raise DemoFailed(f"not ended after {LONGEST_S} s: {', '.join(late)}") from None


def _count_ends(courses: Sequence[Course], orders: Sequence[Document]) -> None:
    ends = {order["order_id"]: _end(order) for order in orders if order["ended_at"] is not None}
    for course in courses:
        course.ends = Counter(
            _with_return(course, order_id, ends[order_id])
            for order_id in course.order_ids
            if order_id in ends
        )


def _with_return(course: Course, order_id: str, end: End) -> End:
    """The end of an order, and of the return that there is of it."""
    returned = course.returns.get(order_id)
    if returned is None:
        return end
    return RETURNED if returned["status"] == "returned" else (end[0], str(returned["status"]))


def _end(order: Mapping[str, Any]) -> End:
    failure = order["failure"]
    return order["status"], failure["code"] if failure else None


async def _levels(
    api: ApiClient, before: Mapping[str, int], orders: Sequence[Document], returns: Sequence[Document]
) -> list[Level]:
    sold: Counter[str] = Counter()
    back: Counter[str] = Counter()
    for order in orders:
        sold.update(_shipped(order))
    for made in returns:
        back.update({line["sku"]: line["quantity"] for line in made["lines"]})
    levels = {level["sku"]: level for level in (await api.items("/inventory", {}, limit=200))["items"]}
    return [
        Level(sku, count, levels[sku]["on_hand"], levels[sku]["reserved"], sold[sku], back[sku])
        for sku, count in before.items()
    ]


async def _money(api: ApiClient, orders: Sequence[Document], returns: Sequence[Document]) -> Money:
    charges = (await api.items("/sandbox/charges", {}, limit=1000))["items"]
    return Money(
        charges=len(charges),
        charged=sum(charge["amount"] for charge in charges),
        refunded=sum(charge["refunded"] for charge in charges),
        due=sum(PRICES[sku] * count for order in orders for sku, count in _shipped(order).items())
        - sum(made["amount"] for made in returns),
    )


def _shipped(order: Document) -> Counter[str]:
    """What of an order has left for good."""
    pieces: Counter[str] = Counter()
    for parcel in order.get("parcels", ()):
        if parcel["status"] == "shipped":
            pieces.update({line["sku"]: line["quantity"] for line in parcel["lines"]})
    return pieces
