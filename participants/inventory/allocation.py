"""From which locations an order's lines are taken: as few as possible, then by name. Pure (S31)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

Lines = Mapping[str, int]
"""How many of each SKU."""

Place = tuple[str, str]
"""A SKU and the location at which it is."""

Places = Mapping[Place, int]
"""How many of each SKU at each location."""


def allocated(lines: Lines, available: Mapping[str, Lines], otherwise: str) -> Places:
    """What is taken from where.

    One location where one has everything, two where two have, the first by name; else each time the one that
    has the most of what is still wanted. A line stays together where one of the chosen has all of it.

    Args:
        available: by location, how many of each SKU can be taken there.
        otherwise: the location from which the rest is taken where there is not enough.
    """
    return dict(_spread(lines, available, _chosen(lines, available), otherwise))


def _chosen(lines: Lines, available: Mapping[str, Lines]) -> Sequence[str]:
    names = sorted(name for name, there in available.items() if any(there.get(sku, 0) for sku in lines))
    for number in (1, 2):
        for some in combinations(names, number):
            if all(sum(available[name].get(sku, 0) for name in some) >= lines[sku] for sku in lines):
                return some
    return _greedily(lines, available, names)


def _greedily(lines: Lines, available: Mapping[str, Lines], names: Sequence[str]) -> Sequence[str]:
    wanted, left, chosen = dict(lines), list(names), list[str]()
    while left and any(wanted.values()):
        given = {name: _given(available[name], wanted) for name in left}
        best = min(left, key=lambda name: (-sum(given[name].values()), name))
        wanted = {sku: count - given[best][sku] for sku, count in wanted.items()}
        chosen.append(best)
        left.remove(best)
    return chosen


def _given(there: Lines, wanted: Lines) -> Lines:
    return {sku: min(count, there.get(sku, 0)) for sku, count in wanted.items()}


def _spread(
    lines: Lines, available: Mapping[str, Lines], chosen: Sequence[str], otherwise: str
) -> Iterator[tuple[Place, int]]:
    for sku, wanted in lines.items():
        there = {name: available[name].get(sku, 0) for name in chosen}
        whole = next((name for name in chosen if there[name] >= wanted), None)
        if whole is not None:
            yield (sku, whole), wanted
            continue
        taken: dict[str, int] = {}
        for name in chosen:
            taken[name] = min(there[name], wanted - sum(taken.values()))
        taken[otherwise] = taken.get(otherwise, 0) + wanted - sum(taken.values())
        yield from (((sku, name), count) for name, count in taken.items() if count)
