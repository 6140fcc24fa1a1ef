"""A file that is short and has one reader belongs into its reader, unless it is an idea of its own."""

from __future__ import annotations

from typing import Final

from tests.architecture.graph import importers
from tests.architecture.sources import PROJECT

SHORTEST: Final = 40

LEAVES: Final = {
    "oms.garbage": "measured by itself; the benchmarks set it too",
    "oms.embedded.ports": "the tools and the tests need a free port as well",
    "orchestrator.http.admin.audit": "the routes of one thing, as all its siblings are",
    "orchestrator.http.console.health": "one page, as all its siblings are",
    "orchestrator.http.timing": "a middleware, as all its siblings are",
    "participants.payment.tables": "the tables of one service, as all its siblings are",
    "simulation.mutations.parcel_mutants": "what is done instead of one rule, as all its siblings are",
    "simulation.mutations.return_mutants": "what is done instead of one rule, as all its siblings are",
    "simulation.effects": "what the ledgers tell of effects, beside the facts that it makes",
}
"""Short modules with one importer that stay, and why."""


def splinters() -> set[str]:
    """Modules below `SHORTEST` lines that one other module of the product imports; what is run is none."""
    found = set()
    for name, readers in importers().items():
        path = PROJECT.joinpath(*name.split(".")).with_suffix(".py")
        if len(readers) == 1 and path.is_file() and len(path.read_text().splitlines()) < SHORTEST:
            found.add(name)
    return found


def test_no_splinter_is_left_lying() -> None:
    assert sorted(splinters() - set(LEAVES)) == []


def test_every_leaf_is_one() -> None:
    assert sorted(set(LEAVES) - splinters()) == []
