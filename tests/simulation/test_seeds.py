"""The whole system in worlds made from seeds: no rule is broken, every rule is tried, a seed is one world."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Final

import pytest

from simulation.campaign import Outcome, campaign
from simulation.kinds import ORDERS
from simulation.probes import RULES
from simulation.stage_probes import STAGE_RULES
from simulation.weather import Fault

pytestmark = pytest.mark.simulation

FIRST_SEED: Final = 1
SEEDS: Final = int(os.environ.get("OMS_TEST_SEEDS", "300"))

LEAST_COVERED: Final = 0.7
"""The share of rule, direction and fault that so few seeds must come by. Some cells are none: nothing but an
order's own faults can have struck before it is submitted, and some rules hold in calm worlds alone."""

SELDOM: Final = {"S13 unknown version"}
"""Rules that so few seeds need not come by."""


def seen(total: Outcome) -> set[str]:
    """The rules that some world of some kind has come by."""
    return {rule for each in total.coverage.values() for rule, _, _ in each.cells}


@pytest.fixture(scope="module")
def total() -> Outcome:
    """All seeds of this module, run once."""
    total = Outcome()
    for outcome in campaign(FIRST_SEED, SEEDS):
        total.merge(outcome)
    return total


@pytest.mark.timeout(900)
def test_no_rule_is_broken_in_any_of_these_worlds(total: Outcome) -> None:
    assert total.seeds == SEEDS
    assert total.orders > SEEDS
    assert total.violations == {}, "\n\n".join("\n".join(lines) for lines in total.reports.values())


@pytest.mark.timeout(900)
def test_every_rule_of_the_transition_table_is_tried(total: Outcome) -> None:
    assert set(RULES.values()) - seen(total) <= SELDOM


@pytest.mark.timeout(900)
def test_every_fault_strikes(total: Outcome) -> None:
    assert {fault.name for fault in Fault} <= {
        name for each in total.coverage.values() for name in each.strikes
    }


@pytest.mark.timeout(900)
def test_rules_are_tried_after_most_faults(total: Outcome) -> None:
    covered = total.coverage[ORDERS.name]
    assert covered.covered() > LEAST_COVERED, "\n".join(covered.table())


@pytest.mark.timeout(900)
def test_every_rule_about_stages_is_tried(total: Outcome) -> None:
    assert set(STAGE_RULES) - seen(total) == set()


@pytest.mark.parametrize("seed", [7, 4711])
def test_a_seed_is_the_same_world_whatever_the_hash_seed(seed: int) -> None:
    first, second = (the_story_of(seed, hash_seed) for hash_seed in ("1", "2"))

    assert first == second
    assert len(first) > 1000


def the_story_of(seed: int, hash_seed: str) -> str:
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from oms.cli import main; sys.exit(main())",
            "simulate",
            "--seed",
            str(seed),
            "--trace",
        ],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    return told.stdout
