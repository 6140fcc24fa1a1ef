"""A short run of chaos as a test; `make chaos` plays longer ones and shows them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from rich.console import Console

from tools.chaos.__main__ import run
from tools.chaos.course import Plan
from tools.chaos.faults import CATALOGUE, drawn
from tools.chaos.stage import staged

FAULTS, SEED, ORDERS, RATE = 12, 7, 400, 25.0


def test_a_seed_draws_the_same_faults_again() -> None:
    assert drawn(100, random.Random(SEED)) == drawn(100, random.Random(SEED))
    assert drawn(100, random.Random(SEED)) != drawn(100, random.Random(SEED + 1))


def test_every_fault_is_drawn_before_any_is_drawn_beyond_its_weight() -> None:
    once_through = sum(fault.weight for fault in CATALOGUE)
    names = [fault.name for together in drawn(once_through, random.Random(SEED)) for fault in together]
    assert {name: names.count(name) for name in names} == {fault.name: fault.weight for fault in CATALOGUE}


def test_faults_at_once_have_different_targets() -> None:
    for together in drawn(1000, random.Random(SEED)):
        assert len({fault.target for fault in together}) == len(together)


@pytest.mark.chaos
@pytest.mark.rabbitmq
@pytest.mark.postgresql
@pytest.mark.timeout(900)
async def test_nothing_is_lost_or_done_twice_whatever_fails(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder: Path = tmp_path_factory.mktemp("chaos")
    rounds = drawn(FAULTS, random.Random(SEED))
    assert await run(Plan(rounds, SEED, ORDERS, RATE), staged, folder, Console(width=120)), f"see {folder}"
