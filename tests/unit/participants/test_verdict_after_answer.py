"""A person's verdict never changes what has been answered before (P2, S19)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from contracts.commands import SettleStep, Verdict
from contracts.envelope import Direction
from contracts.events import StepSettled
from participants.commands import Works
from participants.fence import State
from participants.kit.errands import StepAtProvider
from participants.ledger import LedgerRow
from participants.payment.handlers import payment
from participants.provider_plan import Declined, Planner
from participants.provider_verdicts import Asked, Judge
from participants.replies import stored
from tests.support.participants import NOW, Case, delivered, new_id
from tests.support.providers import Gateway

STEP = payment.steps[0]
WORKS: Final = Works((STEP.work,))
PLANNER: Final = Planner(StepAtProvider(STEP, Gateway()), new_id, longest_call_s=10)


def buried(case: Case) -> LedgerRow:
    """A charge whose compensation has answered that there was nothing to undo."""
    row = PLANNER.start(WORKS.decode(delivered(case.refund())), None, NOW).row
    assert row is not None
    assert row.compensation is not None
    return row


def judged(row: LedgerRow, command: SettleStep) -> LedgerRow:
    received = WORKS.decode(delivered(command))
    after = Judge(PLANNER).start(Asked(received, command, NOW), row).row
    assert after is not None
    return after


@pytest.mark.parametrize(
    ("verdict", "leads_to"),
    [(Verdict.SETTLED_OUTSIDE, State.SETTLED), (Verdict.TOOK_EFFECT, State.UNDONE)],
)
def test_a_verdict_on_a_buried_step_leaves_its_answer(verdict: Verdict, leads_to: State) -> None:
    case = Case()
    row = buried(case)
    after = judged(row, case.settle("charge", Direction.COMPENSATING, verdict, "by hand"))
    assert (after.state, after.compensation) == (leads_to, row.compensation)


def test_a_rejection_that_was_told_is_not_made_a_success() -> None:
    """Its saga turns round on it; whoever settled it outside is told so, instead of nobody."""
    case = Case()
    row = PLANNER.start(WORKS.decode(delivered(case.charge())), None, NOW).row
    assert row is not None
    told = stored(PLANNER.external.rejection(row, Declined("card_declined", "")), new_id())
    rejected = replace(row, state=State.REJECTED, forward=told, request=None)
    command = case.settle("charge", Direction.FORWARD, Verdict.SETTLED_OUTSIDE, "by hand")
    plan = Judge(PLANNER).start(Asked(WORKS.decode(delivered(command)), command, NOW), rejected)
    assert plan.row is None
    [answer] = plan.answers
    said = StepSettled.model_validate_json(answer.body)
    assert (said.accepted, said.reason) == (False, "the ledger disagrees: it was rejected and had no effect")
