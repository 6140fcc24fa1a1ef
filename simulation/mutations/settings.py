"""Circumstances in which a mutant does its damage; the unharmed code must live in them without complaint."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from contracts.returns import Disposition
from contracts.routing import Batches
from orchestrator.reconciler import Reconciler
from simulation.cast import CAPTURING
from simulation.mutations import mutants
from simulation.mutations.trial import Adjust
from simulation.network import BrokerSide
from simulation.patches import Patch
from simulation.plan import Plan as WorldPlan
from simulation.plan import Storm, split, with_free_lines
from simulation.providers import RENEWING_METHOD
from simulation.return_plans import ReturnPlan
from simulation.weather import Chance, Fault

NO_RECONCILER: Final = (Patch(Reconciler, "run_once", mutants.async_nothing),)

SELDOM_READ: Final = (Patch(BrokerSide, "has_room", mutants.read_seldom),)
"""Outcomes are read during a few seconds of every minute only."""


def only_crashes_before_commits(plan: WorldPlan) -> WorldPlan:
    """Faults from which redelivery alone recovers; one replica each, so that nobody else has a copy."""
    return replace(
        plan,
        rates={Fault.CRASH_BEFORE_COMMIT: 0.1},
        storms=(),
        garbage=0,
        strangers=0,
        meddling=0,
        new_version_at_s=None,
        replicas=dict.fromkeys(plan.replicas, 1),
        faults=frozenset({Fault.CRASH_BEFORE_COMMIT}),
    )


def only_full_queues(plan: WorldPlan) -> WorldPlan:
    """Nothing goes wrong but that queues are full for a while, each again and again."""
    return replace(
        plan,
        rates={Fault.MESSAGE_REFUSED: 0.2},
        storms=(),
        garbage=0,
        meddling=0,
        new_version_at_s=None,
        faults=frozenset({Fault.MESSAGE_REFUSED}),
    )


def that_splits(plan: WorldPlan) -> WorldPlan:
    """Orders are shipped in parcels, of which the carrier refuses some (S31)."""
    return split(plan, Chance(plan.seed).stream("parcels"))


def that_captures(plan: WorldPlan) -> WorldPlan:
    """Money is set aside before the parcel leaves, and taken after it (S27)."""
    return replace(plan, cast=CAPTURING)


def that_renews(plan: WorldPlan) -> WorldPlan:
    """The same, and whatever is captured has expired and is set aside anew."""
    orders = tuple(
        replace(each, order=each.order.model_copy(update={"payment_method": RENEWING_METHOD}))
        for each in plan.orders
    )
    return replace(that_captures(plan), orders=orders)


def with_free_orders(plan: WorldPlan) -> WorldPlan:
    """Many orders, or lines of them, cost nothing (P6)."""
    return replace(plan, orders=with_free_lines(plan.orders, Chance(plan.seed).stream("free")))


def with_rates(**rates: float) -> Adjust:
    """Every seed has these faults, at these rates, beside its own."""
    more = {Fault[name]: rate for name, rate in rates.items()}

    def adjust(plan: WorldPlan) -> WorldPlan:
        return replace(plan, rates={**plan.rates, **more}, faults=plan.faults | frozenset(more))

    return adjust


def with_a_long_outage(plan: WorldPlan) -> WorldPlan:
    """Answers are lost, and the provider is away for longer than its keys live."""
    outage = Storm(12.0, Fault.PROVIDER_DOWN, 63.0, everywhere=True)
    return with_rates(ANSWER_LOST=0.6)(replace(plan, storms=(*plan.storms, outage)))


def with_hasty_people(plan: WorldPlan) -> WorldPlan:
    """Calls take effect late, keys cannot be closed, and an operator judges what is stuck at once."""
    calm = replace(plan, offers_void=False, meddling=40, batches=Batches.NONE)
    return with_rates(EFFECT_LATE=0.6, PROVIDER_UNREACHED=0.3)(calm)


def with_people_at_once(plan: WorldPlan) -> WorldPlan:
    """Providers refuse for good, and somebody acts every other second."""
    broken = tuple(Storm(float(at), Fault.PROVIDER_MISUSE, 1.0, everywhere=False) for at in range(5, 60, 6))
    return replace(plan, meddling=40, storms=(*plan.storms, *broken))


def with_orders_at_once(plan: WorldPlan) -> WorldPlan:
    """All orders come in the same moment, everything may travel in batches, and some get a rotten part."""
    orders = tuple(replace(each, at_s=1.0) for each in plan.orders)
    return replace(plan, orders=orders, batches=Batches.ALL, garbage=5)


def with_strangers(plan: WorldPlan) -> WorldPlan:
    """Another installation sends its messages into the same queues."""
    return replace(plan, strangers=20, faults=plan.faults | {Fault.FOREIGN_MESSAGE})


def with_days_that_go_by(plan: WorldPlan) -> WorldPlan:
    """At the end everything is pruned, and old commands come again."""
    return replace(plan, is_pruned=True)


def with_a_slow_deployment(plan: WorldPlan) -> WorldPlan:
    """Some replicas go on without the new version for long, while orders have to be given up."""
    outage = Storm(8.0, Fault.PROVIDER_DOWN, 66.0, everywhere=True)
    replicas = {**plan.replicas, "orchestrator": 3}
    changed = replace(plan, storms=(*plan.storms, outage), replicas=replicas)
    return replace(changed, new_version_at_s=1.0, deployment_lasts_s=140.0)


def with_lies_told_in_time(plan: WorldPlan) -> WorldPlan:
    """Orders are cancelled while they are charged, and the gateway says that it will not charge, and does."""
    orders = tuple(
        replace(each, cancels_after_s=0.8 + 0.25 * number) for number, each in enumerate(plan.orders)
    )
    calm = replace(plan, orders=orders, offers_void=True, storms=(), replicas={**plan.replicas, "payment": 3})
    return with_rates(VOID_LIES=1.0, PROVIDER_SLOW=0.9)(replace(calm, rates={}))


def with_edited_functions(plan: WorldPlan) -> WorldPlan:
    """The functions of the definitions are edited while sagas are under way, and much is sent again."""
    return with_rates(MESSAGE_FORGOTTEN=0.15, DEFINITION_EDITED=0.0)(replace(plan, edited_at_s=14.0))


def with_spoilt_rows(plan: WorldPlan) -> WorldPlan:
    """What is stored of some orders is spoilt while they are under way."""
    return replace(plan, spoils=(6.0, 12.0, 18.0, 30.0))


def with_returns(plan: WorldPlan) -> WorldPlan:
    """Of every order that arrives something comes back."""
    return replace(plan, returns=returns_of_all(plan))


def returns_of_all(plan: WorldPlan) -> tuple[ReturnPlan, ...]:
    """Each order comes back by two returns at once, of which one word decides."""
    words = (Disposition.RESTOCK, Disposition.WRITE_OFF)
    return tuple(
        ReturnPlan(
            who=each.order.shipping_address.name,
            after_s=1.0,
            pieces=2,
            side_by_side=2,
            words=((5.0, words[at % 2]),),
            says_it_twice=False,
            cancels_after_s=None,
        )
        for at, each in enumerate(plan.orders)
    )
