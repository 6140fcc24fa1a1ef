"""What one order alone waits for, from the notes of its processes (`tools.benchmarks.ours.recorder`).

An order is a chain: a process works on what it got, publishes, and the next one gets it. Work is cut into its
round trips to the database, of which the last of a unit of work commits, and the rest, which is Python's.
"""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

KINDS: Final = ("hop", "read", "commit", "Python")


@dataclass(slots=True)
class Leg:
    """One hop and the work that follows it.

    Attributes:
        name: who works on what.
        ms: milliseconds of each of `KINDS`.
        trips: how often the database was asked, by kind.
    """

    name: str
    ms: dict[str, float] = field(default_factory=lambda: dict.fromkeys(KINDS, 0.0))
    trips: dict[str, int] = field(default_factory=lambda: {"read": 0, "commit": 0})


def read_notes(folder: Path) -> list[dict[str, Any]]:
    """The notes of all processes, in order of time."""
    lines = [line for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]
    return sorted(map(json.loads, lines), key=lambda note: float(note["at"]))


def orders(notes: Sequence[dict[str, Any]]) -> Iterator[list[Leg]]:
    """The legs of each order that was noted from its beginning to its end."""
    trips: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    sagas: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for note in notes:
        if "saga" in note:
            sagas[note["saga"]].append(note)
        elif "until" in note:
            trips[note["process"]].append(note)
    for own in sagas.values():
        if own[0]["kind"] == "submit" and own[-1]["kind"] in ("end", "publish"):
            yield list(_legs(own, trips))


def _legs(own: Sequence[dict[str, Any]], trips: dict[str, list[dict[str, Any]]]) -> Iterator[Leg]:
    """Cut where the order comes to another process, and where it leaves it."""
    sent: dict[str, float] = {}
    began: dict[str, Any] | None = own[0]
    leg = Leg(f"{own[0]['process']}: new order")
    for note in own[1:]:
        if note["kind"] == "receive" and note["message"] in sent:
            began, leg = note, Leg(f"{note['process']}: {note['type']}")
            leg.ms["hop"] = 1000 * (note["at"] - sent[note["message"]])
        elif note["kind"] == "end" or note.get("waited"):
            if note["kind"] == "publish":
                sent[note["message"]] = note["at"]
            if began is not None and note["process"] == began["process"]:
                yield _worked(leg, began["at"], note["at"], trips[note["process"]])
                began = None


def _worked(leg: Leg, since: float, until: float, trips: Sequence[dict[str, Any]]) -> Leg:
    for trip in trips:
        if since <= trip["at"] and trip["until"] <= until:
            leg.ms[trip["kind"]] += 1000 * (trip["until"] - trip["at"])
            leg.trips[trip["kind"]] += 1
    leg.ms["Python"] = 1000 * (until - since) - leg.ms["read"] - leg.ms["commit"]
    return leg


def table(found: Sequence[Sequence[Leg]]) -> list[str]:
    """Medians over the orders, a line a leg and one for them all."""
    usual = statistics.mode(len(legs) for legs in found)
    alike = [legs for legs in found if len(legs) == usual]
    lines = [f"one order alone: medians of {len(alike)} orders, in ms", _line("", KINDS, "asked", "commits")]
    for place in zip(*alike, strict=True):
        median = [statistics.median(leg.ms[kind] for leg in place) for kind in KINDS]
        asked = [statistics.median(leg.trips[kind] for leg in place) for kind in ("read", "commit")]
        lines.append(_line(place[0].name, [f"{each:.2f}" for each in median], *(f"{n:.0f}" for n in asked)))
    sums = [[sum(leg.ms[kind] for leg in legs) for legs in alike] for kind in KINDS]
    trips = [[sum(leg.trips[kind] for leg in legs) for legs in alike] for kind in ("read", "commit")]
    middle = [f"{statistics.median(each):.1f}" for each in sums]
    return [*lines, _line("together", middle, *(f"{statistics.median(each):.0f}" for each in trips))]


def _line(name: str, columns: Sequence[str], *counts: str) -> str:
    return f"{name:<44}" + "".join(f"{each:>9}" for each in (*columns, *counts))
