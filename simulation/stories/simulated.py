"""Tells a story in a simulated world: its people call the simulated API, and look at what was committed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol
from uuid import UUID

from contracts.commands import Verdict
from contracts.envelope import Direction
from contracts.events import EVENTS
from contracts.returns import Return, ReturnLine
from contracts.routing import INVENTORY, ORCHESTRATOR
from orchestrator.core.definition import SagaDefinition
from orchestrator.core.following import NotFollowed
from orchestrator.core.inputs import OutcomeReceived, ResolveRequested, SignalReceived
from orchestrator.core.state import IncidentKind, Saga
from orchestrator.intake import Accepted, KeyReused, ReferenceTaken, Submission, fingerprint
from orchestrator.intake import Answer as Taken
from orchestrator.operations import NotAllowed
from orchestrator.sagas.order_fulfillment import NAME as ORDERS
from orchestrator.sagas.order_return import NAME as RETURNS
from orchestrator.storage import DeadLetter, DeadLetterStatus, HistoryEntry
from participants.provider_terms import idempotency_key
from simulation.courses.people import APPROVER
from simulation.facts import Acted, NamedBefore, Signalled, Submitted
from simulation.people import CUSTOMER, NO_ANSWER, OPERATOR, REFUSALS, Desk, Office, Person, cancelling
from simulation.servers import DatabaseServer
from simulation.storage.orchestrator import HISTORY, SAGAS
from simulation.storage.participants import STOCK
from simulation.stories.hands import Answer, Look, NotAsTold
from simulation.stories.story import Ending, Story
from simulation.stories.telling import tell

LOOKS_EVERY_S: Final = 0.5
LONGER_THAN_ANY_WAIT_S: Final = 400.0
LONGEST_S: Final = 2500.0
"""Seconds of the world after which whatever a story waits for does not come any more."""


class Theatre(Office, Protocol):
    """What a teller can see and reach."""

    @property
    def servers(self) -> Mapping[str, DatabaseServer]:
        """Every service's database."""

    @property
    def told(self) -> dict[str, Ending | NotAsTold]:
        """What was found at the end of each story, or where it went another way."""


class Teller(Person):
    """Plays all people of one story."""

    def __init__(self, office: Theatre, rng: random.Random, story: Story) -> None:
        super().__init__(office, rng)
        self.theatre = office
        self.story = story

    async def live(self) -> None:
        """From the submission to what is found at the end."""
        try:
            self.theatre.told[self.story.name] = await tell(self.story, self)
        except NotAsTold as other:
            self.theatre.told[self.story.name] = other

    # -- what people do ---------------------------------------------------------------------------------

    async def count_stock(self, sku: str, on_hand: int, location: str | None) -> None:
        """See `Hands.count_stock`."""
        warehouse = self.theatre.servers[INVENTORY]
        await warehouse.count_stock(sku, lambda *_: on_hand)
        if location is not None:
            await warehouse.place_stock((sku, location), on_hand)

    async def submit(self, order: Mapping[str, Any], key: str) -> Answer:
        """See `Hands.submit`."""
        given = self._definition(ORDERS).input.model_validate(order)
        customer = str(order["customer_id"])
        answer = await self._start(
            lambda desk: Submission(ORDERS, given, customer, desk.new_id(), desk.new_id(), key)
        )
        if isinstance(answer, ReferenceTaken):
            self.office.tell(NamedBefore(customer, str(order["reference"]), answer.subject_id))
        elif isinstance(answer, Accepted | KeyReused):
            told = answer.subject_id if isinstance(answer, Accepted) else None
            self.office.tell(Submitted(customer, key, fingerprint(given), told))
        return _told(answer)

    async def send_back(self, order_id: UUID, quantities: Mapping[str, int], key: str) -> Answer:
        """See `Hands.send_back`."""
        lines = tuple(ReturnLine(sku=sku, quantity=quantity) for sku, quantity in quantities.items())
        asked = Return(order_id=order_id, lines=lines, reason="too small")

        def submission(desk: Desk) -> Submission:
            saga_id = desk.new_id()
            return Submission(
                RETURNS, asked, "customer", saga_id, saga_id, key, scope=f"{RETURNS}/{order_id}"
            )

        return _told(await self._start(submission))

    async def cancel(self, subject_id: UUID) -> str | None:
        """See `Hands.cancel`."""
        saga = self._saga(subject_id)
        return await self._do("customer", "cancel", saga, cancelling(saga.saga_id, CUSTOMER, None))

    async def signal(self, subject_id: UUID, wait: str, body: Mapping[str, Any]) -> str | None:
        """See `Hands.signal`."""
        saga = self._saga(subject_id)
        said = SignalReceived(actor=APPROVER, wait=wait, body=body)
        while True:
            try:
                done = await self.ask(lambda desk: desk.front.operations.signal(saga.saga_id, said))
            except NO_ANSWER:
                await self.pause()
                continue
            except NotAllowed as refusal:
                came: str = refusal.code
                refused: str | None = came
            else:
                came, refused = ("taken" if done.changed else "taken before"), None
            self.office.tell(Signalled(saga.saga_id, wait, body, came))
            return refused

    async def let_days_pass(self, subject_id: UUID) -> None:
        """See `Hands.let_days_pass`."""
        await asyncio.sleep(LONGER_THAN_ANY_WAIT_S)

    async def settle(self, subject_id: UUID, step: str, verdict: Verdict) -> str | None:
        """See `Hands.settle`."""
        saga = self._saga(subject_id)
        if verdict is not Verdict.TOOK_EFFECT:
            self._see_to(saga, step)
        said = ResolveRequested(OPERATOR, step, verdict, "by hand")
        return await self._do(
            "operator",
            f"resolve {step} as {verdict}",
            saga,
            lambda desk: desk.front.operations.resolve(saga.saga_id, said),
        )

    async def replay(self, subject_id: UUID) -> None:
        """See `Hands.replay`."""
        saga = self._saga(subject_id)
        letters = await self.office.dead_letters()
        own = [each for each in letters if each.saga_id == saga.saga_id]
        dead = next((each for each in own if each.status is DeadLetterStatus.OPEN), None)
        if dead is not None:
            await self._replay(saga, dead)

    async def retry(self, subject_id: UUID) -> str | None:
        """See `Hands.retry`."""
        saga = self._saga(subject_id)
        return await self._do(
            "operator",
            "retry",
            saga,
            lambda desk: desk.front.operations.retry(saga.saga_id, OPERATOR, None, None),
        )

    # -- what people see --------------------------------------------------------------------------------

    async def look(self, subject_id: UUID) -> Look:
        """See `Hands.look`."""
        saga = self._saga(subject_id)
        step = saga.awaited[0].step if saga.awaited else None
        kinds = {each.kind for each in saga.incidents}
        refused = IncidentKind.VERDICT_REFUSED in kinds
        return Look(saga.label, saga.has_ended, bool(kinds), refused, step)

    async def pause(self) -> None:
        """See `Hands.pause`. Raises NotAsTold once it has waited for longer than anything takes."""
        if asyncio.get_running_loop().time() > LONGEST_S:
            raise NotAsTold(f"nothing has come of it for {LONGEST_S:g} s")
        await asyncio.sleep(LOOKS_EVERY_S)

    async def failure(self, order_id: UUID) -> str | None:
        """See `Hands.failure`."""
        failure = self._saga(order_id).failure
        return None if failure is None else failure.code

    async def stock(self, sku: str) -> tuple[int, int]:
        """See `Hands.stock`."""
        level = self.theatre.servers[INVENTORY].rows.table(STOCK).get(sku)
        return (0, 0) if level is None else (level.on_hand, level.reserved)

    async def money(self, order_id: UUID) -> tuple[int, int, int]:
        """See `Hands.money`."""
        provider, name = self.office.provider, str(order_id)
        taken = [each for each in provider.charges.entries if each.order_id == name and not each.refused]
        back = [each for each in provider.refunds.entries if each.order_id == name]
        aside = [each for each in provider.authorizations.entries if each.order_id == name]
        return (
            sum(each.amount for each in taken),
            sum(each.amount for each in back),
            sum(each.left for each in aside if not each.expires),
        )

    async def parcels(self, order_id: UUID) -> Sequence[Mapping[str, int]]:
        """See `Hands.parcels`."""
        taken = [
            each
            for each in self.office.provider.shipments.entries
            if each.order_id == str(order_id) and not each.refused
        ]
        taken.sort(key=lambda each: each.key)
        return [{line["sku"]: line["quantity"] for line in each.lines} for each in taken]

    async def events(self, subject_id: UUID) -> Sequence[str]:
        """See `Hands.events`."""
        saga_id = self._saga(subject_id).saga_id
        rows = self.theatre.servers[ORCHESTRATOR].rows.table(HISTORY).values()
        entries = sorted((each for each in rows if each.saga_id == saga_id), key=lambda each: each.version)
        return [name for entry in entries for name in _events_of(entry)]

    async def orders_of(self, customer_id: str) -> int:
        """See `Hands.orders_of`."""
        sagas = await self.office.sagas()
        return sum(each.definition == ORDERS and each.input.customer_id == customer_id for each in sagas)

    # -- how --------------------------------------------------------------------------------------------

    async def _start(self, submission: Callable[[Desk], Submission]) -> Taken:
        while True:
            try:
                return await self.ask(lambda desk: desk.front.intake.submit(submission(desk)))
            except NO_ANSWER:
                await self.pause()

    async def _do(
        self, who: str, action: str, saga: Saga, work: Callable[[Desk], Awaitable[Any]]
    ) -> str | None:
        """Do it until there is an answer, and tell; returns the code of a refusal."""
        while True:
            try:
                done = await self.ask(work)
            except NO_ANSWER as error:
                self.office.tell(Acted(who, action, saga.saga_id, f"no answer: {error}"))
                await self.pause()
                continue
            except REFUSALS as refusal:
                self.office.tell(Acted(who, action, saga.saga_id, f"refused: {refusal}"))
                return getattr(refusal, "code", type(refusal).__name__)
            came = "done" if getattr(done, "changed", True) else "nothing new"
            self.office.tell(Acted(who, action, saga.saga_id, came))
            return None

    async def _replay(self, saga: Saga, dead: DeadLetter) -> None:
        name, version = dead.dead_letter_id, dead.version
        await self._do(
            "operator",
            "replay",
            saga,
            lambda desk: desk.front.dead_letters.replay(name, OPERATOR, version),
        )

    def _see_to(self, saga: Saga, step: str) -> None:
        """At the provider, so that what is said of the step is true and stays so."""
        provider, order_id = self.office.provider, str(saga.subject_id)
        key = idempotency_key(saga.saga_id, step, Direction.FORWARD)
        match step:
            case "charge":
                provider.give_back_by_hand(order_id, key)
            case "authorize":
                provider.give_up_by_hand(order_id, key)
            case "capture":
                provider.close_by_hand(provider.charges, key)
            case _:
                provider.close_by_hand(provider.shipments, key)

    def _saga(self, subject_id: UUID) -> Saga:
        rows = self.theatre.servers[ORCHESTRATOR].rows.table(SAGAS).values()
        found: Saga = next(each for each in rows if each.subject_id == subject_id)
        return found

    def _definition(self, name: str) -> SagaDefinition:
        return self.office.cast.registry.started_here[name]


def _told(answer: Taken) -> Answer:
    match answer:
        case Accepted(subject_id=subject_id):
            return Answer(subject_id)
        case KeyReused():
            return Answer(refused="idempotency_key_reused")
        case ReferenceTaken():
            return Answer(refused="reference_taken")
        case NotFollowed(code=code):
            return Answer(refused=code)


def _events_of(entry: HistoryEntry) -> Iterator[str]:
    """The answer that it accepted, then what the saga announced."""
    if isinstance(entry.accepted, OutcomeReceived):
        yield entry.accepted.event
    for sent in entry.led_to["sent"]:
        if sent["type"] in EVENTS:
            yield sent["type"]
