"""Submissions: validated inputs, orders among them, become sagas, many in one transaction (S14)."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel

from contracts.findable import Findable
from messaging.batching import Arrivals
from messaging.identifiers import CLOCKS_AGREE_WITHIN, time_of
from messaging.measures import MESSAGES, Distribution
from messaging.sqlstates import WrittenMeanwhile
from messaging.unit_of_work import StorageUnavailable, UnitOfWork
from orchestrator.codec import read_input
from orchestrator.core import machine
from orchestrator.core.definition import SagaDefinition
from orchestrator.core.effects import Transition
from orchestrator.core.following import NotFollowed
from orchestrator.core.state import Saga
from orchestrator.engine import Engine
from orchestrator.following import Asked, follow
from orchestrator.storage import KeyClaim, OrchestratorTransaction, ReferenceClaim

GROUP_LIMIT: Final = 200
"""Submissions that share one transaction at most."""

WAITING_LIMIT: Final = 1000
"""Submissions that wait at most; beyond it the caller is told to come back (backpressure).

With those that are being stored it is less than the requests that may be open, or it would never be reached.
"""


@dataclass(frozen=True, slots=True)
class Submission:
    """A valid input with the ids that its saga will get: drawn beforehand, so that a repeat finds them (S17).

    Attributes:
        definition: the name of the saga definition that is started.
        owner: who starts it: the customer of an order, else a caller of the API (S24).
        scope: in which its idempotency key counts; None: the owner.
    """

    definition: str
    given: BaseModel
    owner: str
    subject_id: UUID
    saga_id: UUID
    idempotency_key: str | None = None
    traceparent: str | None = None
    scope: str | None = None

    @property
    def claimant(self) -> str:
        """Whose idempotency key it is (S14, S24)."""
        return self.scope if self.scope is not None else self.owner

    @property
    def reference(self) -> ReferenceClaim | None:
        """What its owner calls it, where it has a name (S26)."""
        name = self.given.reference if isinstance(self.given, Findable) else None
        if name is None:
            return None
        return ReferenceClaim(self.definition, self.owner, name, self.saga_id, self.subject_id)

    @property
    def metadata(self) -> Mapping[str, str]:
        """By what else it is found."""
        return self.given.metadata if isinstance(self.given, Findable) else {}


@dataclass(frozen=True, slots=True)
class Accepted:
    """The saga stands: newly, or since an earlier submission with the same key.

    Attributes:
        saga: what was just stored, so that nobody has to read it again; None where it stood before.
    """

    subject_id: UUID
    replayed: bool
    saga: Saga | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class KeyReused:
    """The idempotency key stands for another input."""

    subject_id: UUID


@dataclass(frozen=True, slots=True)
class ReferenceTaken:
    """Its owner calls another saga by its reference already (S26).

    Attributes:
        subject_id: what that one is about.
    """

    subject_id: UUID


class NotStarted(Exception):
    """The definition failed on this input: a fault of the definition's, which the message names (S25)."""


class Overloaded(Exception):
    """Too many submissions are waiting; come back later."""


Answer = Accepted | KeyReused | ReferenceTaken | NotFollowed


@dataclass(slots=True)
class _Waiting:
    submission: Submission
    answer: asyncio.Future[Answer] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


def fingerprint(given: BaseModel) -> bytes:
    """What makes two submissions the same: every validated field."""
    return hashlib.sha256(given.model_dump_json().encode()).digest()


class Intake:
    """Commits concurrent submissions together; a bad one fails alone."""

    def __init__(
        self,
        unit_of_work: UnitOfWork[OrchestratorTransaction],
        engine: Engine,
        key_lifetime_s: float,
    ) -> None:
        self._unit_of_work = unit_of_work
        self._engine = engine
        self._key_lifetime = timedelta(seconds=key_lifetime_s)
        self._arrivals: Arrivals[_Waiting] = Arrivals()
        self.batches = Distribution(MESSAGES)
        """How many submissions shared a transaction, since the start."""

    async def submit(self, submission: Submission) -> Answer:
        """Store an input and start its saga.

        Raises:
            Overloaded: too many are waiting already.
            StorageUnavailable: the database cannot be used.
        """
        if len(self._arrivals) >= WAITING_LIMIT:
            raise Overloaded(f"{WAITING_LIMIT} submissions are waiting")
        waiting = _Waiting(submission)
        self._arrivals.add(waiting)
        return await waiting.answer

    async def run_once(self) -> int:
        """Store whatever has arrived in one transaction; returns how many that were."""
        group = await self._arrivals.take(GROUP_LIMIT)
        self.batches.add(len(group))
        try:
            await self._store([waiting for waiting in group if not waiting.answer.done()])
        except BaseException as error:
            for waiting in group:
                if not waiting.answer.done():
                    waiting.answer.set_exception(
                        error if isinstance(error, Exception) else Overloaded("stopping")
                    )
            raise
        return len(group)

    async def _store(self, group: Sequence[_Waiting]) -> None:
        try:
            await self._attempt(group)
        except StorageUnavailable as error:
            # Nobody's fault: one by one they would wait the same time again, each after the other.
            _refuse(group, error)

    async def _attempt(self, group: Sequence[_Waiting], runs: int = 0) -> None:
        try:
            answers = await self.store([waiting.submission for waiting in group], runs)
        except StorageUnavailable:
            raise
        except Exception as error:
            if len(group) == 1:
                _refuse(group, error)
                return
            for waiting in group:
                await self._attempt([waiting], runs=1)
            return
        for waiting, answer in zip(group, answers, strict=True):
            if answer is None:
                self._arrivals.add(waiting)
            elif not waiting.answer.done():
                waiting.answer.set_result(answer)

    async def store(self, submissions: Sequence[Submission], runs: int = 0) -> list[Answer | None]:
        """Key, order, saga, first command and event of each submission commit together.

        Args:
            runs: how often they have been tried before.

        Returns:
            The answers; None for what is to be tried again, since what stood in its way was refused.
        """

        async def work(transaction: OrchestratorTransaction) -> list[Answer | None]:
            nonlocal runs
            runs += 1
            if runs == 1:
                return await self._store_in(transaction, submissions, set())
            committed = await self._committed(transaction, submissions)
            answers = await self._store_in(transaction, submissions, committed)
            if await self._committed(transaction, submissions) != committed:
                raise WrittenMeanwhile("an earlier run was committed while its locks were waited for")
            return answers

        return await self._unit_of_work.run(work)

    async def _committed(
        self, transaction: OrchestratorTransaction, submissions: Sequence[Submission]
    ) -> set[UUID]:
        """What an earlier run committed although its commit seemed to fail (S17)."""
        return await transaction.existing_orders([submission.subject_id for submission in submissions])

    async def _store_in(
        self,
        transaction: OrchestratorTransaction,
        submissions: Sequence[Submission],
        committed: set[UUID],
    ) -> list[Answer | None]:
        now = await transaction.now()
        _check_clock(submissions, now)
        claims = _leading_claims(s for s in submissions if s.subject_id not in committed)
        standing = {}
        if claims:
            standing = dict(await transaction.claim_keys(claims, now, now - self._key_lifetime))
        for claim in claims:
            standing.setdefault((claim.customer_id, claim.key), claim)
        answers: list[Answer | None] = [_answer(each, standing, committed) for each in submissions]
        answers = await self._named(transaction, submissions, answers, claims, committed)
        submissions, answers = await self._following(transaction, submissions, answers, claims, committed)
        _mark(transaction, submissions, answers, committed)
        started = [
            (self._started(s, now), s.owner, s.traceparent) for s in _new(submissions, answers, committed)
        ]
        if started:
            self._engine.start(transaction, started, now)
        stored = {transition.saga.subject_id: transition.saga for transition, _, _ in started}
        return [_with_saga(answer, stored) for answer in answers]

    async def _named(
        self,
        transaction: OrchestratorTransaction,
        submissions: Sequence[Submission],
        answers: list[Answer | None],
        keys: Sequence[KeyClaim],
        committed: set[UUID],
    ) -> list[Answer | None]:
        """The answers once every new saga has its reference, or is refused for it (S26)."""
        refused = await self._claim_references(transaction, _new(submissions, answers, committed))
        _give_up(transaction, keys, refused)
        return _refused(answers, refused)

    async def _following(
        self,
        transaction: OrchestratorTransaction,
        submissions: Sequence[Submission],
        answers: list[Answer | None],
        keys: Sequence[KeyClaim],
        committed: set[UUID],
    ) -> tuple[Sequence[Submission], list[Answer | None]]:
        """The submissions once those that follow an earlier saga have their inputs, or are refused (S28)."""
        asked = [
            Asked(submission.saga_id, definition, submission.given)
            for submission in _new(submissions, answers, committed)
            if (definition := self._engine.registry.latest(submission.definition)).follows is not None
        ]
        if not asked:
            return submissions, answers
        made = await follow(transaction, asked)
        refused = {
            submission.subject_id: found
            for submission in submissions
            if isinstance(found := made.get(submission.saga_id), NotFollowed)
        }
        _give_up(transaction, keys, refused)
        completed = [
            replace(each, given=made[each.saga_id])
            if each.saga_id in made and each.subject_id not in refused
            else each
            for each in submissions
        ]
        return completed, _refused(answers, refused)

    async def _claim_references(
        self, transaction: OrchestratorTransaction, new: Iterable[Submission]
    ) -> Mapping[UUID, ReferenceTaken]:
        """Those of new submissions whose reference another saga has, by what they would be about."""
        wanted = [claim for submission in new if (claim := submission.reference)]
        if not wanted:
            return {}
        leading = {claim.name: claim for claim in reversed(wanted)}
        standing = await transaction.claim_references([leading[name] for name in sorted(leading)])
        first = {**leading, **standing}
        return {
            claim.subject_id: ReferenceTaken(first[claim.name].subject_id)
            for claim in wanted
            if first[claim.name].subject_id != claim.subject_id
        }

    def _started(self, submission: Submission, now: datetime) -> Transition:
        """The saga as it starts. Raises NotStarted where its definition fails on this input."""
        definition = self._engine.registry.latest(submission.definition)
        try:
            given = _as_read_back(definition, submission.given)
            return machine.start(definition, submission.saga_id, submission.subject_id, given, now)
        except Exception as error:
            raise NotStarted(f"{definition.name} version {definition.version} cannot start on it") from error


def _new(
    submissions: Sequence[Submission], answers: Sequence[Answer | None], committed: set[UUID]
) -> list[Submission]:
    """Those that are to be stored now."""
    return [
        submission
        for submission, answer in zip(submissions, answers, strict=True)
        if answer == Accepted(submission.subject_id, replayed=False)
        and submission.subject_id not in committed
    ]


def _give_up(
    transaction: OrchestratorTransaction, keys: Sequence[KeyClaim], refused: Mapping[UUID, Answer]
) -> None:
    """What is refused leaves nothing behind, not even its idempotency key."""
    given_up = [key for key in keys if key.order_id in refused]
    if given_up:
        transaction.give_up_keys(given_up)


def _refused(answers: list[Answer | None], refused: Mapping[UUID, Answer]) -> list[Answer | None]:
    """The answers, with those of what is refused, whose repeats within the group are refused the same.

    Who asked for something else under its key is not answered yet: the key is free again.
    """
    return [_once_refused(answer, refused) for answer in answers]


def _once_refused(answer: Answer | None, refused: Mapping[UUID, Answer]) -> Answer | None:
    match answer:
        case Accepted(subject_id):
            return refused.get(subject_id, answer)
        case KeyReused(subject_id) if subject_id in refused:
            return None
        case _:
            return answer


def _mark(
    transaction: OrchestratorTransaction,
    submissions: Sequence[Submission],
    answers: Sequence[Answer | None],
    committed: set[UUID],
) -> None:
    """Write by what the new sagas are found (S26)."""
    metadata = {s.saga_id: marks for s in _new(submissions, answers, committed) if (marks := s.metadata)}
    if metadata:
        transaction.add_metadata(metadata)


def _as_read_back(definition: SagaDefinition, given: BaseModel) -> Any:
    """An input as it will be read from now on, so that a command sent again is the same (P2, S25)."""
    if definition.accepted is not None and isinstance(given, definition.accepted):
        return given
    read = read_input(definition, given.model_dump_json())
    written = read.model_dump_json()
    if read_input(definition, written).model_dump_json() != written:
        raise ValueError("its input reads otherwise each time")
    return read


class ClocksDisagree(StorageUnavailable):
    """Ids were drawn by a clock that is not the database's: lists would miss the order, or retention forget
    its saga (P7). It passes with the next look at the database's clock.
    """


def _check_clock(submissions: Sequence[Submission], now: datetime) -> None:
    for submission in submissions:
        if abs(time_of(submission.saga_id) - now) > CLOCKS_AGREE_WITHIN:
            raise ClocksDisagree(f"an id of {time_of(submission.saga_id)} is drawn at {now}")


def _refuse(group: Iterable[_Waiting], error: Exception) -> None:
    for waiting in group:
        if not waiting.answer.done():
            waiting.answer.set_exception(error)


def _leading_claims(submissions: Iterable[Submission]) -> list[KeyClaim]:
    """One claim a key, the first submission's, in the order in which keys are locked (S18)."""
    claims: dict[tuple[str, str], KeyClaim] = {}
    for submission in submissions:
        if submission.idempotency_key is not None:
            customer, key = submission.claimant, submission.idempotency_key
            claim = KeyClaim(customer, key, fingerprint(submission.given), submission.subject_id)
            claims.setdefault((customer, key), claim)
    return [claims[name] for name in sorted(claims)]


def _answer(
    submission: Submission, standing: dict[tuple[str, str], KeyClaim], committed: set[UUID]
) -> Answer:
    """New, a repeat, or another order under a used key."""
    if submission.idempotency_key is None or submission.subject_id in committed:
        return Accepted(submission.subject_id, replayed=False)
    claim = standing[(submission.claimant, submission.idempotency_key)]
    if claim.order_id == submission.subject_id:
        return Accepted(submission.subject_id, replayed=False)
    if claim.fingerprint == fingerprint(submission.given):
        return Accepted(claim.order_id, replayed=True)
    return KeyReused(claim.order_id)


def _with_saga(answer: Answer | None, stored: Mapping[UUID, Saga]) -> Answer | None:
    """The answer, with the saga where it was stored just now."""
    if not isinstance(answer, Accepted) or answer.replayed:
        return answer
    return Accepted(answer.subject_id, replayed=False, saga=stored.get(answer.subject_id))
