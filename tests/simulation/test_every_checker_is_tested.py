"""A checker that was never seen objecting proves nothing: each one stands in a test of a bad trace."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from simulation.checkers import EVERY_CHECKER
from simulation.checkers.inspection import Checker

TESTS = "".join(path.read_text() for path in Path(__file__).parent.glob("test_checkers_of_*.py"))


@pytest.mark.parametrize("checker", EVERY_CHECKER, ids=lambda checker: checker.__name__)
def test_a_bad_trace_is_shown_to_every_checker(checker: type[Checker]) -> None:
    assert re.search(rf"\.{checker.__name__}[),]", TESTS)


def test_every_rule_has_a_name_of_its_own() -> None:
    assert len({checker.rule for checker in EVERY_CHECKER}) == len(EVERY_CHECKER)
