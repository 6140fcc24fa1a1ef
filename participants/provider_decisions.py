"""Decides commands and verdicts of every kind of work that one participant's provider does (P6). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from contracts.commands import SettleStep, Verdict
from contracts.envelope import Direction
from messaging.errors import PermanentFailure
from messaging.identifiers import NewId
from participants.commands import Received
from participants.gate import check_not_expired
from participants.ledger import UNASKED, LedgerRow
from participants.provider_plan import ExternalWork, Finding, Plan, Planner, Question
from participants.provider_verdicts import Asked, Judge
from participants.verdicts import refuse


class Decisions:
    """A `Planner` and a `Judge` for each kind of work, and which of them is asked."""

    def __init__(self, kinds: Sequence[ExternalWork], new_id: NewId, longest_call_s: float) -> None:
        self._new_id = new_id
        self._planners = {each.work.name: Planner(each, new_id, longest_call_s) for each in kinds}
        self._judges = {name: Judge(planner) for name, planner in self._planners.items()}

    def are_about(self, received: Received, row: LedgerRow | None) -> bool:
        """Whether a command is decided here. A verdict on work of which no command has come always is."""
        if received.work is not None:
            return received.work.name in self._planners
        return row is None or row.command in self._planners or row.command == UNASKED

    def start(
        self,
        received: Received,
        row: LedgerRow | None,
        mark: UUID | None,
        now: datetime,
        earlier: Sequence[LedgerRow] = (),
    ) -> Plan:
        """What a command leads to; one that contradicts the ledger fails (P2, P7, P11, S19).

        Args:
            earlier: every row of its saga.
        """
        return self._unasked(received, row, self._start(received, row, mark, now, earlier), now)

    def _start(
        self,
        received: Received,
        row: LedgerRow | None,
        mark: UUID | None,
        now: datetime,
        earlier: Sequence[LedgerRow],
    ) -> Plan:
        try:
            check_not_expired(row, received, mark)
            if isinstance(received.command, SettleStep):
                return self._judge(Asked(received, received.command, now), row)
            assert received.work is not None
            planner = self._planners[received.work.name]
            if row is None and received.direction is Direction.FORWARD:
                planner.external.check(received.command, earlier)
            return planner.start(received, row, now)
        except PermanentFailure as failure:
            return Plan(failure=failure)

    def _unasked(self, received: Received, row: LedgerRow | None, plan: Plan, now: datetime) -> Plan:
        """Where nobody has to be asked, all that follows at once: without a call, and without the breaker."""
        while plan.ask is not None:
            asked = plan.row or row
            assert asked is not None
            took = self._planners[asked.command].external.unasked(asked)
            if took is None:
                return plan
            ended = self.finish(received, Question(plan.ask, asked, now), took, asked, now)
            plan = replace(ended, row=ended.row or plan.row, answers=(*plan.answers, *ended.answers))
        return plan

    def finish(
        self,
        received: Received,
        question: Question,
        result: Finding | Exception,
        row: LedgerRow | None,
        now: datetime,
    ) -> Plan:
        """What the end of a question means for the row as it stands now."""
        try:
            if isinstance(received.command, SettleStep):
                asked = Asked(received, received.command, now)
                return self._judges[question.row.command].finish(asked, question, result, row)
            return self._planners[question.row.command].finish(received, question, result, row, now)
        except PermanentFailure as failure:
            return Plan(failure=failure)

    def _judge(self, asked: Asked, row: LedgerRow | None) -> Plan:
        """S19; where no command of the work has ever come, its kind is not known."""
        if row is not None and row.command in self._judges:
            return self._judges[row.command].start(asked, row)
        forward = asked.command.direction is Direction.FORWARD
        fitting = [
            name for name, planner in self._planners.items() if forward or planner.work.undone is not None
        ]
        if len(fitting) > 1 and row is not None and asked.command.verdict is Verdict.TOOK_EFFECT:
            reason = "which kind of step this is, is not known: no command for it has ever come here"
            return Plan(answers=(refuse(asked.received, asked.command, reason, self._new_id()),))
        return self._judges[(fitting or list(self._judges))[0]].start(asked, row)
