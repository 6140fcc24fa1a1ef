"""Rules about messages and submissions: what leaves was committed, what is repeated is the same."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final
from uuid import UUID

from contracts.envelope import ATTEMPT, EVENT_ID
from contracts.events import StepRefused, StepSettled
from contracts.failures import (
    ERROR_TYPE,
    FIRST_FAILURE_AT,
    LAST_FAILURE_AT,
    ORIGINAL_MESSAGE_ID,
    ORIGINAL_QUEUE,
    PERMANENT,
)
from contracts.routing import command_queue, dead_letter_queue
from messaging.relay import LEASE_S
from messaging.retries import parse_id
from messaging.transport import Message
from orchestrator.core.inputs import CancelRequested, ResolveRequested, RetryRequested, SignalReceived
from orchestrator.dead_letters.collector import COMMAND
from orchestrator.storage import DeadLetterStatus
from simulation.checkers.inspection import Checker, Objections, Reaction
from simulation.checkers.knowledge import Knowledge, added_messages
from simulation.checkers.strangers import is_foreign
from simulation.facts import (
    Acknowledged,
    Aged,
    Blundered,
    Committed,
    Deadlocked,
    Decided,
    Delivered,
    Fact,
    Published,
    Refused,
    Struck,
)
from simulation.storage.orchestrator import AUDIT, DEAD_LETTERS, HISTORY
from simulation.storage.transaction import OUTBOX
from simulation.weather import Fault

AGAIN_WITHIN_S: Final = 28.0
"""A row's pause, two tries at its queue and the paces of those who look, in seconds; less than a lease."""

AFTERMATH_S: Final = 120.0
"""Seconds for which whatever else went wrong may still delay a message."""


class SentFromTheOutbox(Checker):
    """Only what was committed leaves, and what a transition sends commits with it (S2, M1)."""

    rule = "state and messages commit together (S2, M1)"

    def __init__(self, known: Knowledge) -> None:
        super().__init__(known)
        self._committed_ids: set[UUID] = set()

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Committed: self._committed, Published: self._published}

    def _committed(self, fact: Committed) -> Objections:
        added = {message.message_id for message in added_messages(fact)}
        self._committed_ids |= added
        sent_ids = {str(message_id) for message_id in added}
        for change in fact.of(HISTORY):
            for sent in change.after.led_to["sent"]:
                if sent["message_id"] not in sent_ids:
                    yield str(change.after.saga_id), f"{sent['type']} is not in the outbox with its cause"

    def _published(self, fact: Published) -> Objections:
        message = fact.message
        if message.message_id not in self._committed_ids:
            yield str(message.correlation_id), f"{message.type} leaves without having been committed"


class AnswersBeforeAcknowledging(Checker):
    """A participant commits an answer or a hop to every command, and acknowledges after that (S2, P2).

    A hop that has not left yet stands for copies of its command, too, that came after it was committed: they
    are served with the one whose run was not told of its commit (S17).
    """

    rule = "every command is answered, then acknowledged (S2, P2)"

    def __init__(self, known: Knowledge) -> None:
        super().__init__(known)
        self._received_s: dict[tuple[str, str | None], float] = {}
        self._answered_s: dict[tuple[str, str], float] = {}
        self._leaving: dict[UUID, tuple[str, str]] = {}
        """Queue and saga of every hop that stands in an outbox, by its message."""

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {
            Delivered: self._delivered,
            Committed: self._committed,
            Acknowledged: self._acknowledged,
        }

    def _delivered(self, fact: Delivered) -> Objections:
        self._received_s[fact.who, fact.delivery.message_id] = self.known.at_s
        return ()

    def _committed(self, fact: Committed) -> Objections:
        for message in added_messages(fact):
            self._answered_s[fact.service, str(message.correlation_id)] = self.known.at_s
            if message.routing_key.startswith(command_queue(fact.service)):
                whose = command_queue(fact.service), str(message.correlation_id)
                self._leaving[message.message_id] = whose
        for change in fact.of(OUTBOX):
            if change.after is None:
                self._leaving.pop(change.key, None)
        return ()

    def _acknowledged(self, fact: Acknowledged) -> Objections:
        participant, _, command = fact.delivery.queue.partition(".")
        if command != "commands" or fact.delivery.type not in self.known.cast.registry.commands:
            return
        saga_id = str(parse_id(fact.delivery.correlation_id))
        answered_s = self._answered_s.get((participant, saga_id), -1.0)
        is_leaving = (fact.delivery.queue, saga_id) in self._leaving.values()
        if answered_s < self._received_s[fact.who, fact.delivery.message_id] and not is_leaving:
            yield saga_id, f"{fact.delivery.type} is acknowledged without an answer"


class SaysTheSameAgain(Checker):
    """An outcome is repeated byte by byte under one event id; the message id is a new one (P2, M1)."""

    rule = "the same outcome again (P2)"

    def __init__(self, known: Knowledge) -> None:
        super().__init__(known)
        self._said: dict[tuple[object, str], tuple[object, bytes]] = {}

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Committed: self._committed}

    def _committed(self, fact: Committed) -> Objections:
        for message in added_messages(fact):
            if EVENT_ID not in message.headers or is_foreign(message):
                continue
            if message.type not in self.known.cast.registry.events:
                continue
            if message.type in (StepSettled.__name__, StepRefused.__name__):
                continue
            work = self.known.work_of(message) or message.correlation_id
            said = (message.headers[EVENT_ID], message.body)
            before = self._said.setdefault((work, message.type), said)
            if before != said and str(message.correlation_id) not in self.known.lied_to:
                yield str(message.correlation_id), f"{message.type} is told in two ways"


class AttemptsAreFailures(Checker):
    """A message's attempt goes up by one when its handling has failed, and never otherwise (P9).

    There may be copies of a message, each with failures of its own: one of them has failed before, at another
    time.
    """

    rule = "only failures use attempts up (P9)"

    def __init__(self, known: Knowledge) -> None:
        super().__init__(known)
        self._hopped: dict[tuple[object, object], set[tuple[int, object]]] = {}

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Committed: self._committed}

    def _committed(self, fact: Committed) -> Objections:
        for message in added_messages(fact):
            if ORIGINAL_MESSAGE_ID not in message.headers:
                continue
            chain = (message.headers[ORIGINAL_QUEUE], message.headers[ORIGINAL_MESSAGE_ID])
            attempt, failed_at = message.headers[ATTEMPT], message.headers.get(LAST_FAILURE_AT)
            hopped = self._hopped.setdefault(chain, {(1, None)})
            hopped.add((attempt, failed_at))
            if attempt > 1 and not any(
                (tried, failed_at != at) == (attempt - 1, True) for tried, at in hopped
            ):
                yield str(message.correlation_id), f"{message.type} uses an attempt up without having failed"


class DeadLettersTellTheirStory(Checker):
    """What a service gives up says why, after how many attempts, and where it came from (D1)."""

    rule = "a dead letter tells its story (D1)"

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Committed: self._committed}

    def _committed(self, fact: Committed) -> Objections:
        for message in added_messages(fact):
            queue = message.headers.get(ORIGINAL_QUEUE)
            if queue is None or message.routing_key != dead_letter_queue(str(queue)):
                continue
            missing = [name for name in _STORY if message.headers.get(name) in (None, "")]
            if missing:
                yield str(message.correlation_id), f"{message.type} died without {', '.join(missing)}"


_STORY: Final = (ERROR_TYPE, PERMANENT, FIRST_FAILURE_AT, LAST_FAILURE_AT, ATTEMPT)


class ActionsAreWrittenDown(Checker):
    """What a person did to a saga stands in the audit log, by the same commit (D6)."""

    rule = "actions stand in the audit log (D6)"

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Committed: self._committed}

    def _committed(self, fact: Committed) -> Objections:
        asked = [change.after for change in fact.of(HISTORY) if isinstance(change.after.accepted, PEOPLES)]
        written = {(change.after.actor, change.after.reason) for change in fact.of(AUDIT)}
        for entry in asked:
            actor = entry.accepted.actor
            if (actor.name, actor.reason) not in written:
                yield str(entry.saga_id), f"what {actor.name} did stands in no audit log"


class ReplayIsTheSagasRetry(Checker):
    """A dead command is replayed by asking its saga, in the same commit (D4)."""

    rule = "the replay of a command is its saga's retry (D4)"

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Committed: self._committed}

    def _committed(self, fact: Committed) -> Objections:
        retried = {
            change.after.saga_id
            for change in fact.of(HISTORY)
            if isinstance(change.after.accepted, RetryRequested)
        }
        for change in fact.of(DEAD_LETTERS):
            dead, before = change.after.dead, change.before
            begun = dead.status is DeadLetterStatus.REPLAYING and before.dead.status is not dead.status
            if begun and dead.kind == COMMAND and dead.saga_id not in retried:
                yield str(dead.saga_id), f"{dead.type} is replayed past its saga"


class FailsOnlyInKnownWays(Checker):
    """What makes a message fail is garbage, a permanent failure or a provider; all else is a bug (P8)."""

    rule = "messages fail in known ways only (P8)"

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Decided: self._decided, Committed: self._committed}

    def _decided(self, fact: Decided) -> Objections:
        if fact.rule in FAILURES and fact.what not in KNOWN_FAILURES:
            yield str(fact.saga_id), f"a message fails with {fact.what}"

    def _committed(self, fact: Committed) -> Objections:
        for change in fact.of(DEAD_LETTERS):
            if change.after.dead.error_type == "uncollectable":
                yield str(change.key), f"a dead letter {change.after.dead.error_message}"


class LocksAreTakenInOrder(Checker):
    """Locks are taken in one order everywhere, so nobody ever waits in a circle (S18)."""

    rule = "locks in order (S18)"

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Deadlocked: self._deadlocked}

    def _deadlocked(self, fact: Deadlocked) -> Objections:
        yield fact.service, "transactions have waited for each other in a circle"


class LeasesAreKept(Checker):
    """A row of the outbox is claimed only when nobody else's lease on it runs (M2)."""

    rule = "an outbox row is one process's at a time (M2)"

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Committed: self._committed}

    def _committed(self, fact: Committed) -> Objections:
        for change in fact.of(OUTBOX):
            if change.before is None or change.after is None:
                continue
            before, after = change.before, change.after
            claimed_at = after.claimed_until - timedelta(seconds=LEASE_S)
            if after.attempts != before.attempts and claimed_at < before.claimed_until:
                left_s = (before.claimed_until - claimed_at).total_seconds()
                yield str(after.message.correlation_id), f"claimed while it is leased for {left_s:g} s more"


class RefusedGoesAgainSoon(Checker):
    """What a full queue refused is published again within seconds of its last refusal (M2).

    Told where nothing else has gone wrong for long: a process or a database that is away delays it rightly.
    """

    rule = "what was refused goes again soon (M2)"

    def __init__(self, known: Knowledge) -> None:
        super().__init__(known)
        self._waiting: dict[UUID, Message] = {}
        self._refused_s: dict[tuple[str, str], float] = {}
        self._quiet_from_s = 0.0

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {
            Refused: self._refused,
            Published: self._published,
            Struck: self._struck,
            Aged: self._aged,
            Committed: self._looked,
        }

    def _refused(self, fact: Refused) -> Objections:
        self._waiting[fact.message.message_id] = fact.message
        self._refused_s[fact.message.exchange, fact.message.routing_key] = self.known.at_s
        return ()

    def _published(self, fact: Published) -> Objections:
        yield from self._looked(fact)
        self._waiting.pop(fact.message.message_id, None)

    def _struck(self, fact: Struck) -> Objections:
        if fact.fault is not Fault.MESSAGE_REFUSED:
            self._quiet_from_s = self.known.at_s + AFTERMATH_S
        return ()

    def _aged(self, _: Aged) -> Objections:
        self._waiting.clear()
        return ()

    def _looked(self, _: Fact) -> Objections:
        for message in list(self._waiting.values()):
            since_s = max(self._quiet_from_s, self._refused_s[message.exchange, message.routing_key])
            if self.known.at_s > since_s + AGAIN_WITHIN_S:
                del self._waiting[message.message_id]
                yield str(message.correlation_id), f"{message.type} waits although its queue is free again"


class PeopleAreToldProperly(Checker):
    """Whoever calls gets what was promised: an answer, a refusal with its reason, or "come back" (S17)."""

    rule = "people are told properly (S17)"

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Blundered: self._blundered}

    def _blundered(self, fact: Blundered) -> Objections:
        yield "somebody", f"they are shown {fact.error}"


PEOPLES: Final = (CancelRequested, RetryRequested, ResolveRequested, SignalReceived)
FAILURES: Final = ("P8 retry hop", "D1 dead letter")
KNOWN_FAILURES: Final = frozenset(
    {
        "Poison",
        "PermanentFailure",
        "TransientFailure",
        "ProviderUnavailable",
        "CallUnderWay",
        "ConnectionLost",
        "ForeignMessage",
    }
)

ALL = (
    PeopleAreToldProperly,
    LocksAreTakenInOrder,
    LeasesAreKept,
    RefusedGoesAgainSoon,
    FailsOnlyInKnownWays,
    AttemptsAreFailures,
    DeadLettersTellTheirStory,
    ActionsAreWrittenDown,
    ReplayIsTheSagasRetry,
    SentFromTheOutbox,
    AnswersBeforeAcknowledging,
    SaysTheSameAgain,
)
