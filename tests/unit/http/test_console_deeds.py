"""When an entry of the audit log tells of the very thing that a form asks for."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from contracts.commands import Verdict
from orchestrator.core.inputs import Actor, ResolveRequested
from orchestrator.http.console.deeds import Deed
from orchestrator.operations import details_of
from orchestrator.queries.views import AuditView
from tests.support.orders import NOON

JANE = Actor("jane", "the bank says so")
ASKED = ResolveRequested(JANE, "charge", Verdict.NO_EFFECT, None, 5)


def a_deed(asked: ResolveRequested = ASKED) -> Deed:
    return Deed("saga.resolve", "saga:1", asked.actor, 4, details_of(asked))


def an_entry(asked: ResolveRequested = ASKED, action: str = "saga.resolve") -> AuditView:
    return AuditView(
        audit_id=UUID(int=1),
        at=NOON,
        actor=asked.actor.name,
        action=action,
        subject="saga:1",
        reason=asked.actor.reason,
        before={"version": 4},
        after={"version": 5, **details_of(asked)},
    )


def test_the_same_is_the_same() -> None:
    assert a_deed().is_told_by(an_entry())


@pytest.mark.parametrize(
    "other",
    [
        replace(ASKED, verdict=Verdict.SETTLED_OUTSIDE),
        replace(ASKED, step="ship"),
        replace(ASKED, reference="T-1"),
        replace(ASKED, amount=6),
        replace(ASKED, actor=Actor("jane", "another reason")),
        replace(ASKED, actor=Actor("bob", "the bank says so")),
    ],
)
def test_another_word_makes_it_another_deed(other: ResolveRequested) -> None:
    assert not a_deed(other).is_told_by(an_entry())


def test_another_action_is_another_deed() -> None:
    assert not a_deed().is_told_by(an_entry(action="saga.cancel"))


def test_an_entry_that_keeps_no_verdict_tells_of_none() -> None:
    entry = an_entry()
    assert not a_deed().is_told_by(entry.model_copy(update={"after": {"version": 5}}))
