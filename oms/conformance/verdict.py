"""What conformance found: one result a check; a finding says what was sent, what came and which rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from oms.conformance.rules import RULES


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule that was not kept.

    Attributes:
        rule: its name in `RULES`.
        expected: what should have come.
    """

    rule: str
    sent: str
    expected: str
    came: str

    @property
    def look_at(self) -> str:
        """Where to look first."""
        return RULES[self.rule].look_at


class Broken(Exception):
    """A check cannot go on: these rules were not kept."""

    def __init__(self, *findings: Finding) -> None:
        super().__init__("; ".join(f"{each.rule}: {each.came}" for each in findings))
        self.findings = findings


class NotTried(Exception):
    """A check does not apply, or something that it needs was not given; the message says which."""


class Verdict(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_TRIED = "not tried"


@dataclass(frozen=True, slots=True)
class Result:
    """One check of one subject.

    Attributes:
        subject: what was tried, such as a command's type; empty for the whole.
        note: why it was not tried.
    """

    check: str
    subject: str
    rules: tuple[str, ...]
    findings: Sequence[Finding] = ()
    note: str = ""
    seconds: float = 0.0

    @property
    def verdict(self) -> Verdict:
        """Passed unless something was found or nothing was tried."""
        if self.findings:
            return Verdict.FAILED
        return Verdict.NOT_TRIED if self.note else Verdict.PASSED


@dataclass(slots=True)
class Report:
    """All results about one participant or provider."""

    name: str
    results: list[Result] = field(default_factory=list)

    @property
    def findings(self) -> list[Finding]:
        """Everything that was found, in the order of the checks."""
        return [finding for result in self.results for finding in result.findings]

    @property
    def ok(self) -> bool:
        """Whether no rule was broken, and something was tried at all."""
        return not self.findings and any(each.verdict is Verdict.PASSED for each in self.results)

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        return {"name": self.name, "ok": self.ok, "checks": [_as_json(each) for each in self.results]}


def _as_json(result: Result) -> dict[str, Any]:
    return {
        "check": result.check,
        "subject": result.subject,
        "rules": list(result.rules),
        "verdict": result.verdict,
        "note": result.note,
        "seconds": round(result.seconds, 3),
        "findings": [
            {
                "rule": each.rule,
                "says": RULES[each.rule].says,
                "sent": each.sent,
                "expected": each.expected,
                "came": each.came,
                "look_at": each.look_at,
            }
            for each in result.findings
        ],
    }
