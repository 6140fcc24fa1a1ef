"""Rules of an order's whole life: how it is found, captured, returned, and split into parcels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from orchestrator.sagas import parcels
from participants.inventory.handlers import Reduction, Restocking
from participants.inventory.stock import Shelf
from participants.kit.errands import StepAtProvider
from participants.payment.gateway import HttpPaymentGateway
from participants.payment.handlers import PartialRefund
from simulation.mutations import (
    mutants,
    parcel_mutants,
    payment_mutants,
    return_mutants,
    settings,
)
from simulation.mutations.trial import Mutation
from simulation.patches import Patch
from simulation.storage.orchestrator import MemoryOrchestratorTransaction

OF_AN_ORDERS_LIFE: Final[Sequence[Mutation]] = (
    Mutation(
        "S26 references",
        "a reference never stands in the way",
        (Patch(MemoryOrchestratorTransaction, "claim_references", mutants.references_never_stand),),
        known=10,
    ),
    Mutation(
        "P6 nothing for nothing",
        "an amount of 0 is asked for, too",
        (Patch(StepAtProvider, "unasked", payment_mutants.asked_for_all_the_same),),
        adjust=settings.with_free_orders,
    ),
    Mutation(
        "S27 void",
        "a void is answered and the gateway is not asked",
        (Patch(HttpPaymentGateway, "release", payment_mutants.said_to_be_given_up),),
        adjust=settings.that_captures,
        known=2,
    ),
    Mutation(
        "S27 after the parcel",
        "what is authorized is captured at once",
        (Patch(HttpPaymentGateway, "authorize", payment_mutants.captured_at_once),),
        adjust=settings.that_captures,
    ),
    Mutation(
        "S27 captured once",
        "each call for a capture has a key of its own",
        (Patch(HttpPaymentGateway, "capture", payment_mutants.captured_under_another_key),),
        adjust=settings.that_captures,
        known=5,
    ),
    Mutation(
        "S27 renewed once",
        "each call for a renewal of what has expired has a key of its own",
        (Patch(HttpPaymentGateway, "renew", payment_mutants.renewed_under_another_key),),
        adjust=settings.that_renews,
    ),
    Mutation(
        "S28 returns see each other",
        "no other return of the order is seen",
        (Patch(MemoryOrchestratorTransaction, "followers", return_mutants.nobody_follows),),
        adjust=settings.with_returns,
    ),
    Mutation(
        "S28 refunded as claimed",
        "whatever was claimed, the whole payment is given back",
        (Patch(PartialRefund, "call", return_mutants.all_is_given_back),),
        adjust=settings.with_returns,
        known=2,
    ),
    Mutation(
        "S28 taken in as the warehouse says",
        "what cannot be sold is restocked",
        (Patch(Restocking, "do", return_mutants.all_is_restocked),),
        adjust=settings.with_returns,
    ),
    Mutation(
        "S31 given back in money",
        "what could not be shipped is paid for",
        (Patch(parcels, "unshipped_worth", parcel_mutants.nothing_is_worth_anything),),
        adjust=settings.that_splits,
    ),
    Mutation(
        "S31 given back in stock",
        "whatever has left, all that was reserved is reduced",
        (Patch(Reduction, "do", parcel_mutants.all_has_left),),
        adjust=settings.that_splits,
    ),
    Mutation(
        "S31 where it was",
        "what is released stays held at its location",
        (Patch(Shelf, "release", parcel_mutants.released_anywhere),),
        adjust=settings.that_splits,
    ),
)
