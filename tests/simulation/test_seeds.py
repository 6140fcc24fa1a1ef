"""The whole system in worlds made from seeds: no rule is broken, and a seed is always the same world."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Final

import pytest

from simulation.campaign import Outcome, campaign

pytestmark = pytest.mark.simulation

FIRST_SEED: Final = 1
SEEDS: Final = int(os.environ.get("OMS_TEST_SEEDS", "150"))


@pytest.mark.timeout(900)
def test_no_rule_is_broken_in_any_of_these_worlds() -> None:
    total = Outcome()
    for outcome in campaign(FIRST_SEED, SEEDS):
        total.merge(outcome)

    assert total.seeds == SEEDS
    assert total.orders > SEEDS
    assert total.violations == {}, "\n\n".join(total.violations.values())


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
