"""Within orchestrator and participants imports run one way, too: down the floors, or along one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pytest

from tests.architecture.graph import circle, imports

ORCHESTRATOR: Final[Mapping[str, tuple[str, ...]]] = {
    "core": ("core", "sagas", "diagrams"),
    "engine": (
        "codec",
        "engine",
        "followers",
        "following",
        "intake",
        "measures",
        "orphans",
        "outcomes",
        "postgresql",
        "progress",
        "reconciler",
        "rehearsal",
        "saga_cache",
        "selection",
        "storage",
        "tables",
        "walk",
        "dead_letters.causes",
        "dead_letters.collector",
        "dead_letters.rows",
        "dead_letters.selection",
        "jobs.job",
        "webhooks.webhook",
    ),
    "operations": (
        "operations",
        "dead_letters",
        "disclosure",
        "jobs",
        "retention",
        "tokens",
        "people",
        "oidc",
        "service",
        "webhooks",
    ),
    "queries": ("queries", "explanation", "metrics", "webhooks.sender"),
    "http": ("http",),
}
"""core ← engine ← operations ← queries ← http. Who sends webhooks reads the feed."""

PARTICIPANTS: Final[Mapping[str, tuple[str, ...]]] = {
    "core": (
        "breaker",
        "commands",
        "fence",
        "gate",
        "ledger",
        "own_effects",
        "provider_decisions",
        "provider_plan",
        "provider_terms",
        "provider_verdicts",
        "replies",
        "verdicts",
    ),
    "runtime": (
        "flow",
        "http",
        "measures",
        "postgresql",
        "provider_batch",
        "provider_consumer",
        "provider_http",
        "provider_reply",
        "provider_work",
        "retention",
        "tables",
    ),
    "users": ("inventory", "kit", "payment", "service", "shipping"),
}
"""core ← runtime ← users."""

HOUSES: Final = {"orchestrator": ORCHESTRATOR, "participants": PARTICIPANTS}


def floor_of(module: str, floors: Mapping[str, tuple[str, ...]]) -> str | None:
    """The floor of a module within its package, by its name or the longest folder above it that has one."""
    parts = module.split(".")[1:]
    for length in range(len(parts), 0, -1):
        for floor, rooms in floors.items():
            if ".".join(parts[:length]) in rooms:
                return floor
    return None


@pytest.mark.parametrize("package", HOUSES)
def test_every_module_has_a_floor(package: str) -> None:
    own = [name for name in imports() if name.startswith(f"{package}.")]
    assert [name for name in own if floor_of(name, HOUSES[package]) is None] == []


@pytest.mark.parametrize("package", HOUSES)
def test_every_room_is_there(package: str) -> None:
    rooms = {f"{package}.{room}" for floor in HOUSES[package].values() for room in floor}
    assert sorted(rooms - set(imports())) == []


@pytest.mark.parametrize("package", HOUSES)
def test_imports_run_down_the_floors(package: str) -> None:
    floors = HOUSES[package]
    height = {floor: at for at, floor in enumerate(floors)}
    found = [
        f"{name} ({low}) imports {other} ({high})"
        for name, others in imports().items()
        for other in others
        if (low := floor_of(name, floors)) and (high := floor_of(other, floors))
        if name.startswith(f"{package}.") and other.startswith(f"{package}.")
        if height[high] > height[low]
    ]
    assert sorted(found) == []


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert circle(imports()) == []


def test_a_circle_is_seen() -> None:
    graph = {"a": frozenset({"b"}), "b": frozenset({"c"}), "c": frozenset({"a"}), "d": frozenset({"a"})}
    assert {"a", "b", "c"} == set(circle(graph))
