"""What the orchestrator needs of its storage: a port with two forms, PostgreSQL (`postgresql`) and in memory.

Every method belongs to one open transaction. Locks are taken in the order of S18: idempotency keys
sorted, references sorted, sagas by id, dead letters by their work, the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

from messaging.transport import Message
from orchestrator.core.following import Follower
from orchestrator.core.inputs import Input
from orchestrator.core.state import Saga


@dataclass(frozen=True, slots=True)
class Locked:
    """Sagas whose rows are locked, and the time read after that (S11)."""

    now: datetime
    sagas: Mapping[UUID, Saga]
    unreadable: Mapping[UUID, str] = field(default_factory=dict)
    """Those that are locked and cannot be read, each with the reason (S25)."""


@dataclass(frozen=True, slots=True)
class SagaChange:
    """A saga to be written over the version that was locked; the guard behind the row lock."""

    saga: Saga
    previous_version: int


@dataclass(frozen=True, slots=True)
class NewSaga:
    """A saga that was just started, and who started it: a customer, or a caller of the API (S14, S24)."""

    saga: Saga
    owner: str


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One accepted input of one saga, and where it led (S15)."""

    saga_id: UUID
    version: int
    at: datetime
    accepted: Input
    led_to: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class KeyClaim:
    """A customer's idempotency key for the order that it is to stand for (S14)."""

    customer_id: str
    key: str
    fingerprint: bytes
    order_id: UUID


@dataclass(frozen=True, slots=True, order=True)
class ReferenceClaim:
    """What an owner calls a saga of a definition; no second one may have the name (S26)."""

    definition: str
    owner: str
    reference: str
    saga_id: UUID
    subject_id: UUID

    @property
    def name(self) -> tuple[str, str, str]:
        """What is claimed."""
        return self.definition, self.owner, self.reference


@dataclass(frozen=True, slots=True)
class Followers:
    """The sagas of one definition that follow one saga and have not been undone (S28).

    Attributes:
        unreadable: how many more there are that cannot be read (S25).
    """

    sagas: tuple[Follower, ...] = ()
    unreadable: int = 0


class DeadLetterStatus(StrEnum):
    """D3."""

    OPEN = "open"
    REPLAYING = "replaying"
    RESOLVED = "resolved"
    DISCARDED = "discarded"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that gave up (D1, D2).

    Attributes:
        work_key: what it is counted by: the piece of work, or the message where there is none.
        deaths: distinct messages that died for this work.
        permanent: trying again was known to be pointless.
        cause: why it is closed, once it is.
    """

    dead_letter_id: UUID
    kind: str
    work_key: str
    death_id: str
    queue: str
    type: str
    error_type: str
    error_message: str
    error_stack: str
    permanent: bool
    attempts: int
    first_failed_at: datetime
    last_failed_at: datetime
    exchange: str
    routing_key: str
    message_id: str
    headers: Mapping[str, Any]
    body: bytes
    body_truncated: bool
    created_at: datetime
    saga_id: UUID | None = None
    step: str | None = None
    direction: str | None = None
    status: DeadLetterStatus | str = DeadLetterStatus.OPEN
    cause: str | None = None
    deaths: int = 1
    version: int = 1


@dataclass(frozen=True, slots=True)
class WorkEnded:
    """A piece of work that is no longer awaited; its dead letters are resolved with the cause (D3)."""

    saga_id: UUID
    step: str
    direction: str
    cause: str


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what to which subject, why, and what it was before and after (D6)."""

    audit_id: UUID
    at: datetime
    actor: str
    action: str
    subject: str
    reason: str
    before: Mapping[str, Any] = field(default_factory=dict)
    after: Mapping[str, Any] = field(default_factory=dict)


class OrchestratorTransaction(Protocol):
    """One transaction on the orchestrator's storage."""

    async def now(self) -> datetime:
        """The storage's time."""

    def send(self, messages: Sequence[Message]) -> None:
        """Put messages into the outbox (M1)."""

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Call back once the transaction is durable."""

    async def lock_sagas(self, saga_ids: Collection[UUID]) -> Locked:
        """Lock these sagas in the order of their ids; those that do not exist are missing (S18)."""

    async def lock_due_sagas(self, limit: int, known: Collection[tuple[str, int]]) -> Locked:
        """Lock sagas that are due and run a known definition version, skipping what others hold (S12)."""

    def set_aside(self, saga_ids: Collection[UUID], until: datetime) -> None:
        """Mark locked sagas that cannot be worked on as such, and have them looked at again then (S25).

        Whoever writes such a saga as a whole takes the mark off.
        """

    def add_sagas(self, started: Sequence[NewSaga]) -> None:
        """Write new orders with their sagas."""

    def save_sagas(self, changes: Sequence[SagaChange]) -> None:
        """Write changed sagas; the commit fails when one is not at its previous version any more."""

    def add_history(self, entries: Sequence[HistoryEntry]) -> None:
        """Append to histories."""

    async def outbox_holds(self, message_ids: Sequence[UUID]) -> set[UUID]:
        """Which of these messages have not left yet (S4)."""

    async def claim_keys(
        self, claims: Sequence[KeyClaim], now: datetime, expired_before: datetime
    ) -> Mapping[tuple[str, str], KeyClaim]:
        """Take idempotency keys, sorted and distinct; returns the claims that stand in the way (S14)."""

    def give_up_keys(self, claims: Sequence[KeyClaim]) -> None:
        """Let go of keys that this transaction has taken: what they were to stand for is refused."""

    async def claim_references(
        self, claims: Sequence[ReferenceClaim]
    ) -> Mapping[tuple[str, str, str], ReferenceClaim]:
        """Take references, sorted and distinct; returns those that stand in the way, by name (S26)."""

    def add_metadata(self, metadata: Mapping[UUID, Mapping[str, str]]) -> None:
        """Write by what sagas are found, by saga."""

    async def sagas_about(self, subject_ids: Collection[UUID]) -> Mapping[UUID, UUID]:
        """The saga that is about each of these subjects; those of which there is none are missing."""

    async def followers(
        self, definition: str, key: str, subject_ids: Collection[UUID]
    ) -> Mapping[UUID, Followers]:
        """Those sagas of a definition that have one of these ids as metadata under the key (S28)."""

    async def existing_orders(self, order_ids: Sequence[UUID]) -> set[UUID]:
        """Which of these orders have been committed (S17)."""

    async def known_deaths(self, deaths: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
        """Which of these, as (work key, death id), stand on some row already (D2)."""

    def record_deaths(self, dead_letters: Sequence[DeadLetter]) -> None:
        """Open rows, or count a repeat on the open row of the same work (D2)."""

    def resolve_dead_letters(self, ended: Sequence[WorkEnded], now: datetime) -> None:
        """Close the open rows of work that is no longer awaited (D3)."""

    def resolve_replayed(self, work_keys: Sequence[str], cause: str, now: datetime) -> None:
        """Close the open rows of messages whose replay has been handled (D3)."""

    async def read_dead_letter(self, dead_letter_id: UUID) -> DeadLetter | None:
        """A dead letter, not locked: to learn which saga must be locked first (S18)."""

    async def lock_dead_letters(self, dead_letter_ids: Collection[UUID]) -> Mapping[UUID, DeadLetter]:
        """Lock dead letters, in the order of their work (S18)."""

    def save_dead_letters(self, dead_letters: Sequence[DeadLetter], now: datetime) -> None:
        """Write status, cause and version of locked dead letters."""

    async def low_water_mark(self) -> UUID | None:
        """Sagas below it may have been pruned (P7); None while there is no mark."""

    async def audit_entry(self, audit_id: UUID) -> AuditEntry | None:
        """An earlier run's audit entry, if it was committed (S17)."""

    async def audited(self, action: str, subjects: Sequence[str]) -> set[str]:
        """Those of the subjects to which this was done, as the audit log has it."""

    def add_audit(self, entries: Sequence[AuditEntry]) -> None:
        """Append to the audit log (D6)."""
