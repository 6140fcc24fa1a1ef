"""Verdicts on work that a provider does (S19): it is asked before a person is believed (P10). Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from contracts.commands import SettleStep, Verdict
from contracts.envelope import Direction
from participants.commands import Received
from participants.fence import State
from participants.gate import check_same_order
from participants.ledger import LedgerRow
from participants.provider_plan import Ask, Declined, Finding, Plan, Planner, Question, Took
from participants.provider_terms import Voided
from participants.verdicts import (
    LEADS_TO,
    RULINGS,
    Ruling,
    accept,
    accepted_before,
    denial,
    refuse,
    ruling_on,
)

_PROVEN: Final = {Verdict.NO_EFFECT: State.TOMBSTONE, Verdict.SETTLED_OUTSIDE: State.SETTLED}


@dataclass(frozen=True, slots=True)
class Asked:
    """A verdict as it was received, and the time of the transaction that looks at it."""

    received: Received
    command: SettleStep
    now: datetime


class Judge:
    """Decides verdicts on one kind of external work."""

    def __init__(self, planner: Planner) -> None:
        self._planner = planner

    def start(self, asked: Asked, row: LedgerRow | None) -> Plan:
        """What a verdict leads to: an answer, or a question to the provider.

        Raises:
            PermanentFailure: it names another order than the ledger.
        """
        check_same_order(row, asked.received)
        before = accepted_before(row, asked.command)
        if before is not None:
            return Plan(answers=(before,))
        if asked.command.direction is Direction.COMPENSATING and self._planner.work.undone is None:
            return self._refused(asked, "this step has no compensation")
        ruling = ruling_on(RULINGS, row, asked.command)
        if row is not None and ruling is Ruling.FIND:
            return Plan(ask=self._look_up(row, asked.now))
        if row is not None and ruling is Ruling.PROVE:
            old = self._planner.patience.key_is_old(row.intent_at, asked.now)
            return Plan(ask=Ask.RECALL if old else Ask.PROVE)
        if row is not None and ruling is Ruling.WRITE_OFF:
            return self._undone_by_person(asked, row)
        if ruling in LEADS_TO:
            return self._accepted(asked, row, LEADS_TO[ruling])
        return self._refused(asked, denial(row))

    def finish(
        self, asked: Asked, question: Question, result: Finding | Exception, row: LedgerRow | None
    ) -> Plan:
        """What the provider's answer means for the verdict, compared and set on the row as it stands now."""
        if row is None:
            raise AssertionError(f"the ledger has lost {question.row.key}")
        if row.state is not question.row.state:
            return self.start(asked, row)
        if asked.command.verdict is Verdict.TOOK_EFFECT:
            return self._found(asked, result, row)
        return self._proven(asked, question, result, row)

    def _look_up(self, row: LedgerRow, now: datetime) -> Ask:
        patience = self._planner.patience
        if row.state is State.REVERSING:
            old = patience.key_is_old(row.undo_intent_at, now)
            return Ask.RECALL_REVERSAL if old else Ask.FIND_REVERSAL
        return Ask.RECALL if patience.key_is_old(row.intent_at, now) else Ask.FIND

    def _found(self, asked: Asked, result: Finding | Exception, row: LedgerRow) -> Plan:
        """`took_effect`: the provider's reference, else the person's; never against the provider's word."""
        if isinstance(result, Declined | Voided):
            return self._refused(asked, "the provider says that nothing happened")
        if isinstance(result, Took):
            took = result
        elif asked.command.reference is not None:
            took = Took(asked.command.reference)
        else:
            silent = isinstance(result, Exception)
            why = self._said(result, row) if silent else "the provider knows nothing of it"
            return self._refused(asked, f"{why}; without its reference it cannot be believed")
        if row.state is State.REVERSING:
            return self._reversed(asked, row, took)
        return self._accepted(asked, self._planner.with_effect(row, took, State.DONE, asked.now), None)

    def _proven(self, asked: Asked, question: Question, result: Finding | Exception, row: LedgerRow) -> Plan:
        """`no_effect`, or `settled_outside` while a call may be under way: only with proof (P10)."""
        if isinstance(result, Exception):
            return self._refused(asked, f"the provider cannot be asked for proof: {self._said(result, row)}")
        if isinstance(result, Took):
            return self._contradicted(asked, result, row)
        if self._planner.proves_nothing_happened(question, result, row):
            return self._accepted(asked, row, _PROVEN[asked.command.verdict])
        proven_from = self._planner.patience.proven_from(row.called_at or asked.now)
        when = proven_from.isoformat(timespec="seconds")
        return self._refused(asked, f"a call may still take effect: no proof before {when}")

    def _said(self, result: object, row: LedgerRow) -> str:
        return self._planner.external.discreet(str(result), row)

    def _contradicted(self, asked: Asked, took: Took, row: LedgerRow) -> Plan:
        """The provider did it after all: the verdict is refused, and the saga learns what the truth is."""
        state = State.DONE if row.state is State.INTENT else State.REVERSING
        known = self._planner.with_effect(row, took, state, asked.now)
        assert known.forward is not None
        refusal = self._refused(asked, f"it took effect: the provider has it as {took.reference}")
        return Plan(known, (*refusal.answers, known.forward))

    def _undone_by_person(self, asked: Asked, row: LedgerRow) -> Plan:
        if asked.command.reference is None:
            return self._refused(asked, "without the reference of the undoing it cannot be believed")
        return self._reversed(asked, row, Took(asked.command.reference))

    def _reversed(self, asked: Asked, row: LedgerRow, took: Took) -> Plan:
        return self._accepted(asked, self._with_reversal(asked, row, took, State.UNDONE), None)

    def _accepted(self, asked: Asked, row: LedgerRow | None, state: State | None) -> Plan:
        known = None if row is None else _reference(row, asked.command.direction)
        event_id = self._planner.new_id()
        judged, answer = accept(row, asked.received, asked.command, state, asked.now, event_id, known)
        if state is State.SETTLED:
            judged = self._with_settled_outcome(asked, judged)
        return Plan(judged, (answer,))

    def _with_settled_outcome(self, asked: Asked, row: LedgerRow) -> LedgerRow:
        """What a late copy of the command will be answered, where the person's word is enough to say it.

        What has been answered before stays the answer (P2).
        """
        answered = row.outcome(asked.command.direction) is not None
        if answered or asked.command.reference is None or row.command != self._planner.work.name:
            return row
        took = Took(asked.command.reference)
        if asked.command.direction is Direction.FORWARD:
            return self._planner.with_effect(row, took, State.SETTLED, asked.now)
        return self._with_reversal(asked, row, took, State.SETTLED)

    def _with_reversal(self, asked: Asked, row: LedgerRow, took: Took, state: State) -> LedgerRow:
        amount = asked.command.amount
        said = {} if amount is None else {"amount": amount}
        undone = self._planner.with_reversal(row, took, state, asked.now, **said)
        return undone if row.compensation is None else replace(undone, compensation=row.compensation)

    def _refused(self, asked: Asked, reason: str) -> Plan:
        answer = refuse(asked.received, asked.command, reason[:1000], self._planner.new_id())
        return Plan(answers=(answer,))


def _reference(row: LedgerRow, direction: Direction) -> str | None:
    name = "reference" if direction is Direction.FORWARD else "reversal_reference"
    reference = row.details.get(name)
    return reference if isinstance(reference, str) else None
