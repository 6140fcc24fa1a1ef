"""What a seed stands for: which orders come, which processes run, which faults strike and how often."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from contracts.orders import Order, OrderLine, ShippingAddress
from contracts.routing import INVENTORY, ORCHESTRATOR, PARTICIPANTS, Batches
from messaging.retries import RetryPolicy
from simulation.cast import CAPTURING, ORDERS, SPLIT_AND_CAPTURED, SPLITTING, STOCK, UNSHIPPABLE, Cast
from simulation.courses.intentions import StartPlan
from simulation.providers import DECLINED_METHOD, EXPIRING_METHOD, REFUSED_POSTAL_CODE, RENEWING_METHOD
from simulation.return_plans import ReturnPlan, returns_of
from simulation.stories.story import Story
from simulation.weather import Chance, Fault

API: Final = "api"
"""The service that takes orders in and lets people act; it shares the orchestrator's database."""

RETRIES: Final = RetryPolicy(delays_s=(0.5, 2.0, 8.0), max_attempts=4)
KEY_LIFETIME_S: Final = 100_000.0
ORDERS_COME_WITHIN_S: Final = 25.0
STORM_LASTS_S: Final = 75.0
"""Afterwards nothing goes wrong any more, and everything has to end."""

UNKNOWN_SKU: Final = "unheard-of"

RATES: Final[Mapping[Fault, float]] = {
    Fault.MESSAGE_LOST: 0.02,
    Fault.CONFIRM_LOST: 0.03,
    Fault.MESSAGE_DELAYED: 0.04,
    Fault.MESSAGE_DUPLICATED: 0.1,
    Fault.MESSAGE_REFUSED: 0.02,
    Fault.MESSAGE_FORGOTTEN: 0.03,
    Fault.REORDERED: 0.15,
    Fault.TRANSACTION_FAILED: 0.05,
    Fault.COMMIT_AMBIGUOUS: 0.05,
    Fault.COMMIT_FAILED: 0.03,
    Fault.DATABASE_SLOW: 0.02,
    Fault.CRASH_BEFORE_COMMIT: 0.01,
    Fault.CRASH_AFTER_COMMIT: 0.01,
    Fault.CRASH_BEFORE_PUBLISH: 0.01,
    Fault.CRASH_AFTER_PUBLISH: 0.01,
    Fault.CRASH_BEFORE_CONFIRM: 0.01,
    Fault.CRASH_AFTER_CONFIRM: 0.01,
    Fault.CRASH_BEFORE_ACK: 0.01,
    Fault.CRASH_AFTER_ACK: 0.01,
    Fault.PROVIDER_UNREACHED: 0.15,
    Fault.ANSWER_LOST: 0.15,
    Fault.EFFECT_LATE: 0.1,
    Fault.PROVIDER_SLOW: 0.2,
    Fault.VOID_LIES: 0.2,
}
"""How likely a fault is at each opportunity, in seeds that have it."""

LATE_COMMITS: Final = 0.15
"""The share of seeds in which servers finish commits whose processes have lost their connections."""

LIARS: Final = 0.15
"""The share of seeds in which the gateway breaks its word whenever it can."""

SPOILS: Final = 0.12
"""The share of seeds in which somebody spoils what is stored of an order."""

CAPTURES: Final = 0.2
"""The share of seeds in which money is taken after the parcel has left."""

EXPIRES: Final = 0.12
"""The share of their orders whose authorization expires."""

RENEWED: Final = 0.5
"""The share of these that the gateway sets aside anew."""

SPLITS: Final = 0.15
"""The share of seeds in which orders are shipped from several locations."""

REFUSED_PARCELS: Final = 0.4
"""The share of their orders of which a parcel is refused."""

RETURNED: Final = 0.3
"""The share of seeds in which some orders come back."""

FREE: Final = 0.25
"""The share of seeds in which some orders, or lines of them, cost nothing."""

NAMED: Final = 0.1
"""The share of seeds in which orders have references."""

STORMS: Final = (
    Fault.BROKER_CUT_OFF,
    Fault.BROKER_RESTARTED,
    Fault.QUEUE_PURGED,
    Fault.DATABASE_CUT_OFF,
    Fault.DATABASE_RESTARTED,
    Fault.CLOCK_JUMPED,
    Fault.CRASH,
    Fault.PROCESS_STOPPED,
    Fault.PROVIDER_DOWN,
    Fault.PROVIDER_MISUSE,
)
"""Faults that come at a time of their own."""


@dataclass(frozen=True, slots=True)
class Storm:
    """A fault that strikes at a given time, and lasts where it is one that lasts."""

    at_s: float
    fault: Fault
    lasts_s: float
    everywhere: bool
    """It strikes every replica of a service at once."""


@dataclass(frozen=True, slots=True)
class OrderPlan:
    """What one customer will do. Times are seconds after what comes before."""

    order: Order
    at_s: float
    idempotency_key: str | None
    submits_twice: bool
    repeats_after_s: float | None
    reuses_key: bool
    cancels_after_s: float | None
    refused_by_provider: bool
    """The provider refuses this order's requests for good, until somebody repairs it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything about one run."""

    seed: int
    orders: tuple[OrderPlan, ...]
    replicas: Mapping[str, int]
    rates: Mapping[Fault, float]
    storms: tuple[Storm, ...]
    offers_void: bool
    garbage: int
    """How many messages come that nobody can understand."""
    strangers: int
    """How many messages come of another installation in the same virtual host (M4)."""
    meddling: int
    """How many actions an operator tries while the storm lasts."""
    new_version_at_s: float | None
    """When the second version of the definition is deployed; None for never."""
    stock_changes: int
    deployment_lasts_s: float = 20.0
    """Within so many seconds every replica gets the second version."""
    is_pruned: bool = False
    """Whether days go by at the end, after which everything is pruned and old commands come again (P7)."""
    spoils: tuple[float, ...] = ()
    """When what is stored of an order is spoilt (S25)."""
    strays: int = 0
    """How many sagas' first steps are undone, by somebody, before they were asked for (P5)."""
    cast: Cast = ORDERS
    starts: tuple[StartPlan, ...] = ()
    """Sagas that are started beside orders."""
    returns: tuple[ReturnPlan, ...] = ()
    """What comes back of orders that have arrived (S28)."""
    stories: tuple[Story, ...] = ()
    """Orders whose whole life is written down beforehand."""
    edited_at_s: float | None = None
    """When the functions of the definitions are edited without a new version; None for never (S22)."""
    batches: Batches = Batches.ALL
    """What may travel several in one message (M5)."""
    faults: frozenset[Fault] = field(default_factory=frozenset)


def batches_of(seed: int) -> Batches:
    """What may travel several in one in the world of a seed."""
    return Chance(seed).stream("batches").choice((Batches.NONE, Batches.COMMANDS, Batches.ALL, Batches.ALL))


def plan_of(seed: int) -> Plan:
    """The plan of a seed."""
    rng = Chance(seed).stream("plan")
    mood = rng.random()
    eagerness = 0.0 if mood < 0.06 else 1.0 if mood > 0.94 else 0.35
    rates = {fault: rate * rng.uniform(0.3, 2.0) for fault, rate in RATES.items() if rng.random() < eagerness}
    kinds = [fault for fault in STORMS if rng.random() < eagerness]
    storms = storms_of(rng, kinds)
    orders = tuple(_order(rng, number) for number in range(rng.randrange(5, 10)))
    orders = named(orders, Chance(seed).stream("titles"))
    orders = _some_free(orders, Chance(seed).stream("free"))
    captures = Chance(seed).stream("captures")
    capturing = captures.random() < CAPTURES
    replicas = {name: rng.choice((1, 2, 2, 3)) for name in (API, "orchestrator", *PARTICIPANTS)}
    if rng.random() < LIARS:
        rates |= {Fault.VOID_LIES: 1.0, Fault.EFFECT_LATE: 0.4, Fault.PROVIDER_UNREACHED: 0.2}
    if eagerness:
        rates |= late_commits_of(Chance(seed).stream("late commits"))
    strangers = Chance(seed).stream("strangers").choice((0, 0, 0, 6))
    foreign = {Fault.FOREIGN_MESSAGE} if strangers else set()
    strays = 0
    if eagerness == 0.0 and rng.random() < 0.7:
        # Only where nothing overtakes anything is it certain that the release comes first.
        strays, replicas[INVENTORY] = 2, 1
    spoils = spoils_of(Chance(seed).stream("spoilt rows"))
    spoilt = {Fault.ROW_SPOILT} if spoils else set()
    plan = Plan(
        seed=seed,
        orders=orders,
        replicas=replicas,
        rates=rates,
        storms=tuple(sorted(storms, key=lambda storm: storm.at_s)),
        offers_void=rng.random() < 0.5 or Fault.VOID_LIES in rates,
        garbage=rng.choice((0, 0, 0, 2, 5)),
        strangers=strangers,
        meddling=rng.choice((0, 0, 3, 8)),
        new_version_at_s=rng.uniform(5, 60) if rng.random() < 0.3 else None,
        stock_changes=rng.choice((0, 0, 2)),
        strays=strays,
        is_pruned=rng.random() < 0.2,
        spoils=spoils,
        deployment_lasts_s=rng.choice((20.0, 20.0, 65.0)),
        batches=batches_of(seed),
        returns=_returns(orders, Chance(seed).stream("returns")),
        faults=frozenset(rates) | {storm.fault for storm in storms} | spoilt | foreign,
    )
    if capturing:
        plan = captured(plan, captures)
    splits = Chance(seed).stream("parcels")
    return split(plan, splits) if splits.random() < SPLITS else plan


def split(plan: Plan, rng: random.Random) -> Plan:
    """The same seed where orders are shipped in parcels, of which the carrier refuses some (S31)."""
    cast = SPLIT_AND_CAPTURED if plan.cast is CAPTURING else SPLITTING
    return replace(plan, orders=tuple(_with_a_refused_parcel(each, rng) for each in plan.orders), cast=cast)


def _with_a_refused_parcel(plan: OrderPlan, rng: random.Random) -> OrderPlan:
    if rng.random() >= REFUSED_PARCELS:
        return plan
    refused = OrderLine(sku=UNSHIPPABLE, quantity=rng.choice((1, 2)), unit_price=rng.choice((300, 300, 0)))
    return replace(plan, order=plan.order.model_copy(update={"lines": (*plan.order.lines, refused)}))


def captured(plan: Plan, rng: random.Random) -> Plan:
    """The same seed where money is taken after the parcel has left; some of it has expired then (S27).

    Where goods come back, it is set aside anew: what a person had paid in another way, a person gives back.
    """
    orders = tuple(
        replace(each, order=each.order.model_copy(update={"payment_method": _expiring(rng, plan)}))
        if each.order.payment_method != DECLINED_METHOD and rng.random() < EXPIRES
        else each
        for each in plan.orders
    )
    return replace(plan, orders=orders, cast=CAPTURING)


def _expiring(rng: random.Random, plan: Plan) -> str:
    return RENEWING_METHOD if plan.returns or rng.random() < RENEWED else EXPIRING_METHOD


def _returns(orders: tuple[OrderPlan, ...], rng: random.Random) -> tuple[ReturnPlan, ...]:
    """From a stream of its own, as `spoils_of`."""
    return with_returns(orders, rng) if rng.random() < RETURNED else ()


def with_returns(orders: tuple[OrderPlan, ...], rng: random.Random) -> tuple[ReturnPlan, ...]:
    """Of these orders many come back."""
    return returns_of([plan.order.shipping_address.name for plan in orders], rng)


def named(orders: tuple[OrderPlan, ...], rng: random.Random) -> tuple[OrderPlan, ...]:
    """In some seeds the customers call their orders something, and two of them the same (S26)."""
    if rng.random() >= NAMED:
        return orders
    return tuple(
        replace(plan, order=plan.order.model_copy(update={"reference": f"R-{rng.randrange(2)}"}))
        for plan in orders
    )


def _some_free(orders: tuple[OrderPlan, ...], rng: random.Random) -> tuple[OrderPlan, ...]:
    """From a stream of its own, as `spoils_of`."""
    return with_free_lines(orders, rng) if rng.random() < FREE else orders


def with_free_lines(orders: tuple[OrderPlan, ...], rng: random.Random) -> tuple[OrderPlan, ...]:
    """Of these orders many cost nothing, or one of their lines does (P6)."""
    return tuple(_with_free_lines(plan, rng.choice((0, 1, len(plan.order.lines)))) for plan in orders)


def _with_free_lines(plan: OrderPlan, count: int) -> OrderPlan:
    lines = plan.order.lines
    free = tuple(line.model_copy(update={"unit_price": 0}) for line in lines[:count])
    return replace(plan, order=plan.order.model_copy(update={"lines": (*free, *lines[count:])}))


def late_commits_of(rng: random.Random) -> dict[Fault, float]:
    """From a stream of its own, as `spoils_of`."""
    return {Fault.COMMIT_LATE: rng.uniform(0.02, 0.1)} if rng.random() < LATE_COMMITS else {}


def spoils_of(rng: random.Random) -> tuple[float, ...]:
    """From a stream of its own: what a seed stands for beside this does not change with it."""
    count = rng.choice((1, 1, 2)) if rng.random() < SPOILS else 0
    return tuple(sorted(rng.uniform(1.0, STORM_LASTS_S) for _ in range(count)))


def storms_of(rng: random.Random, kinds: list[Fault]) -> list[Storm]:
    """Some storms of these kinds."""
    storms = [_storm(rng, kinds) for _ in range(rng.randrange(1, 7))] if kinds else []
    if kinds and rng.random() < 0.3:
        storms.append(_outage(rng))
    return storms


def _storm(rng: random.Random, kinds: list[Fault]) -> Storm:
    lasts_s = rng.uniform(0.5, 5.0) if rng.random() < 0.5 else rng.uniform(5.0, 60.0)
    return Storm(rng.uniform(0, STORM_LASTS_S), rng.choice(kinds), lasts_s, rng.random() < 0.2)


def _outage(rng: random.Random) -> Storm:
    """Something that everybody needs is away for longer than anybody's patience."""
    lasting = (Fault.PROVIDER_DOWN, Fault.PROVIDER_DOWN, Fault.BROKER_CUT_OFF, Fault.DATABASE_CUT_OFF)
    return Storm(rng.uniform(0, 15), rng.choice(lasting), rng.uniform(50, 80), everywhere=True)


def _order(rng: random.Random, number: int) -> OrderPlan:
    kind = rng.random()
    skus = rng.sample(sorted(STOCK), rng.choice((1, 1, 2)))
    if kind < 0.06:
        skus = [*skus, UNKNOWN_SKU]
    lines = tuple(OrderLine(sku=sku, quantity=rng.randrange(1, 4), unit_price=500) for sku in skus)
    order = Order(
        customer_id=f"customer-{number % 3}",
        currency="EUR",
        lines=lines,
        payment_method=DECLINED_METHOD if 0.06 < kind < 0.16 else "pm_card_visa",
        shipping_address=ShippingAddress(
            name=f"Person {number}",
            line1="1 Street",
            city="Town",
            postal_code=REFUSED_POSTAL_CODE if 0.16 < kind < 0.26 else "12345",
            country="DE",
        ),
    )
    keyed = rng.random() < 0.8
    return OrderPlan(
        order=order,
        at_s=rng.uniform(0, ORDERS_COME_WITHIN_S),
        idempotency_key=f"key-{number}" if keyed else None,
        submits_twice=keyed and rng.random() < 0.2,
        repeats_after_s=rng.uniform(0, 40) if keyed and rng.random() < 0.15 else None,
        reuses_key=keyed and rng.random() < 0.1,
        cancels_after_s=rng.choice((rng.uniform(0, 0.3), rng.uniform(0, 40)))
        if rng.random() < 0.25
        else None,
        refused_by_provider=rng.random() < 0.5,
    )


ORCHESTRATOR_DATABASE: Final = ORCHESTRATOR
WAREHOUSE_DATABASE: Final = INVENTORY
