"""Rules about messages and submissions: what leaves was committed, what is repeated is the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Final
from uuid import UUID

from contracts.commands import COMMANDS
from contracts.envelope import EVENT_ID, INSTALLATION
from contracts.events import OUTCOMES, StepRefused, StepSettled
from messaging.relay import LEASE_CAP_S, LEASE_S
from messaging.retries import parse_id
from messaging.transport import Message
from simulation.checkers.inspection import Checker, Objections, Reaction
from simulation.checkers.knowledge import Knowledge, added_messages
from simulation.facts import (
    Acknowledged,
    Blundered,
    Committed,
    Deadlocked,
    Decided,
    Delivered,
    HandedOut,
    Published,
    Submitted,
)
from simulation.storage.orchestrator import DEAD_LETTERS, HISTORY, SAGAS
from simulation.storage.participants import LEDGER
from simulation.storage.transaction import INSTALLATION as INSTALLED
from simulation.storage.transaction import OUTBOX
from simulation.strangers import ITS_WORDS


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
    """A participant commits an answer or a hop to every command, and acknowledges after that (S2, P2)."""

    rule = "every command is answered, then acknowledged (S2, P2)"

    def __init__(self, known: Knowledge) -> None:
        super().__init__(known)
        self._received_s: dict[tuple[str, str | None], float] = {}
        self._answered_s: dict[tuple[str, str], float] = {}

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
        return ()

    def _acknowledged(self, fact: Acknowledged) -> Objections:
        participant, _, command = fact.delivery.queue.partition(".")
        if command != "commands" or fact.delivery.type not in COMMANDS:
            return
        saga_id = str(parse_id(fact.delivery.correlation_id))
        answered_s = self._answered_s.get((participant, saga_id), -1.0)
        if answered_s < self._received_s[fact.who, fact.delivery.message_id]:
            yield saga_id, f"{fact.delivery.type} is acknowledged without an answer"


class SaysTheSameAgain(Checker):
    """An outcome is repeated byte by byte under one event id; the message id is a new one (P2, M1)."""

    rule = "the same outcome again (P2)"

    def __init__(self, known: Knowledge) -> None:
        super().__init__(known)
        self._said: dict[tuple[UUID | None, str], tuple[object, bytes]] = {}

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Committed: self._committed}

    def _committed(self, fact: Committed) -> Objections:
        for message in added_messages(fact):
            if message.type not in OUTCOMES or EVENT_ID not in message.headers or _is_foreign(message):
                continue
            if message.type in (StepSettled.__name__, StepRefused.__name__):
                continue
            said = (message.headers[EVENT_ID], message.body)
            before = self._said.setdefault((message.correlation_id, message.type), said)
            if before != said and str(message.correlation_id) not in self.known.lied_to:
                yield str(message.correlation_id), f"{message.type} is told in two ways"


class OneOrderForAKey(Checker):
    """Same key and same order: the same order; another order: refused; never two sagas (S14)."""

    rule = "one order for a key (S14)"

    def __init__(self, known: Knowledge) -> None:
        super().__init__(known)
        self._told: dict[tuple[str, str | None], tuple[UUID, bytes]] = {}
        self._submissions: Counter[str] = Counter()

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Submitted: self._submitted, Committed: self._committed}

    def _submitted(self, fact: Submitted) -> Objections:
        if fact.idempotency_key is None:
            return
        name = (fact.customer_id, fact.idempotency_key)
        if fact.order_id is None:
            known = self._told.get(name)
            if known is not None and known[1] == fact.fingerprint:
                yield str(known[0]), "the same order again was refused"
            return
        order_id, fingerprint = self._told.setdefault(name, (fact.order_id, fact.fingerprint))
        if (order_id, fingerprint) != (fact.order_id, fact.fingerprint):
            yield str(fact.order_id), f"key {name} stands for {order_id} as well"

    def _committed(self, fact: Committed) -> Objections:
        for change in fact.of(SAGAS):
            if change.before is None:
                who = change.after.order.shipping_address.name
                self._submissions[who] += 1
                if self._submissions[who] > 1:
                    yield str(change.after.saga_id), f"the order of {who} has a second saga"


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
            lease_s = min(LEASE_S * 2 ** min(before.attempts, 10), LEASE_CAP_S)
            claimed_at = after.claimed_until - timedelta(seconds=lease_s)
            if after.attempts != before.attempts and claimed_at < before.claimed_until:
                left_s = (before.claimed_until - claimed_at).total_seconds()
                yield str(after.message.correlation_id), f"claimed while it is leased for {left_s:g} s more"


class PeopleAreToldProperly(Checker):
    """Whoever calls gets what was promised: an answer, a refusal with its reason, or "come back" (S17)."""

    rule = "people are told properly (S17)"

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Blundered: self._blundered}

    def _blundered(self, fact: Blundered) -> Objections:
        yield "somebody", f"they are shown {fact.error}"


class StrangersAreRefused(Checker):
    """What another installation sends has no effect and moves no saga (M4)."""

    rule = "another installation is refused (M4)"

    def __init__(self, known: Knowledge) -> None:
        super().__init__(known)
        self._its_sagas: set[UUID | None] = set()

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {HandedOut: self._handed_out, Committed: self._committed}

    def _handed_out(self, fact: HandedOut) -> Objections:
        """A command is for a saga of its own, unless it is a dead letter."""
        message = fact.message
        if _is_foreign(message) and message.type in COMMANDS and fact.queue.endswith(".commands"):
            self._its_sagas.add(message.correlation_id)
        return ()

    def _committed(self, fact: Committed) -> Objections:
        for change in fact.of(LEDGER):
            if change.after is not None and change.after.saga_id in self._its_sagas:
                yield str(change.after.saga_id), f"{change.after.command} is done for another installation"
        for change in fact.of(HISTORY):
            if change.after is not None and ITS_WORDS in str(change.after.accepted):
                yield str(change.after.saga_id), "its saga believes another installation"


def _is_foreign(message: Message) -> bool:
    return message.headers.get(INSTALLATION) not in (None, str(INSTALLED))


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
    FailsOnlyInKnownWays,
    SentFromTheOutbox,
    AnswersBeforeAcknowledging,
    SaysTheSameAgain,
    OneOrderForAKey,
    StrangersAreRefused,
)
