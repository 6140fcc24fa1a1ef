"""A seed says everything: the same seed is the same story, whatever the hash seed and the process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from simulation.plan import plan_of
from simulation.run import Run
from simulation.story import timeline

PROJECT = Path(__file__).parents[2]
SEEDS = (1, 4, 6, 11)
TELL = """
import hashlib, re, sys
from simulation.plan import plan_of
from simulation.run import Run
for seed in map(int, sys.argv[1:]):
    run = Run(plan_of(seed))
    run.execute()
    said = re.sub(" at 0x[0-9a-f]+", "", repr(run.facts))
    print(seed, len(run.facts), hashlib.sha256(said.encode()).hexdigest())
"""


def told(hash_seed: str) -> str:
    """What another process tells of some seeds: how many facts there were, and a digest of all of them."""
    return subprocess.run(
        [sys.executable, "-c", TELL, *map(str, SEEDS)],
        cwd=PROJECT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_a_seed_is_one_story_under_every_hash_seed() -> None:
    assert told("0") == told("4242") != ""


def test_a_seed_is_one_story_after_another_one() -> None:
    first = [list(timeline(run.facts)) for run in map(executed, SEEDS)]
    again = [list(timeline(run.facts)) for run in map(executed, reversed(SEEDS))]
    assert first == list(reversed(again))


def test_seeds_differ() -> None:
    assert list(timeline(executed(1).facts)) != list(timeline(executed(2).facts))


def executed(seed: int) -> Run:
    run = Run(plan_of(seed))
    run.execute()
    return run
