"""People of random courses: those who start sagas and say what they wait for, and an operator for pieces."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from contracts.commands import ChargePayment, ShipOrder, Verdict
from contracts.envelope import Direction
from contracts.routing import PARTICIPANTS
from orchestrator.core.definition import SagaDefinition
from orchestrator.core.following import NotFollowed
from orchestrator.core.inputs import Actor, ResolveRequested, SignalReceived
from orchestrator.core.state import Saga
from orchestrator.intake import Accepted, Answer, KeyReused, Submission, fingerprint
from orchestrator.operations import NotAllowed
from simulation.courses.intentions import SignalPlan, StartPlan
from simulation.facts import Asked, Signalled, Started
from simulation.people import (
    CUSTOMER,
    NO_ANSWER,
    OPERATOR,
    REFUSALS,
    Desk,
    Office,
    Operator,
    Person,
    cancelling,
)

APPROVER = Actor("approver", "it was their turn")


class Signaller(Person):
    """Says what sagas wait for."""

    async def signal(self, saga_id: UUID, plan: SignalPlan) -> None:
        """Say it in its time, and perhaps again."""
        await asyncio.sleep(plan.after_s)
        for _ in range(1 + plan.twice):
            await self._say(saga_id, plan)
            await asyncio.sleep(self.rng.random() * 2)

    async def _say(self, saga_id: UUID, plan: SignalPlan) -> None:
        """Say it until there is an answer."""
        said = SignalReceived(actor=APPROVER, wait=plan.wait, body=plan.body)
        while True:
            try:
                done = await self.ask(_signalling(saga_id, said))
            except NO_ANSWER:
                await asyncio.sleep(self.rng.uniform(0.1, 5.0))
                continue
            except NotAllowed as refusal:
                came = refusal.code
            except REFUSALS as refusal:
                came = type(refusal).__name__
            else:
                came = "taken" if done.changed else "taken before"
            self.office.tell(Signalled(saga_id, plan.wait, plan.body, came))
            return


class Starter(Signaller):
    """Does what one plan says: starts a saga, says what it waits for, and may take it back."""

    def __init__(self, office: Office, rng: random.Random, plan: StartPlan) -> None:
        super().__init__(office, rng)
        self.plan = plan

    async def live(self) -> None:
        """From the first submission to the last signal."""
        plan = self.plan
        await asyncio.sleep(plan.at_s)
        tries = [self.submit(plan.given)]
        if plan.submits_twice:
            tries.append(self._a_little_later())
        answer = (await asyncio.gather(*tries))[0]
        if not isinstance(answer, Accepted):
            return
        saga_id = await self._saga_of(answer.subject_id)
        self.office.owners[saga_id] = plan.owner
        signals = [self.signal(saga_id, each) for each in plan.signals]
        await asyncio.gather(self._cancel(saga_id), self._repeat(), self._reuse(), *signals)

    async def submit(self, given: BaseModel) -> Answer:
        """Submit until there is an answer."""
        plan = self.plan
        while True:
            try:
                answer = await self.ask(lambda desk: self._start(desk, given))
            except NO_ANSWER:
                await asyncio.sleep(self.rng.uniform(0.1, 5.0))
                continue
            told = None if isinstance(answer, KeyReused | NotFollowed) else answer.subject_id
            said = (plan.definition, plan.owner, plan.idempotency_key, fingerprint(given), told)
            self.office.tell(Started(*said))
            return answer

    async def _start(self, desk: Desk, given: BaseModel) -> Answer:
        plan = self.plan
        subject_id, saga_id = desk.new_id(), desk.new_id()
        self.office.tell(Asked(plan.definition, plan.owner, plan.idempotency_key, subject_id))
        scope = f"{plan.definition}/{plan.owner}"
        return await desk.front.intake.submit(
            Submission(
                plan.definition, given, plan.owner, subject_id, saga_id, plan.idempotency_key, scope=scope
            )
        )

    async def _saga_of(self, subject_id: UUID) -> UUID:
        return next(each.saga_id for each in await self.office.sagas() if each.subject_id == subject_id)

    async def _a_little_later(self) -> Answer:
        await asyncio.sleep(self.rng.random() * 0.5)
        return await self.submit(self.plan.given)

    async def _repeat(self) -> None:
        if self.plan.repeats_after_s is not None:
            await asyncio.sleep(self.plan.repeats_after_s)
            await self.submit(self.plan.given)

    async def _reuse(self) -> None:
        if self.plan.other is not None:
            await asyncio.sleep(self.rng.random() * 20)
            await self.submit(self.plan.other)

    async def _cancel(self, saga_id: UUID) -> None:
        if self.plan.cancels_after_s is None:
            return
        await asyncio.sleep(self.plan.cancels_after_s)
        for _ in range(self.rng.choice((1, 1, 2))):
            await self.act("caller", "cancel", saga_id, cancelling(saga_id, CUSTOMER, None))


def _signalling(saga_id: UUID, said: SignalReceived) -> Callable[[Desk], Awaitable[Any]]:
    return lambda desk: desk.front.operations.signal(saga_id, said)


class CourseOperator(Operator):
    """Acts on one piece of a saga at a time, whichever it is."""

    def piece_to_retry(self, saga: Saga) -> str | None:
        """One of those that are awaited, or all."""
        return self.rng.choice((None, *(each.step for each in saga.awaited)))

    async def put_right(self) -> None:
        """See `Operator.put_right`."""
        self.office.outside.repair()
        await super().put_right()

    def truth(self, saga: Saga, step: str, direction: Direction) -> ResolveRequested | None:
        """See `Operator.truth`: of stand-ins, whose ledgers know everything, any verdict may be tried."""
        definition = self._definition_of(saga)
        if step not in definition:
            return None
        work = definition[step]
        if work.participant in PARTICIPANTS and work.command in (ChargePayment, ShipOrder):
            return self.truth_about(work.command, saga, step, direction)
        return ResolveRequested(OPERATOR, step, self.rng.choice(list(Verdict)), "by hand")

    def _definition_of(self, saga: Saga) -> SagaDefinition:
        definition = self.office.cast.registry.find(saga.definition, saga.definition_version)
        assert definition is not None
        return definition
