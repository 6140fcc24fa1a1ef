"""One piece of work in one saga, as the orchestrator would have it done; what is not so is `Broken`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from contracts.envelope import ATTEMPT, SCHEMA_VERSION, SCHEMA_VERSION_HEADER, TRACEPARENT, Direction
from contracts.events import Effect, StepRefused
from contracts.routing import COMMANDS_EXCHANGE
from messaging.transport import Delivery, Message
from oms.conformance.envelope import described, described_dead, reason_flaws
from oms.conformance.repertoire import Example, Repertoire, filled
from oms.conformance.stand_in import Event, StandIn, utc_now
from oms.conformance.verdict import Broken, Finding

APP_ID: Final = "oms-conformance"
_NOTHING: Final[Mapping[str, Any]] = {}
FORWARD: Final = Direction.FORWARD
COMPENSATING: Final = Direction.COMPENSATING


@dataclass(frozen=True, slots=True)
class Came:
    """What came of a message: an event, or a dead letter, or nothing."""

    event: Event | None = None
    dead: Delivery | None = None

    def __str__(self) -> str:
        if self.event is not None:
            return described(self.event)
        return "nothing" if self.dead is None else described_dead(self.dead)


class Case:
    """One piece of work: what is sent for it, and what has come."""

    def __init__(
        self,
        stand_in: StandIn,
        repertoire: Repertoire,
        example: Example,
        *,
        saga_id: UUID | None = None,
        order_id: UUID | None = None,
        step: str | None = None,
    ) -> None:
        """
        Args:
            saga_id: an existing saga's, with its ``order_id``; by default a new one.
            step: another name for the step than the example's.
        """
        self.example = example
        self.saga_id = saga_id or stand_in.new_id()
        self.order_id = order_id or stand_in.new_id()
        self.step = step or example.step
        self.traceparent = f"00-{self.saga_id.hex}-{stand_in.new_id().hex[-16:]}-01"
        self.siblings: set[str] = {each.step for each in repertoire.works} - {self.step}
        """Other steps of this saga, whose answers are not ours."""
        self._stand_in = stand_in
        self._repertoire = repertoire

    # -- what is sent -------------------------------------------------------------------------------------

    def command(
        self, body: Mapping[str, Any] | None = None, changes: Mapping[str, Any] = _NOTHING
    ) -> Message:
        """The forward command under a message id of its own.

        Args:
            body: its business fields; by default the example's.
            changes: fields that are other or more than these and the identities.
        """
        fields = self.example.body if body is None else body
        return self._message(self.example.command, FORWARD, fields, changes)

    def compensation(self) -> Message:
        """The command that undoes it, under a message id of its own."""
        compensation = self.example.compensation
        assert compensation is not None
        return self._message(compensation.command, COMPENSATING, compensation.body, _NOTHING)

    def identity(self, direction: Direction, **changes: str) -> dict[str, str]:
        """The fields that every body of this work has."""
        ids = {"saga_id": str(self.saga_id), "order_id": str(self.order_id)}
        return {**ids, "step": self.step, "direction": direction.value, **changes}

    def said(self, message: Message, what: str = "") -> str:
        """What was sent, in a person's words."""
        about = f" of saga {self.saga_id}, step {self.step}"
        return f"{message.type}{about}{', ' if what else ''}{what}"

    # -- what has come ------------------------------------------------------------------------------------

    def events(self, direction: Direction) -> list[Event]:
        """All answers of this work in one direction, as they came."""
        return [
            event
            for event in self._stand_in.events.get(self.saga_id, ())
            if event.body.get("step") not in self.siblings and self._direction(event) is direction
        ]

    def answered(self, direction: Direction) -> bool:
        """Whether there is an answer of this direction."""
        return bool(self.events(direction))

    async def ask(self, message: Message, direction: Direction, wanted: Callable[[Event], bool]) -> Came:
        """Send a command and wait for an answer that is wanted; else what came instead."""
        before = len(self.events(direction))
        await self._stand_in.send(message)

        def new() -> list[Event]:
            return self.events(direction)[before:]

        def fitting() -> Event | None:
            return next((event for event in new() if wanted(event)), None)

        def anything() -> bool:
            return bool(new()) or self._stand_in.dead_letter_of(message) is not None

        patience = self._stand_in.patience
        if await self._stand_in.until(anything, patience.answer_s) and fitting() is None:
            await self._stand_in.until(lambda: fitting() is not None, patience.grace_s)
        event = fitting() or next(iter(new()), None)
        return Came(event, None if event is not None else self._stand_in.dead_letter_of(message))

    # -- what must be so ----------------------------------------------------------------------------------

    async def prepare(self) -> None:
        """Have the work done that comes before this one in a saga. Raises Broken."""
        for example in self._repertoire.before(self.example):
            earlier = Case(
                self._stand_in, self._repertoire, example, saga_id=self.saga_id, order_id=self.order_id
            )
            await earlier.succeed()

    async def succeed(self) -> Event:
        """P1: the first command is done. Raises Broken."""
        await self.prepare()
        message = self.command()
        success = self.example.success.type
        came = await self.ask(message, FORWARD, lambda event: event.type == success)
        if came.event is None or came.event.type != success:
            needs = f" (it needs {self.example.needs})" if self.example.needs else ""
            raise Broken(Finding("P1", self.said(message), success + needs, str(came)))
        return came.event

    async def reject(self) -> Event:
        """P8: a business rejection is an answer. Raises Broken."""
        rejection = self.example.rejection
        assert rejection is not None
        await self.prepare()
        message = self.command(rejection.body)
        came = await self.ask(message, FORWARD, lambda event: event.type == rejection.type)
        if came.event is None or came.event.type != rejection.type:
            sent = self.said(message, "with the body that must be rejected")
            raise Broken(Finding("P8", sent, rejection.type, str(came)))
        return came.event

    async def compensate(self, effect: Effect, rule: str, what: str) -> Event:
        """P3, P4: a compensation is answered with what it found. Raises Broken."""
        assert self.example.compensation is not None
        message = self.compensation()
        answer = self.example.compensation.answer.type

        def wanted(event: Event) -> bool:
            return event.type == answer and event.body.get("effect") == effect

        came = await self.ask(message, COMPENSATING, wanted)
        if came.event is None or not wanted(came.event):
            expected = f"{answer} with effect: {effect}"
            raise Broken(Finding(rule, self.said(message, what), expected, str(came)))
        return came.event

    async def refuse(self, what: str) -> Event:
        """P5: a command after its compensation has no effect. Raises Broken."""
        message = self.command()
        came = await self.ask(message, FORWARD, lambda event: event.type == StepRefused.__name__)
        if came.event is None or came.event.type != StepRefused.__name__:
            raise Broken(Finding("P5", self.said(message, what), StepRefused.__name__, str(came)))
        return came.event

    async def again(self, first: Event, message: Message, what: str, rule: str = "P2") -> None:
        """The same command again gets the stored answer under a new message id (M1). Raises Broken.

        A message that left twice, as after a crash between publishing and noting that, is no such answer.
        """
        direction = self._direction(first)
        used = {event.delivery.message_id for event in self.events(direction)}

        def wanted(event: Event) -> bool:
            return difference(first, event) is None and event.delivery.message_id not in used

        came = await self.ask(message, direction, wanted)
        if came.event is not None and wanted(came.event):
            return
        expected = f"the stored answer under a new message id: {described(first)}"
        if came.event is not None and difference(first, came.event) is None:
            came_again = f"it, under the message_id {came.event.delivery.message_id} once more"
            raise Broken(Finding("M1", self.said(message, what), expected, came_again))
        raise Broken(Finding(rule, self.said(message, what), expected, str(came)))

    async def fail(self, message: Message, rule: str, what: str) -> None:
        """A command that must fail for good: one dead letter with its reason, no answer. Raises Broken."""
        direction = FORWARD if message.type == self.example.command else COMPENSATING
        before = len(self.events(direction))
        await self._stand_in.send(message)
        sent = self.said(message, what)

        def answers() -> list[Event]:
            return self.events(direction)[before:]

        def ended() -> bool:
            return bool(answers()) or self._stand_in.dead_letter_of(message) is not None

        await self._stand_in.until(ended, self._stand_in.patience.answer_s)
        dead = self._stand_in.dead_letter_of(message)
        if answers() or dead is None:
            came = Came(next(iter(answers()), None), dead)
            raise Broken(Finding(rule, sent, "a dead letter: a permanent failure, and no answer", str(came)))
        if found := list(reason_flaws(dead, message)):
            raise Broken(*(Finding("D1", sent, "a dead letter with its reason", each) for each in found))

    def _direction(self, event: Event) -> Direction:
        """By its type where that is known: what its body says of its direction is judged elsewhere."""
        compensation = self.example.compensation
        if compensation is not None and event.type == compensation.answer.type:
            return COMPENSATING
        if event.type in self.example.forward_types or event.type == StepRefused.__name__:
            return FORWARD
        return COMPENSATING if event.body.get("direction") == COMPENSATING else FORWARD

    def _message(
        self, kind: str, direction: Direction, fields: Mapping[str, Any], changes: Mapping[str, Any]
    ) -> Message:
        identity = self.identity(direction)
        body = {**filled(fields, identity), **identity, **changes}
        return Message(
            message_id=self._stand_in.new_id(),
            type=kind,
            exchange=COMMANDS_EXCHANGE,
            routing_key=self._stand_in.participant,
            body=json.dumps(body).encode(),
            correlation_id=self.saga_id,
            app_id=APP_ID,
            timestamp=utc_now(),
            mandatory=True,
            headers={ATTEMPT: 1, SCHEMA_VERSION_HEADER: SCHEMA_VERSION, TRACEPARENT: self.traceparent},
        )


class Owed:
    """Many cases of which an answer is owed. Looks at each arrival once, however often it is asked."""

    def __init__(self, stand_in: StandIn, cases: Sequence[Case], direction: Direction) -> None:
        self._stand_in = stand_in
        self._direction = direction
        self._open = {case.saga_id: case for case in cases}
        self._owed = len(self._open)
        self._looked_at = len(stand_in.arrivals)

    def answered(self) -> int:
        """How many are answered by now."""
        arrivals = self._stand_in.arrivals
        while self._looked_at < len(arrivals):
            case = self._open.get(arrivals[self._looked_at])
            self._looked_at += 1
            if case is not None and case.answered(self._direction):
                del self._open[case.saga_id]
        return self._owed - len(self._open)

    @property
    def missing(self) -> list[Case]:
        """Those that are not answered."""
        self.answered()
        return list(self._open.values())


def difference(first: Event, event: Event) -> str | None:
    """What makes an answer another one than the first; None where it is the same again (P2)."""
    if event.type != first.type:
        return f"its type is {event.type}, not {first.type}"
    if event.event_id != first.event_id:
        return f"its event-id is {event.event_id}, not {first.event_id}"
    return None if event.body == first.body else "its body differs from the first answer's"
