"""A small participant with a fault that can be chosen: right without one, wrong on purpose with any."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final
from uuid import UUID

from contracts.envelope import EVENT_ID, SCHEMA_VERSION_HEADER, TRACEPARENT
from contracts.failures import PERMANENT
from contracts.routing import COMMANDS_EXCHANGE, EVENTS_EXCHANGE, command_queue
from messaging.errors import PermanentFailure
from messaging.identifiers import NewId
from messaging.retries import RetryPolicy, after_failure, parse_id
from messaging.topology import participant_topology
from messaging.transport import Delivery, Message, Receipt, Subscription, Transport

NAME: Final = "loyalty"
RETRIES: Final = RetryPolicy((1,), 2)
NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)
KEYS: Final = {
    "AccountOpened": "loyalty.opened",
    "NotEligible": "loyalty.refused",
    "AccountClosed": "loyalty.closed",
    "StepRefused": "step.refused",
}
FIELDS: Final = {
    "OpenAccount": {"saga_id", "order_id", "step", "direction", "customer_id"},
    "CloseAccount": {"saga_id", "order_id", "step", "direction"},
}
DIRECTIONS: Final = {"OpenAccount": "forward", "CloseAccount": "compensating"}
WORK_S: Final = 0.001
"""What one command takes."""


class Fault(Enum):
    """What is done wrong."""

    NEVER_ANSWERS = "takes commands and never answers"
    FAILS_THE_FIRST = "gives up the first command"
    ANSWERS_TWICE = "answers a command twice, with two event-ids"
    NEW_EVENT_ID = "makes a new event-id for a repeat"
    OTHER_BODY_AGAIN = "says something else to a repeat"
    SILENT_ON_REPEAT = "ignores a repeat"
    REPEAT_IS_AN_ERROR = "gives up a repeat"
    ONE_MESSAGE_ID = "sends an answer again under the same message id"
    TAKES_OTHER_PAYLOAD = "answers another payload as if it were the same"
    DOES_OTHER_PAYLOAD = "does another payload, too"
    MISMATCH_IS_TRANSIENT = "gives up another payload without saying that it is permanent"
    COMPARES_BYTES = "takes the same command in other words for another payload"
    ONE_EFFECT_A_SAGA = "forgets the step in its ledger's key"
    ONE_EFFECT_A_STEP = "takes a branch's number off its step"
    BRANCHES_ARE_POISON = "takes a branch's step for a name that cannot be"
    ONE_UNDO_FOR_ALL_BRANCHES = "undoes every branch of a step at once"
    ONE_EVENT_ID = "uses one event-id for everything"
    REJECTION_IS_AN_ERROR = "gives up what it should reject"
    REJECTION_WITHOUT_CODE = "rejects without a code"
    REJECTS_ONCE = "accepts a rejected command when it comes again"
    UNDOES_A_REJECTION = "says that it has undone what it had rejected"
    REJECTION_LEAVES_NO_TOMBSTONE = "does a rejected command after its compensation"
    UNDOES_TWICE = "undoes again when the compensation comes again"
    NOTHING_UNDONE = "says that there was nothing to undo where there was"
    SILENT_COMPENSATION = "ignores a repeated compensation"
    UNDOES_NOTHING = "says that it has undone what was never done"
    NO_TOMBSTONE = "does a command that comes after its compensation"
    LATE_COMMAND_AGAIN = "answers a command after its compensation with its old success"
    LATE_COMMAND_DONE = "does a command again after its compensation"
    LATE_COMMAND_SILENT = "ignores a command after its compensation"
    RACE = "writes its tombstones at the end of a batch, when a command beside them has taken effect"
    NO_CORRELATION = "sends no correlation id"
    WRONG_CORRELATION = "correlates with something else"
    NO_EVENT_ID = "sends no event-id"
    NO_TRACE = "drops the trace"
    NEW_TRACE = "begins a trace of its own"
    WRONG_KEY = "sends to another routing key"
    WRONG_VERSION = "sends another schema version"
    WRONG_DIRECTION = "names the wrong direction in its answers"
    WRONG_STEP = "names the wrong step in its answers"
    NO_ORDER = "leaves the order out of its answers"
    DROPS_POISON = "acknowledges what it cannot understand"
    LOOPS_POISON = "puts back what it cannot understand"
    STOPS_AT_POISON = "ends at what it cannot understand"
    POISON_WITHOUT_REASON = "moves what it cannot understand without saying why"
    POISON_CHANGED = "changes what it cannot understand on its way to the dead letters"
    ANY_VERSION = "does a command of a version that it does not know"
    ANY_DIRECTION = "does a command of the wrong direction"
    REFUSES_NEW_FIELDS = "refuses fields that it does not know"
    DROPS_LARGE = "acknowledges large commands without an answer"
    EARLY_ACKNOWLEDGEMENT = "acknowledges before it answers"
    FORGETS = "keeps its ledger in memory"
    LOSES_SOME = "loses a command now and then when there are many"
    UNBOUNDED_PREFETCH = "takes everything that there is"
    NO_MARK = "ignores the low-water mark"
    MARK_GOES_BACK = "lets the low-water mark go back"
    MARK_IS_POISON = "gives up the low-water mark"


@dataclass(slots=True)
class Row:
    """One piece of work."""

    payload: Any
    answer: Answer | None = None
    closed: Answer | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A stored answer."""

    type: str
    body: dict[str, Any]
    event_id: UUID


@dataclass(slots=True)
class Books:
    """What outlives the process."""

    rows: dict[tuple[str, str], Row] = field(default_factory=dict)
    mark: str = ""


class Loyalty:
    """The participant."""

    def __init__(self, transport: Transport, new_id: NewId, fault: Fault | None, prefetch: int) -> None:
        self._transport = transport
        self._new_id = new_id
        self._fault = fault
        self._prefetch = 1_000_000 if fault is Fault.UNBOUNDED_PREFETCH else prefetch
        self._books = Books()
        self._publisher = transport.publisher()
        self._subscription: Subscription | None = None
        self._task: asyncio.Task[None] | None = None
        self._served = 0
        self._one_id = new_id()
        self._tombstones: list[tuple[tuple[str, str], Answer]] = []
        """Not written yet."""

    async def start(self) -> None:
        """Declare, and serve."""
        await self._transport.declare(participant_topology(NAME, RETRIES.delays_s))
        self._subscription = await self._transport.subscribe(command_queue(NAME), self._prefetch)
        self._task = asyncio.create_task(self._serve_all(self._subscription))

    async def crash(self) -> None:
        """End at once; what was not acknowledged goes back."""
        assert self._task is not None
        assert self._subscription is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._subscription.close()
        if self._fault is Fault.FORGETS:
            self._books = Books()

    async def restart(self) -> None:
        """Crash and start again."""
        await self.crash()
        await self.start()

    async def _serve_all(self, subscription: Subscription) -> None:
        early = self._fault is Fault.EARLY_ACKNOWLEDGEMENT
        while True:
            for delivery in (batch := await subscription.receive(10)):
                if early:
                    subscription.acknowledge(batch)
                await asyncio.sleep(20 * WORK_S if self._fault is Fault.LOOPS_POISON else WORK_S)
                self._served += 1
                try:
                    outgoing = self._served_one(delivery)
                except PermanentFailure as failure:
                    outgoing = self._given_up(delivery, failure)
                self._publisher.publish(outgoing, _whatever)
                if not early:
                    subscription.acknowledge([delivery])
            while self._tombstones:
                key, answer = self._tombstones.pop()
                self._books.rows.setdefault(key, Row(None)).closed = answer

    # -- what cannot be understood ------------------------------------------------------------------------

    def _given_up(self, delivery: Delivery, failure: PermanentFailure) -> Sequence[Message]:
        dead = after_failure(delivery, failure, RETRIES, self._new_id(), NOW, NAME)
        poison = failure.kind == "poison"
        match self._fault:
            case Fault.DROPS_POISON if poison:
                return []
            case Fault.LOOPS_POISON if poison:
                return [replace(dead, exchange=COMMANDS_EXCHANGE, routing_key=NAME)]
            case Fault.STOPS_AT_POISON if poison:
                raise failure
            case Fault.POISON_WITHOUT_REASON if poison:
                return [replace(dead, headers={})]
            case Fault.POISON_CHANGED if poison:
                return [replace(dead, body=dead.body[:5] + b"...")]
            case Fault.MISMATCH_IS_TRANSIENT if failure.kind == "mismatch":
                return [replace(dead, headers={**dead.headers, PERMANENT: False})]
        return [dead]

    def _decoded(self, delivery: Delivery) -> dict[str, Any]:
        version = delivery.headers.get(SCHEMA_VERSION_HEADER, 1)
        if version != 1 and self._fault is not Fault.ANY_VERSION:
            raise PermanentFailure("poison", f"version {version}")
        try:
            body = json.loads(delivery.body)
        except (ValueError, RecursionError) as error:
            raise PermanentFailure("poison", str(error) or "unreadable") from None
        known = FIELDS.get(delivery.type or "")
        if known is None or not isinstance(body, dict) or not known <= set(body):
            raise PermanentFailure("poison", "no command of ours")
        if self._fault is Fault.REFUSES_NEW_FIELDS and set(body) - known:
            raise PermanentFailure("poison", "unknown fields")
        if not isinstance(body["step"], str) or parse_id(body["saga_id"]) is None:
            raise PermanentFailure("poison", "no saga or step")
        if self._fault is Fault.BRANCHES_ARE_POISON and body["step"].endswith("]"):
            raise PermanentFailure("poison", "no name of a step")
        wrong = body["direction"] != DIRECTIONS[str(delivery.type)]
        if wrong and self._fault is not Fault.ANY_DIRECTION:
            raise PermanentFailure("poison", "wrong direction")
        return body

    # -- what is asked ------------------------------------------------------------------------------------

    def _served_one(self, delivery: Delivery) -> Sequence[Message]:
        if delivery.type == "AdvanceLowWaterMark":
            self._advance(json.loads(delivery.body)["mark"])
            return []
        body = self._decoded(delivery)
        if self._fault is Fault.NEVER_ANSWERS:
            return []
        if self._fault is Fault.DROPS_LARGE and len(delivery.body) > 500_000:
            return []
        if self._fault is Fault.LOSES_SOME and self._served % 97 == 0:
            return []
        key = (body["saga_id"], self._step_in_the_ledger(body["step"]))
        row = self._books.rows.get(key)
        if row is None and body["saga_id"] < self._books.mark:
            raise PermanentFailure("expired", "behind the mark")
        serve = self._open if delivery.type == "OpenAccount" else self._close
        return [self._message(answer, delivery) for answer in serve(key, row, body, delivery)]

    def _advance(self, mark: str) -> None:
        match self._fault:
            case Fault.MARK_IS_POISON:
                raise PermanentFailure("poison", "an instruction")
            case Fault.MARK_GOES_BACK:
                self._books.mark = mark
            case fault if fault is not Fault.NO_MARK:
                self._books.mark = max(self._books.mark, mark)

    def _open(
        self, key: tuple[str, str], row: Row | None, body: dict[str, Any], delivery: Delivery
    ) -> Sequence[Answer]:
        payload: Any = {name: body[name] for name in ("customer_id", "order_id")}
        if self._fault is Fault.COMPARES_BYTES:
            payload = delivery.body
        if row is None:
            if self._fault is Fault.FAILS_THE_FIRST:
                raise PermanentFailure("error", "not today")
            return self._first(key, body, payload)
        if row.closed is not None:
            return self._late(key, row, body, payload)
        assert row.answer is not None
        if payload != row.payload:
            if self._fault is Fault.DOES_OTHER_PAYLOAD:
                return self._first(key, body, payload)
            if self._fault is not Fault.TAKES_OTHER_PAYLOAD:
                raise PermanentFailure("mismatch", "another payload")
        return self._again(key, row.answer, body, payload)

    def _first(self, key: tuple[str, str], body: dict[str, Any], payload: Any) -> Sequence[Answer]:
        refused = body["customer_id"] == "nobody"
        if refused and self._fault is Fault.REJECTION_IS_AN_ERROR:
            raise PermanentFailure("error", "nobody")
        said: dict[str, Any] = {"code": "not_eligible"} if refused else {"account": key[0][:8]}
        if refused and self._fault is Fault.REJECTION_WITHOUT_CODE:
            said = {}
        answer = self._answer("NotEligible" if refused else "AccountOpened", body, said)
        self._books.rows[key] = Row(payload, answer)
        if self._fault is Fault.ANSWERS_TWICE:
            return [answer, replace(answer, event_id=self._new_id())]
        return [answer]

    def _again(
        self, key: tuple[str, str], answer: Answer, body: dict[str, Any], payload: Any
    ) -> Sequence[Answer]:
        match self._fault:
            case Fault.NEW_EVENT_ID:
                return [replace(answer, event_id=self._new_id())]
            case Fault.OTHER_BODY_AGAIN:
                return [replace(answer, body={**answer.body, "account": "another"})]
            case Fault.SILENT_ON_REPEAT:
                return []
            case Fault.REPEAT_IS_AN_ERROR:
                raise PermanentFailure("error", "known already")
            case Fault.REJECTS_ONCE if answer.type == "NotEligible":
                return self._first(key, {**body, "customer_id": "somebody"}, payload)
        return [answer]

    def _late(self, key: tuple[str, str], row: Row, body: dict[str, Any], payload: Any) -> Sequence[Answer]:
        effect = row.closed.body["effect"] if row.closed is not None else None
        done = row.answer is not None and row.answer.type == "AccountOpened"
        match self._fault:
            case Fault.NO_TOMBSTONE if row.answer is None:
                return self._first(key, body, payload)
            case Fault.REJECTION_LEAVES_NO_TOMBSTONE if effect == "nothing" and row.answer is not None:
                return self._first(key, {**body, "customer_id": "somebody"}, payload)
            case Fault.LATE_COMMAND_AGAIN if row.answer is not None and done:
                return [row.answer]
            case Fault.LATE_COMMAND_DONE if done:
                return self._first(key, body, payload)
            case Fault.LATE_COMMAND_SILENT:
                return []
        return [self._answer("StepRefused", body, {"reason": "closed"})]

    def _close(
        self, key: tuple[str, str], row: Row | None, body: dict[str, Any], delivery: Delivery
    ) -> Sequence[Answer]:
        if row is not None and row.closed is not None:
            if self._fault is Fault.UNDOES_TWICE:
                return [replace(row.closed, event_id=self._new_id())]
            return [] if self._fault is Fault.SILENT_COMPENSATION else [row.closed]
        done = row is not None and row.answer is not None and row.answer.type == "AccountOpened"
        undone = done and self._fault is not Fault.NOTHING_UNDONE
        undone |= row is None and self._fault is Fault.UNDOES_NOTHING
        undone |= row is not None and not done and self._fault is Fault.UNDOES_A_REJECTION
        answer = self._answer("AccountClosed", body, {"effect": "undone" if undone else "nothing"})
        if row is None and self._fault is Fault.RACE:
            self._tombstones.append((key, answer))
        else:
            self._books.rows.setdefault(key, Row(None)).closed = answer
        if self._fault is Fault.ONE_UNDO_FOR_ALL_BRANCHES and key[1].endswith("]"):
            for (saga_id, step), other in self._books.rows.items():
                if saga_id == key[0] and step != key[1]:
                    other.closed = self._answer("AccountClosed", {**body, "step": step}, {"effect": "undone"})
        return [answer]

    def _step_in_the_ledger(self, step: str) -> str:
        match self._fault:
            case Fault.ONE_EFFECT_A_SAGA:
                return ""
            case Fault.ONE_EFFECT_A_STEP:
                return step.partition("[")[0]
            case _:
                return step

    # -- what leaves --------------------------------------------------------------------------------------

    def _answer(self, kind: str, body: dict[str, Any], said: dict[str, Any]) -> Answer:
        identity = {name: body[name] for name in ("saga_id", "order_id", "step", "direction")}
        match self._fault:
            case Fault.WRONG_DIRECTION:
                identity["direction"] = {"forward": "compensating"}.get(body["direction"], "forward")
            case Fault.WRONG_STEP:
                identity["step"] = f"{body['step']}_x"
            case Fault.NO_ORDER:
                del identity["order_id"]
        event_id = self._one_id if self._fault is Fault.ONE_EVENT_ID else self._new_id()
        return Answer(kind, {**identity, **said}, event_id)

    def _message(self, answer: Answer, delivery: Delivery) -> Message:
        correlation: UUID | None = UUID(answer.body["saga_id"])
        trace = delivery.headers.get(TRACEPARENT)
        headers = {EVENT_ID: str(answer.event_id), SCHEMA_VERSION_HEADER: 1, TRACEPARENT: trace}
        key = KEYS[answer.type]
        match self._fault:
            case Fault.NO_CORRELATION:
                correlation = None
            case Fault.WRONG_CORRELATION:
                correlation = self._one_id
            case Fault.NO_EVENT_ID:
                del headers[EVENT_ID]
            case Fault.NO_TRACE:
                del headers[TRACEPARENT]
            case Fault.NEW_TRACE:
                headers[TRACEPARENT] = f"00-{self._new_id().hex}-{'1' * 16}-01"
            case Fault.WRONG_VERSION:
                headers[SCHEMA_VERSION_HEADER] = 7
            case Fault.WRONG_KEY:
                key = "loyalty.news"
        one = self._fault is Fault.ONE_MESSAGE_ID
        return Message(
            message_id=answer.event_id if one else self._new_id(),
            type=answer.type,
            exchange=EVENTS_EXCHANGE,
            routing_key=key,
            body=json.dumps(answer.body).encode(),
            correlation_id=correlation,
            app_id=NAME,
            timestamp=NOW,
            mandatory=True,
            headers={name: value for name, value in headers.items() if value is not None},
        )


def _whatever(_: UUID, __: Receipt) -> None:
    """The test broker takes everything."""
