"""Draws a run: ``python -m tools.benchmarks.picture RESULTS.json PICTURE.svg``, in the peers' environment."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib import pyplot

mpl.use("Agg")

LABELS: Final = {
    "ours": "this project",
    "ours-http": "this project over HTTP",
    "floor": "floor",
    "floor-batches": "floor, in batches",
    "faststream": "FastStream by hand",
}
COLOURS: Final = {
    "ours": "#0b6e4f",
    "ours-http": "#6fb98f",
    "floor": "#444444",
    "floor-batches": "#999999",
    "faststream": "#c06014",
}
PEER: Final = "#7a5195"
ELSEWHERE: Final = ("ours-past", "ours-accepting", "fastapi-insert")
"""Contenders whose figures are none of the first two panels."""

Side = dict[str, Any]


def label(name: str) -> str:
    """How a contender is called."""
    return LABELS.get(name, name.replace("dbos-", "DBOS, "))


def draw(results: dict[str, Any], target: Path) -> None:
    """Three panels: throughput over in-flight, latency over throughput, growth with history."""
    figure, panels = pyplot.subplots(1, 3, figsize=(16, 4.8), layout="constrained")
    one_line = [side for side in results["sides"] if side["workload"] == "one-line"]
    sides = [side for side in one_line if side["contender"] not in ELSEWHERE]
    _curves(panels[0], sides, lambda side: side["in_flight"], lambda side: side["per_second"])
    panels[0].set(xscale="log", xlabel="sagas in flight", ylabel="sagas per second", ylim=(0, None))
    panels[0].set_title("Throughput over what is in flight")
    if sides:
        panels[0].legend(fontsize="small")
    _curves(panels[1], sides, lambda side: side["per_second"], lambda side: side["p50_ms"])
    panels[1].set(yscale="log", xlabel="sagas per second", ylabel="median latency, ms")
    panels[1].set_title("Latency over throughput")
    _history(panels[2], results, one_line)
    figure.savefig(target)


def _curves(
    panel: Any, sides: list[Side], across: Callable[[Side], float], up: Callable[[Side], float]
) -> None:
    by_contender: dict[str, list[Side]] = {}
    for side in sorted(sides, key=lambda side: side["in_flight"]):
        by_contender.setdefault(side["contender"], []).append(side)
    for name, points in by_contender.items():
        style = "o-" if len(points) > 1 else "D"
        colour = COLOURS.get(name, PEER)
        xs, ys = [across(point) for point in points], [up(point) for point in points]
        panel.plot(xs, ys, style, color=colour, label=label(name), markersize=5)
    panel.grid(alpha=0.25)


def _history(panel: Any, results: dict[str, Any], sides: list[Side]) -> None:
    """Throughput with empty and with full tables, and memory over the sagas served."""
    busy = {side["contender"]: side for side in sides if side["in_flight"] == 256}
    past = results["pace"]["past_sagas"]
    bars = [("empty tables", "ours"), (f"{past:,} ended sagas", "ours-past")]
    found = [(text, busy[name]["per_second"]) for text, name in bars if name in busy]
    panel.bar([text for text, _ in found], [height for _, height in found], color="#0b6e4f", width=0.5)
    panel.set(ylabel="sagas per second", ylim=(0, None))
    panel.set_title("Growth with history, 256 in flight")
    panel.grid(alpha=0.25, axis="y")


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
