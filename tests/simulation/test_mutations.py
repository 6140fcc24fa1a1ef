"""Each safety rule that is taken away is noticed: every mutant lives in the world that is known to end it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from simulation.mutations.catalogue import MUTATIONS
from simulation.mutations.trial import Mutation, quick_trial
from simulation.postgresql.database import prepare
from simulation.postgresql.server import PostgresStorage
from simulation.world import MemoryStorage
from tests.support.servers import Databases


@pytest.fixture(scope="module")
def postgresql(databases: Databases) -> Iterator[PostgresStorage]:
    """One database in which one world lives after the other."""
    url = databases.copy_of("simulation", prepare)
    storage = PostgresStorage(url)
    yield storage
    storage.close()
    databases.drop(url)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.rule)
def test_a_mutant_is_noticed(mutation: Mutation, postgresql: PostgresStorage) -> None:
    trial = quick_trial(mutation, MemoryStorage(), postgresql)

    assert trial.seeds is not None, f"nobody notices that {mutation.instead}"


def test_every_mutant_has_a_name_of_its_own() -> None:
    assert len({mutation.rule for mutation in MUTATIONS}) == len(MUTATIONS) >= 12
