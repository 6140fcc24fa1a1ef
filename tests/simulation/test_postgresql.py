"""The same worlds on a real PostgreSQL: production SQL, real locks, commits of which nobody knows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

from simulation.campaign import run_seeds, storage_in
from simulation.postgresql.database import prepare
from simulation.world import Storage
from tests.support.servers import Databases

SEEDS: Final = (2, 5, 14, 24, 28)


@pytest.fixture(scope="module")
def storage(databases: Databases) -> Iterator[Storage]:
    """One database in which one world lives after the other."""
    url = databases.copy_of("simulation", prepare)
    storage = storage_in(url)
    yield storage
    storage.close()
    databases.drop(url)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", SEEDS)
def test_no_rule_is_broken_on_postgresql(seed: int, storage: Storage) -> None:
    outcome = run_seeds([seed], storage)

    assert outcome.violations == {}, "\n".join(line for told in outcome.reports.values() for line in told)
    assert outcome.orders > 0
