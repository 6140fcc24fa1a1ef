"""People outside: customers who submit and cancel, an operator who meddles and then puts things right."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol, TypeVar
from uuid import UUID

from contracts.commands import AuthorizePayment, CapturePayment, ChargePayment, Command, ShipOrder, Verdict
from contracts.envelope import Direction
from contracts.orders import Order
from messaging.identifiers import NewId
from messaging.unit_of_work import StorageUnavailable
from orchestrator.core.definition import step_name
from orchestrator.core.following import NotFollowed
from orchestrator.core.inputs import Actor, ResolveRequested
from orchestrator.core.state import ENDED, IncidentKind, Saga
from orchestrator.intake import (
    Accepted,
    Answer,
    KeyReused,
    Overloaded,
    ReferenceTaken,
    Submission,
    fingerprint,
)
from orchestrator.operations import NotAllowed, NotFound, StaleVersion
from orchestrator.sagas.order_fulfillment import NAME
from orchestrator.service import Front
from orchestrator.storage import DeadLetter, DeadLetterStatus
from participants.provider_terms import idempotency_key
from simulation.cast import Cast
from simulation.facts import Acted, Blundered, Fact, NamedBefore, Submitted
from simulation.plan import OrderPlan
from simulation.process import ConnectionLost, Process
from simulation.providers import Provider
from simulation.stand_in import Outside

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Desk:
    """What one process of the API offers to those who call it."""

    front: Front
    new_id: NewId


NO_ANSWER: Final = (ConnectionLost, StorageUnavailable, Overloaded)
"""The caller does not know whether it was done."""

REFUSALS: Final = (NotAllowed, NotFound, StaleVersion)
OPERATOR: Final = Actor("operator", "simulated")
CUSTOMER: Final = Actor("customer", "changed their mind")


class Office(Protocol):
    """What people can see and reach."""

    @property
    def apis(self) -> list[Process]:
        """The processes that take orders in."""

    @property
    def provider(self) -> Provider:
        """The providers, with whom an operator can talk."""

    @property
    def outside(self) -> Outside:
        """What stand-ins have in common."""

    @property
    def cast(self) -> Cast:
        """Who plays."""

    @property
    def owners(self) -> dict[UUID, str]:
        """Who has started which saga, where they were told."""

    def tell(self, fact: Fact) -> None:
        """Let the watchers know."""

    async def sagas(self) -> list[Saga]:
        """Every saga as it stands."""

    async def dead_letters(self) -> list[DeadLetter]:
        """Every dead letter as it stands."""


class Person:
    """Somebody who calls the API, whichever replica answers."""

    def __init__(self, office: Office, rng: random.Random) -> None:
        self.office = office
        self.rng = rng

    async def ask(self, work: Callable[[Desk], Awaitable[R]]) -> R:
        """Call one replica. Raises what it raises, or one of `NO_ANSWER`."""
        try:
            return await self.rng.choice(self.office.apis).call(work)
        except NO_ANSWER + REFUSALS:
            raise
        except Exception as error:
            self.office.tell(Blundered(f"{type(error).__name__}: {error}"))
            raise ConnectionLost("an error that nobody promised") from error

    async def act(
        self, who: str, action: str, saga_id: UUID | None, work: Callable[[Desk], Awaitable[Any]]
    ) -> None:
        """Do something to a saga or a dead letter, and tell what came of it."""
        try:
            done = await self.ask(work)
            came = "done" if getattr(done, "changed", True) else "nothing new"
        except NO_ANSWER as error:
            came = f"no answer: {error}"
        except REFUSALS as refusal:
            came = f"refused: {refusal}"
        self.office.tell(Acted(who, action, saga_id, came))


class Customer(Person):
    """Does what one order's plan says."""

    def __init__(self, office: Office, rng: random.Random, plan: OrderPlan) -> None:
        super().__init__(office, rng)
        self.plan = plan

    async def live(self) -> None:
        """From the first submission to the last cancel."""
        plan = self.plan
        await asyncio.sleep(plan.at_s)
        first = self.submit(plan.order)
        if plan.submits_twice:
            answers = await asyncio.gather(first, self._a_little_later())
            answer = answers[0]
        else:
            answer = await first
        if not isinstance(answer, Accepted):
            return
        await asyncio.gather(self._cancel(answer.subject_id), self._repeat(), self._reuse())

    async def submit(self, order: Order) -> Answer | None:
        """Submit until there is an answer; without a key only once, for it might be a second order."""
        key = self.plan.idempotency_key
        while True:
            try:
                answer = await self.ask(lambda desk: _submit(desk, order, key))
            except NO_ANSWER:
                if key is None:
                    return None
                await asyncio.sleep(self.rng.uniform(0.1, 5.0))
                continue
            if isinstance(answer, ReferenceTaken):
                self.office.tell(NamedBefore(order.customer_id, order.reference or "", answer.subject_id))
                return answer
            told = None if isinstance(answer, KeyReused | NotFollowed) else answer.subject_id
            self.office.tell(Submitted(order.customer_id, key, fingerprint(order), told))
            return answer

    async def _a_little_later(self) -> Answer | None:
        await asyncio.sleep(self.rng.random() * 0.5)
        return await self.submit(self.plan.order)

    async def _repeat(self) -> None:
        if self.plan.repeats_after_s is not None:
            await asyncio.sleep(self.plan.repeats_after_s)
            await self.submit(self.plan.order)

    async def _reuse(self) -> None:
        if self.plan.reuses_key:
            await asyncio.sleep(self.rng.random() * 20)
            await self.submit(self.plan.order.model_copy(update={"payment_method": "pm_other"}))

    async def _cancel(self, order_id: UUID) -> None:
        if self.plan.cancels_after_s is None:
            return
        await asyncio.sleep(self.plan.cancels_after_s)
        saga_ids = [each.saga_id for each in await self.office.sagas() if each.subject_id == order_id]
        for saga_id in saga_ids * self.rng.choice((1, 1, 2)):
            await self.act("customer", "cancel", saga_id, cancelling(saga_id, CUSTOMER, None))


async def _submit(desk: Desk, order: Order, key: str | None) -> Answer:
    order_id, saga_id = desk.new_id(), desk.new_id()
    return await desk.front.intake.submit(Submission(NAME, order, order.customer_id, order_id, saga_id, key))


class Operator(Person):
    """Meddles while the storm lasts; when it is over, follows every incident until it is closed."""

    async def meddle(self) -> None:
        """One action on whatever catches the eye, allowed or not; half of the time on an incident."""
        if self.rng.random() < 0.5:
            for saga in await self.office.sagas():
                await self._follow(saga)
            return
        dead_letters = [each for each in await self.office.dead_letters() if _is_open(each)]
        if dead_letters and self.rng.random() < 0.5:
            await self._handle(self.rng.choice(dead_letters))
            return
        sagas = await self.office.sagas()
        if not sagas:
            return
        saga = self.rng.choice(sagas)
        version = self.rng.choice((None, saga.version, saga.version - 1))
        action = self.rng.choice(("retry", "cancel", "resolve"))
        if action == "retry":
            await self._retry(saga, version)
        elif action == "cancel":
            await self._do("cancel", saga, cancelling(saga.saga_id, OPERATOR, version))
        elif saga.steps:
            await self.resolve(saga, self.rng.choice(saga.steps).name)

    async def put_right(self) -> None:
        """Follow every open incident and dead letter, each as it asks for."""
        for order_id in sorted(self.office.provider.broken_orders):
            self.office.provider.repair(order_id)
        for saga in await self.office.sagas():
            await self._follow(saga)
        for dead in await self.office.dead_letters():
            if _is_open(dead) and dead.saga_id is None:
                await self.act("operator", "discard", None, partial(_discard, dead))

    async def resolve(self, saga: Saga, step: str) -> None:
        """Find out what is true of a step, make it certain, and say so."""
        if any(incident.step == step for incident in saga.incidents):
            verdict = self.truth(saga, step, _judged(saga, step))
        else:
            verdict = ResolveRequested(OPERATOR, step, self.rng.choice(list(Verdict)))
        if verdict is None:
            return
        await self._do(
            f"resolve {step} as {verdict.verdict}",
            saga,
            lambda desk: desk.front.operations.resolve(saga.saga_id, verdict),
        )

    async def _follow(self, saga: Saga) -> None:
        kinds = {incident.kind for incident in saga.incidents}
        if not kinds or any(each.settling for each in saga.awaited):
            return
        if saga.status in ENDED:
            for incident in saga.incidents:
                await self.resolve(saga, incident.step)
        elif IncidentKind.DEAD_LETTER in kinds and self.rng.random() < 0.7:
            await self._retry(saga, None)
        elif saga.awaited and self.rng.random() < 0.5:
            await self.resolve(saga, self.rng.choice(saga.awaited).step)

    def truth(self, saga: Saga, step: str, direction: Direction) -> ResolveRequested | None:
        """A verdict that is true, or that a person has made true; None where there is nothing to judge."""
        if step == "reserve":
            return ResolveRequested(OPERATOR, step, self.rng.choice(list(Verdict)), "by hand")
        works: dict[str, type[Command]] = {
            "charge": ChargePayment,
            "authorize": AuthorizePayment,
            "ship": ShipOrder,
            "capture": CapturePayment,
        }
        name = step_name(step)
        return self.truth_about(works[name], saga, step, direction) if name in works else None

    def truth_about(
        self, command: type[Command], saga: Saga, step: str, direction: Direction
    ) -> ResolveRequested | None:
        """The same of a step that asks a provider."""
        if command in (ChargePayment, AuthorizePayment) and direction is Direction.COMPENSATING:
            if self.rng.random() < 0.4:
                # The participant asks the gateway for proof before it believes this (P10).
                return ResolveRequested(OPERATOR, step, Verdict.NO_EFFECT)
            key = idempotency_key(saga.saga_id, step, Direction.FORWARD)
            provider = self.office.provider
            back = provider.give_back_by_hand if command is ChargePayment else provider.give_up_by_hand
            back(str(saga.subject_id), key)
            return ResolveRequested(OPERATOR, step, Verdict.SETTLED_OUTSIDE, "by hand")
        if command is ShipOrder and direction is Direction.FORWARD:
            return self._truth_about_parcel(saga, step)
        if command is CapturePayment and direction is Direction.FORWARD:
            return self._truth_about_capture(saga, step)
        return None

    def _truth_about_capture(self, saga: Saga, step: str) -> ResolveRequested:
        """What was not captured is paid in another way; the participant asks for proof first (P10)."""
        provider = self.office.provider
        key = idempotency_key(saga.saga_id, step, Direction.FORWARD)
        found = provider.charges.by_key.get(key)
        if found is not None and found.status == "succeeded":
            return ResolveRequested(OPERATOR, step, Verdict.TOOK_EFFECT, found.reference)
        if self.rng.random() < 0.5:
            provider.close_by_hand(provider.charges, key)
        return ResolveRequested(OPERATOR, step, Verdict.SETTLED_OUTSIDE, "by hand")

    def _truth_about_parcel(self, saga: Saga, step: str) -> ResolveRequested:
        provider = self.office.provider
        key = idempotency_key(saga.saga_id, step, Direction.FORWARD)
        found = provider.shipments.by_key.get(key)
        if found is not None and found.status == "shipped":
            return ResolveRequested(OPERATOR, step, Verdict.TOOK_EFFECT, found.reference)
        if self.rng.random() < 0.5:
            provider.close_by_hand(provider.shipments, key)
        return ResolveRequested(OPERATOR, step, Verdict.NO_EFFECT)

    async def _retry(self, saga: Saga, version: int | None) -> None:
        step = self.piece_to_retry(saga)
        await self._do(
            f"retry {step}" if step else "retry",
            saga,
            lambda desk: desk.front.operations.retry(saga.saga_id, OPERATOR, version, step),
        )

    def piece_to_retry(self, saga: Saga) -> str | None:
        """Which of the awaited pieces; None for all."""
        return None

    async def _do(self, action: str, saga: Saga, work: Callable[[Desk], Awaitable[Any]]) -> None:
        await self.act("operator", action, saga.saga_id, work)

    async def _handle(self, dead: DeadLetter) -> None:
        chance = self.rng.random()
        if chance < 0.6:
            await self.act("operator", "replay", dead.saga_id, partial(_replay, dead))
        elif chance < 0.8:
            await self.act("operator", "dry run", dead.saga_id, partial(_dry_run, dead))
        elif dead.saga_id is None:
            await self.act("operator", "discard", dead.saga_id, partial(_discard, dead))


def cancelling(saga_id: UUID, actor: Actor, version: int | None) -> Callable[[Desk], Awaitable[object]]:
    """Asks for a cancel."""
    return lambda desk: desk.front.operations.cancel(saga_id, actor, version)


async def _replay(dead: DeadLetter, desk: Desk) -> object:
    return await desk.front.dead_letters.replay(dead.dead_letter_id, OPERATOR, dead.version)


async def _dry_run(dead: DeadLetter, desk: Desk) -> object:
    return await desk.front.dead_letters.dry_run(dead.dead_letter_id)


async def _discard(dead: DeadLetter, desk: Desk) -> object:
    return await desk.front.dead_letters.discard(dead.dead_letter_id, OPERATOR)


def _is_open(dead: DeadLetter) -> bool:
    return dead.status in (DeadLetterStatus.OPEN, DeadLetterStatus.REPLAYING)


def _judged(saga: Saga, step: str) -> Direction:
    awaited = next((each for each in saga.awaited if each.step == step), None)
    return awaited.direction if awaited is not None else Direction.COMPENSATING
