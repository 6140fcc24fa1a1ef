"""What a command to a participant with a provider starts, and what the provider's answer means. Pure.

The life of an external effect (P6): its intent is committed, the provider is called with the key of the
work, the answer is written by compare-and-set on the intent. Every question to a provider is an `Ask`;
`Planner.start` says which one a command leads to, `Planner.finish` what its end means for a row that may
have changed meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Protocol

from contracts.commands import Command
from contracts.events import OutcomeEvent
from messaging.errors import PermanentFailure, TransientFailure
from messaging.identifiers import NewId
from participants.commands import Offer, Received
from participants.fence import Move, State
from participants.gate import move_for, opened
from participants.ledger import LedgerRow, StoredOutcome
from participants.provider_terms import ProviderMisuse, ProviderTraits, Voided
from participants.replies import nothing_to_undo, refused, stored, undone


@dataclass(frozen=True, slots=True)
class Took:
    """The provider did it; ``reference`` is its name for it."""

    reference: str


@dataclass(frozen=True, slots=True)
class Declined:
    """The provider says no for a business reason; nothing happened, and the key will always say so (P8)."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class NotFound:
    """The provider knows of nothing. Alone this proves nothing: a call may be under way (P6, P10)."""


Finding = Took | Declined | Voided | NotFound
"""What became of a question."""


NOTHING: Final = Took("nothing")
"""What is told of work that came to nothing: its provider was asked neither for it nor for its undoing."""


class Ask(StrEnum):
    """Every question that is put to a provider."""

    ACT = "do the effect"
    CLOSE = "find out about the effect: close its key, else repeat the call until the answer is definite"
    RECALL = "look the effect up by order, its key being too old"
    REVERSE = "undo the effect"
    RECALL_REVERSAL = "look the reversal up by order, its key being too old"
    PROVE = "prove that there is no effect: close its key, else look it up"
    FIND = "look the effect up"
    FIND_REVERSAL = "look the reversal up"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to write, say and ask; nothing of it happens when the commit fails."""

    row: LedgerRow | None = None
    """To be saved."""
    answers: tuple[StoredOutcome, ...] = ()
    ask: Ask | None = None
    """To be asked once this is committed, if the circuit breaker allows it now."""
    unasked: LedgerRow | None = None
    """To be saved instead of ``row`` if it does not (P9)."""
    failure: Exception | None = None


class Reversal(Protocol):
    """How one kind of work is undone at a provider. Methods raise as `ProviderWork`'s do."""

    def told(self, row: LedgerRow, took: Took) -> Mapping[str, Any]:
        """The fields of the compensation's event, where there was something to undo."""

    async def act(self, key: str, row: LedgerRow) -> Took:
        """Undo it."""

    async def find(self, key: str, row: LedgerRow) -> Took | NotFound:
        """What the provider remembers of the reversal's key."""

    async def recall(self, key: str, row: LedgerRow) -> Took | NotFound:
        """What the provider has in its books of the reversal, however old."""


class ExternalWork(Protocol):
    """One kind of work done by a provider, as plain data: what is noted of it and how it is told."""

    @property
    def work(self) -> Offer:
        """Its commands and events."""

    @property
    def traits(self) -> ProviderTraits:
        """What the provider promises."""

    def details(self, command: Command) -> Mapping[str, Any]:
        """What the ledger keeps for ever; nothing sensitive."""

    def request(self, command: Command) -> Mapping[str, Any]:
        """What else a call needs; kept only until it has its answer (P6)."""

    def check(self, command: Command, earlier: Sequence[LedgerRow]) -> None:
        """Whether it may be done at all, given what its saga did here before; asked before its intent.

        Raises:
            PermanentFailure: it may not.
        """

    def unasked(self, row: LedgerRow) -> Took | None:
        """What is true of work, and of its undoing, for which nobody has to be asked; None of all other work.

        So nothing is charged for a free order: a provider may refuse an amount of 0 (P6).
        """

    def success(self, row: LedgerRow, took: Took) -> OutcomeEvent:
        """The event that tells of the effect."""

    def rejection(self, row: LedgerRow, declined: Declined) -> OutcomeEvent:
        """The event that tells of the refusal."""

    def discreet(self, text: str, row: LedgerRow) -> str:
        """What a provider says, without what is sensitive in the command."""

    @property
    def reversal(self) -> Reversal | None:
        """How it is undone; None for work that has no compensation."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a provider's silence says nothing (P6, P10)."""

    traits: ProviderTraits
    longest_call_s: float
    """Seconds within which a call begins after its intent, and within which it ends after that."""

    def key_is_old(self, since: datetime | None, now: datetime) -> bool:
        """Whether the provider may have forgotten a key, or will before a call begun now ends (P6)."""
        if since is None:
            return False
        return now + self._in_flight >= since + timedelta(seconds=self.traits.key_lifetime_s)

    def proven_from(self, called_at: datetime) -> datetime:
        """From when on "not found" is proof that a call made then had no effect (P10)."""
        return called_at + self._in_flight + timedelta(seconds=self.traits.settling_time_s)

    @property
    def _in_flight(self) -> timedelta:
        return timedelta(seconds=2 * self.longest_call_s)


@dataclass(frozen=True, slots=True)
class Question:
    """A question as it was asked: of which row, and when at the earliest."""

    ask: Ask
    row: LedgerRow
    asked_at: datetime


class Planner:
    """Decides everything about commands and answers of one kind of external work, verdicts excepted."""

    def __init__(self, external: ExternalWork, new_id: NewId, longest_call_s: float) -> None:
        """
        Raises:
            ValueError: the work has a compensation and no way to undo it, or the other way round.
        """
        if (external.work.undone is None) is not (external.reversal is None):
            raise ValueError(f"{external.work.name}: a compensation and a reversal go together")
        self.external = external
        self.work = external.work
        self.new_id = new_id
        self.patience = Patience(external.traits, longest_call_s)

    def start(self, received: Received, row: LedgerRow | None, now: datetime) -> Plan:
        """What a command leads to.

        Raises:
            PermanentFailure: it contradicts the ledger.
        """
        move = move_for(row, received)
        if row is None:
            return self._begin(received, now) if move is Move.ACT else self._bury(received, None, now)
        match move:
            case Move.REPEAT:
                outcome = row.outcome(received.direction)
                assert outcome is not None
                return Plan(answers=(outcome,))
            case Move.REFUSE:
                return Plan(answers=(refused(received),))
            case Move.ACT_AGAIN:
                return self._act_again(row, now)
            case Move.FIND_OUT:
                return self._find_out(row, now)
            case Move.UNDO:
                return self._reverse(row, now)
            case _:
                return self._bury(received, row, now)

    def finish(
        self,
        received: Received,
        question: Question,
        result: Finding | Exception,
        row: LedgerRow | None,
        now: datetime,
    ) -> Plan:
        """What the end of a question means, compared and set on the row as it stands now.

        Args:
            result: the finding, or why there is none.
        """
        if row is None:
            raise AssertionError(f"the ledger has lost {question.row.key}")
        if isinstance(result, Exception):
            return self._failed(received, result, row, now)
        if question.ask is Ask.ACT:
            return self._acted(received, result, row, now)
        if row.state is not question.row.state:
            return self.start(received, row, now)
        proven = self.proves_nothing_happened(question, result, row)
        match question.ask, result:
            case (Ask.CLOSE | Ask.RECALL, Took()) if row.state is State.UNDOING:
                return self._found_to_undo(row, result, now)
            case Ask.RECALL, Took():
                return self._done(row, result, now)
            case (Ask.CLOSE | Ask.RECALL, _) if row.state is State.UNDOING and proven:
                return self._bury(received, row, now)
            case (Ask.RECALL, NotFound()) if proven:
                return Plan(self._called(row, now, intent_at=now), ask=Ask.ACT)
            case ((Ask.REVERSE | Ask.RECALL_REVERSAL), Took()):
                return self._undone(row, result, now)
            case (Ask.RECALL_REVERSAL, NotFound()) if proven:
                return Plan(self._called(row, now, undo_intent_at=now), ask=Ask.REVERSE)
        return Plan(failure=TransientFailure("no definite answer from the provider yet (P6)"))

    # -- beginnings ---------------------------------------------------------------------------------------

    def _begin(self, received: Received, now: datetime) -> Plan:
        """P1, P6: the intent, then the call."""
        row = opened(
            received,
            self.work,
            State.INTENT,
            now,
            details=self.external.details(received.command),
            request=self.external.request(received.command),
            intent_at=now,
            called_at=now,
        )
        return Plan(row, ask=Ask.ACT)

    def _act_again(self, row: LedgerRow, now: datetime) -> Plan:
        """P6: the same key again, or a look-up where the provider may have forgotten it."""
        if self.patience.key_is_old(row.intent_at, now):
            return Plan(ask=Ask.RECALL)
        return Plan(self._called(row, now), ask=Ask.ACT)

    def _find_out(self, row: LedgerRow, now: datetime) -> Plan:
        """P6: a compensation found an intent; what became of the effect must be known first."""
        undoing = replace(row, state=State.UNDOING, updated_at=now)
        if self.patience.key_is_old(row.intent_at, now):
            return Plan(undoing, ask=Ask.RECALL)
        return Plan(self._called(undoing, now), ask=Ask.CLOSE)

    def _reverse(self, row: LedgerRow, now: datetime) -> Plan:
        """P3: ask for the reversal of what the ledger says was done."""
        reversing = replace(row, state=State.REVERSING, updated_at=now)
        if self.patience.key_is_old(row.undo_intent_at, now):
            return Plan(reversing, ask=Ask.RECALL_REVERSAL)
        began = row.undo_intent_at or now
        return Plan(self._called(reversing, now, undo_intent_at=began), ask=Ask.REVERSE)

    def _bury(self, received: Received, row: LedgerRow | None, now: datetime) -> Plan:
        """P4: there is no effect and none may come."""
        row = row or opened(received, self.work, State.TOMBSTONE, now)
        outcome = nothing_to_undo(self.work, row, self.new_id())
        buried = replace(row, state=State.TOMBSTONE, compensation=outcome, request=None, updated_at=now)
        return Plan(buried, (outcome,))

    # -- ends ---------------------------------------------------------------------------------------------

    def _acted(self, received: Received, result: Finding, row: LedgerRow, now: datetime) -> Plan:
        """The answer to the call itself. What it took is true whatever the row has become meanwhile."""
        if row.state is State.INTENT:
            if isinstance(result, Took):
                return self._done(row, result, now)
            if isinstance(result, Declined):
                outcome = stored(self.external.rejection(row, result), self.new_id())
                rejected = self._answered(row, State.REJECTED, now, forward=outcome)
                return Plan(rejected, (outcome,))
        if isinstance(result, Took) and row.forward is None:
            return self._took_effect_late(row, result, now)
        return self.start(received, row, now)

    def _done(self, row: LedgerRow, took: Took, now: datetime) -> Plan:
        done = self.with_effect(row, took, State.DONE, now)
        assert done.forward is not None
        return Plan(done, (done.forward,))

    def _took_effect_late(self, row: LedgerRow, took: Took, now: datetime) -> Plan:
        """The compensation came meanwhile. What was still being found out is known now; what was buried is
        not dead: the ledger says so, and the saga is told, which makes it a matter for a person (S5)."""
        state = {State.UNDOING: State.REVERSING, State.TOMBSTONE: State.DONE}.get(row.state, row.state)
        late = self.with_effect(row, took, state, now)
        assert late.forward is not None
        return Plan(late, (late.forward,))

    def _found_to_undo(self, row: LedgerRow, took: Took, now: datetime) -> Plan:
        """P6: the effect is there after all; tell of it and undo it."""
        known = self.with_effect(row, took, State.REVERSING, now)
        assert known.forward is not None
        reversing = self._called(known, now, undo_intent_at=now)
        return Plan(reversing, (known.forward,), Ask.REVERSE, unasked=known)

    def _undone(self, row: LedgerRow, took: Took, now: datetime) -> Plan:
        row = self.with_reversal(row, took, State.UNDONE, now)
        assert row.compensation is not None
        return Plan(row, (row.compensation,))

    def _failed(self, received: Received, error: Exception, row: LedgerRow, now: datetime) -> Plan:
        """No answer. The row stays as it is, unless somebody else has had the answer meanwhile."""
        anew = self.start(received, row, now)
        if anew.ask is None:
            return anew
        if isinstance(error, ProviderMisuse):
            error = PermanentFailure("provider_misuse", str(error))
        return Plan(failure=error)

    # -- rows ---------------------------------------------------------------------------------------------

    def with_effect(self, row: LedgerRow, took: Took, state: State, now: datetime) -> LedgerRow:
        """The row once the effect is known."""
        outcome = stored(self.external.success(row, took), self.new_id())
        details = {**row.details, "reference": took.reference}
        return self._answered(row, state, now, forward=outcome, details=details)

    def with_reversal(
        self, row: LedgerRow, took: Took, state: State, now: datetime, **said: Any
    ) -> LedgerRow:
        """The row once the reversal is known."""
        reversal = self.external.reversal
        assert reversal is not None
        fields = {**reversal.told(row, took), **said}
        outcome = undone(self.work, row, self.new_id(), **fields)
        details = {**row.details, "reversal_reference": took.reference}
        return self._answered(row, state, now, compensation=outcome, details=details)

    def _answered(self, row: LedgerRow, state: State, now: datetime, **changes: Any) -> LedgerRow:
        return replace(row, state=state, request=None, updated_at=now, **changes)

    def _called(self, row: LedgerRow, now: datetime, **changes: Any) -> LedgerRow:
        return replace(row, called_at=now, updated_at=now, **changes)

    def proves_nothing_happened(self, question: Question, result: Finding, row: LedgerRow) -> bool:
        """P10: "not found" only where nobody has called since, and the last call is long enough ago."""
        if isinstance(result, NotFound):
            called_at = question.row.called_at
            if called_at is None:
                return row.called_at is None
            return row.called_at == called_at and question.asked_at >= self.patience.proven_from(called_at)
        return isinstance(result, Declined | Voided)
