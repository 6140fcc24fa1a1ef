"""What an audit found: counts, objections with the identities concerned, verdicts beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from oms.audit.checklist import MEANING, Check, Objection
from oms.audit.checks import objections, return_objections, step_objections
from oms.audit.facts import LedgerFact, OrderFacts
from orchestrator.sagas.order_fulfillment import NAME

LISTED_AT_MOST: Final = 10_000
"""Findings, and verdicts, that are kept one by one; more are only counted, so that memory stays bounded."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it must be, and whose it is. Identities that do not apply are None."""

    check: Check
    message: str
    saga_id: UUID | None = None
    order_id: str | None = None
    sku: str | None = None

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "check": self.check.value,
            "saga_id": None if self.saga_id is None else str(self.saga_id),
            "order_id": self.order_id,
            "sku": self.sku,
            "message": self.message,
        }


@dataclass(frozen=True, slots=True)
class VerdictNote:
    """A person's verdict (S19), and what differs on that work because of it."""

    saga_id: UUID
    order_id: UUID
    participant: str
    step: str
    said: Mapping[str, Any]
    explains: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "saga_id": str(self.saga_id),
            "order_id": str(self.order_id),
            "participant": self.participant,
            "step": self.step,
            **{name: self.said.get(name) for name in ("direction", "verdict", "reference", "amount")},
            "explains": list(self.explains),
        }


@dataclass
class Report:
    """Collects while the audit runs; read it when the audit has ended.

    Attributes:
        sources: where it was counted what was charged and shipped, by what was counted.
        sagas: how many were seen, by status.
        unaudited: ended sagas of other definitions than the one whose meaning is checked, by definition;
            their steps were compared with the participants' ledgers.
        unread: installed participants whose ledgers are not at hand.
        looked_at: how many orders, products or entries each check has seen.
        objected: how many findings each check has.
        mark: the low-water mark; orders below it were not looked at (P7). None where nothing was pruned.
    """

    sources: dict[str, str] = field(default_factory=dict)
    sagas: Counter[str] = field(default_factory=Counter)
    unaudited: Counter[str] = field(default_factory=Counter)
    looked_at: Counter[Check] = field(default_factory=Counter)
    objected: Counter[Check] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    verdicts: list[VerdictNote] = field(default_factory=list)
    verdicts_in_all: int = 0
    mark: UUID | None = None
    unread: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Nothing is wrong."""
        return not self.objected

    @property
    def ended(self) -> int:
        """Orders that have ended."""
        return self.sagas["completed"] + self.sagas["compensated"]

    def add(self, finding: Finding) -> None:
        """One thing is wrong."""
        self.objected[finding.check] += 1
        if len(self.findings) < LISTED_AT_MOST:
            self.findings.append(finding)

    def judge(self, facts: OrderFacts) -> None:
        """Check one ended order. What a verdict explains is listed with the verdict instead (S19)."""
        self.note_verdicts(facts, self._explained(facts, objections(facts)))

    def judge_return(self, facts: OrderFacts) -> None:
        """Check one ended return."""
        self._explained(facts, return_objections(facts))

    def compare_steps(self, facts: OrderFacts, participants: Collection[str], at: Mapping[str, str]) -> None:
        """Check the steps of an ended saga of any kind against these participants' ledgers."""
        self.looked_at[Check.STEPS_AGREE] += 1
        explained = self._explained(facts, step_objections(facts, participants, at))
        if facts.saga.definition != NAME:
            self.note_verdicts(facts, explained)

    def _explained(self, facts: OrderFacts, found: Iterable[Objection]) -> dict[str, list[str]]:
        """What verdicts explain, by participant; the others are findings."""
        judged_by = {row.participant for row in facts.ledger if row.verdict is not None}
        explained: dict[str, list[str]] = {}
        for objection in found:
            if objection.participant in judged_by:
                explained.setdefault(objection.participant, []).append(objection.message)
            else:
                self.add(_finding(objection, facts))
        return explained

    def note_verdicts(self, facts: OrderFacts, explained: Mapping[str, list[str]]) -> None:
        """List the verdicts on an order, with the messages of what they explain, by participant."""
        for row in facts.ledger:
            if row.verdict is not None:
                self.verdicts_in_all += 1
                if len(self.verdicts) < LISTED_AT_MOST:
                    self.verdicts.append(_note(facts, row, explained.get(row.participant, ())))

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "ok": self.ok,
            "sagas": dict(self.sagas),
            "unaudited": dict(self.unaudited),
            "unread": list(self.unread),
            "sources": self.sources,
            "low_water_mark": None if self.mark is None else str(self.mark),
            "checks": [
                {
                    "check": check.value,
                    "meaning": MEANING[check],
                    "looked_at": self.looked_at[check],
                    "offending": self.objected[check],
                }
                for check in Check
            ],
            "findings": [finding.as_json() for finding in self.findings],
            "findings_in_all": self.objected.total(),
            "verdicts": [verdict.as_json() for verdict in self.verdicts],
            "verdicts_in_all": self.verdicts_in_all,
        }


def _finding(objection: Objection, facts: OrderFacts) -> Finding:
    saga = facts.saga
    return Finding(objection.check, objection.message, saga.saga_id, str(saga.order_id))


def _note(facts: OrderFacts, row: LedgerFact, explains: tuple[str, ...] | list[str]) -> VerdictNote:
    verdict = row.verdict or {}
    said = verdict.get("said", verdict)
    saga = facts.saga
    return VerdictNote(saga.saga_id, saga.order_id, row.participant, row.step, said, tuple(explains))
