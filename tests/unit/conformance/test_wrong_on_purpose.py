"""Conformance passes a right participant, and catches each one that is wrong on purpose, by the right rule.

The participant and the judge run over the in-process broker in simulated time: waiting costs nothing.
"""

from __future__ import annotations

import random
from typing import Final

import pytest

from messaging.identifiers import time_ordered_ids
from messaging.in_process import InProcessBroker, InProcessTransport
from oms.conformance.checks import CHECKS, FIRST, participant_report
from oms.conformance.play import Play
from oms.conformance.repertoire import Repertoire
from oms.conformance.rules import RULES
from oms.conformance.stand_in import Patience, StandIn
from oms.conformance.verdict import Report, Verdict
from simulation.loop import SimulatedLoop
from tests.unit.conformance.loyalty import NAME, RETRIES, Fault, Loyalty

EXAMPLES: Final = Repertoire.model_validate(
    {
        "works": [
            {
                "step": "account",
                "command": "OpenAccount",
                "body": {"customer_id": "c-42"},
                "other_body": {"customer_id": "c-43"},
                "success": {"type": "AccountOpened", "key": "loyalty.opened"},
                "rejection": {
                    "type": "NotEligible",
                    "key": "loyalty.refused",
                    "body": {"customer_id": "nobody"},
                },
                "compensation": {
                    "command": "CloseAccount",
                    "answer": {"type": "AccountClosed", "key": "loyalty.closed"},
                },
            }
        ]
    }
)

CAUGHT_BY: Final[dict[Fault, str]] = {
    Fault.NEVER_ANSWERS: "P1",
    Fault.FAILS_THE_FIRST: "P1",
    Fault.ANSWERS_TWICE: "P2",
    Fault.NEW_EVENT_ID: "P2",
    Fault.OTHER_BODY_AGAIN: "P2",
    Fault.SILENT_ON_REPEAT: "P2",
    Fault.REPEAT_IS_AN_ERROR: "P2",
    Fault.ONE_MESSAGE_ID: "M1",
    Fault.TAKES_OTHER_PAYLOAD: "P2",
    Fault.DOES_OTHER_PAYLOAD: "P2",
    Fault.MISMATCH_IS_TRANSIENT: "D1",
    Fault.COMPARES_BYTES: "P2",
    Fault.ONE_EFFECT_A_SAGA: "P1",
    Fault.ONE_EFFECT_A_STEP: "P1",
    Fault.BRANCHES_ARE_POISON: "P1",
    Fault.ONE_UNDO_FOR_ALL_BRANCHES: "P2",
    Fault.ONE_EVENT_ID: "M1",
    Fault.REJECTION_IS_AN_ERROR: "P8",
    Fault.REJECTION_WITHOUT_CODE: "wire",
    Fault.REJECTS_ONCE: "P2",
    Fault.UNDOES_A_REJECTION: "P4",
    Fault.REJECTION_LEAVES_NO_TOMBSTONE: "P5",
    Fault.UNDOES_TWICE: "P3",
    Fault.NOTHING_UNDONE: "P3",
    Fault.SILENT_COMPENSATION: "P3",
    Fault.UNDOES_NOTHING: "P4",
    Fault.NO_TOMBSTONE: "P5",
    Fault.LATE_COMMAND_AGAIN: "P5",
    Fault.LATE_COMMAND_DONE: "P5",
    Fault.LATE_COMMAND_SILENT: "P5",
    Fault.RACE: "P4",
    Fault.NO_CORRELATION: "wire",
    Fault.WRONG_CORRELATION: "wire",
    Fault.NO_EVENT_ID: "wire",
    Fault.NO_TRACE: "wire",
    Fault.NEW_TRACE: "wire",
    Fault.WRONG_KEY: "wire",
    Fault.WRONG_VERSION: "wire",
    Fault.WRONG_DIRECTION: "wire",
    Fault.WRONG_STEP: "wire",
    Fault.NO_ORDER: "wire",
    Fault.DROPS_POISON: "S16",
    Fault.LOOPS_POISON: "S16",
    Fault.STOPS_AT_POISON: "S16",
    Fault.POISON_WITHOUT_REASON: "D1",
    Fault.POISON_CHANGED: "D1",
    Fault.ANY_VERSION: "S13",
    Fault.ANY_DIRECTION: "S16",
    Fault.REFUSES_NEW_FIELDS: "S13",
    Fault.DROPS_LARGE: "S16",
    Fault.EARLY_ACKNOWLEDGEMENT: "S2",
    Fault.FORGETS: "P2",
    Fault.LOSES_SOME: "load",
    Fault.UNBOUNDED_PREFETCH: "load",
    Fault.NO_MARK: "P7",
    Fault.MARK_GOES_BACK: "P7",
    Fault.MARK_IS_POISON: "P7",
}


def judged(fault: Fault | None, *, restarts: bool = True) -> Report:
    """Everything tried with the participant that has this fault."""

    async def trial() -> Report:
        broker = InProcessBroker()
        new_id = time_ordered_ids(random.Random(7))
        participant = Loyalty(InProcessTransport(broker), new_id, fault, prefetch=30)
        await participant.start()
        ours = InProcessTransport(broker)
        stand_in = StandIn(ours, NAME, new_id, RETRIES.delays_s, Patience())
        await stand_in.start()
        restart = participant.restart if restarts else None
        report = await participant_report(Play(stand_in, EXAMPLES, 100, 30, restart))
        await stand_in.stop()
        await participant.crash()
        return report

    loop = SimulatedLoop()
    try:
        return loop.run_until_complete(trial())
    finally:
        loop.close()


def rules_of(report: Report) -> set[str]:
    return {finding.rule for finding in report.findings}


def test_a_right_participant_passes_everything() -> None:
    report = judged(None)
    assert report.findings == []
    assert {result.verdict for result in report.results} == {Verdict.PASSED}
    assert [result.check for result in report.results] == [FIRST.name, *(check.name for check in CHECKS)]
    assert report.ok


@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name.lower())
def test_a_wrong_one_is_caught_by_the_rule_that_it_breaks(fault: Fault) -> None:
    report = judged(fault)
    assert CAUGHT_BY[fault] in rules_of(report), [str(each) for each in report.findings]
    assert not report.ok
    for finding in report.findings:
        assert finding.sent
        assert finding.came
        assert finding.look_at


def test_every_rule_of_participants_has_one_that_breaks_it() -> None:
    of_providers = {"P6", "P10"}
    assert set(CAUGHT_BY.values()) == set(RULES) - of_providers


def test_what_needs_a_restart_is_not_tried_without_one() -> None:
    report = judged(None, restarts=False)
    untried = {result.check: result.note for result in report.results if result.verdict is Verdict.NOT_TRIED}
    assert untried == {
        "killed while it works": "--restart was not given",
        "everything again after a restart": "--restart was not given",
    }
    assert report.ok


def test_nothing_else_is_tried_where_the_first_command_is_not_answered() -> None:
    first, others = judged(Fault.NEVER_ANSWERS).results
    assert (first.verdict, others.verdict) == (Verdict.FAILED, Verdict.NOT_TRIED)
