"""What the contracts say of each kind of work is what its participant does."""

from __future__ import annotations

from contracts.works import WORKS, KindOfWork
from oms.installed_participants import OUR_OWN


def test_the_kinds_of_work_are_those_of_the_participants() -> None:
    works = [(name, step.work) for name, participant in OUR_OWN.items() for step in participant.steps]
    assert {
        work.command: KindOfWork(name, work.success, work.rejection, work.compensation, work.undone)
        for name, work in works
    } == WORKS
