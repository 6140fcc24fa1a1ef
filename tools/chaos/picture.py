"""Draws a run: `python -m tools.chaos.picture SAMPLES.jsonl PICTURE.svg`, where matplotlib is installed."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib import pyplot

mpl.use("Agg")

MEGABYTE: Final = 2**20

Sample = dict[str, Any]


def draw(samples: Sequence[Sample], target: Path) -> None:
    """Four panels over the minutes of the run: memory, handles, what waits to be sent, table sizes."""
    figure, panels = pyplot.subplots(1, 4, figsize=(18, 4.2), layout="constrained")
    _by_service(panels[0], samples, "resident_mb", "Memory, MB")
    _by_service(panels[1], samples, "handles", "File handles")
    _waiting(panels[2], samples)
    _tables(panels[3], samples)
    for panel in panels:
        panel.set(ylim=(0, None))
        panel.grid(alpha=0.25)
        panel.legend(fontsize="x-small")
    for panel in panels[:3]:
        panel.set_xlabel("minutes")
    figure.savefig(target)


def _by_service(panel: Any, samples: Sequence[Sample], what: str, title: str) -> None:
    for service in samples[0]["processes"]:
        seen = [each for each in samples if service in each["processes"]]
        minutes = [each["at_s"] / 60 for each in seen]
        panel.plot(minutes, [each["processes"][service][what] for each in seen], label=service, linewidth=0.8)
    panel.set_title(title)


def _waiting(panel: Any, samples: Sequence[Sample]) -> None:
    """What piles up while a fault lasts, and is gone after it."""
    seen = [each for each in samples if each["stored"] is not None]
    minutes = [each["at_s"] / 60 for each in seen]
    rows = [sum(each["stored"]["outbox_rows"].values()) for each in seen]
    panel.plot(minutes, rows, label="rows in outboxes", linewidth=0.8)
    for name, figures in (
        ("PostgreSQL sessions", [each["stored"]["sessions"] for each in seen]),
        ("RabbitMQ connections", [each["broker_connections"] for each in seen]),
    ):
        panel.plot(minutes, figures, label=name, linewidth=0.8)
    panel.set_title("Outboxes and connections")


def _tables(panel: Any, samples: Sequence[Sample]) -> None:
    """Straight lines: an order late in the run takes as much room as an early one."""
    seen = [each for each in samples if each["stored"] is not None]
    for schema in seen[0]["stored"]["schema_bytes"]:
        sizes = [each["stored"]["schema_bytes"].get(schema, 0) / MEGABYTE for each in seen]
        panel.plot([each["ended"] for each in seen], sizes, label=schema, linewidth=0.8)
    panel.set(xlabel="orders that have ended")
    panel.set_title("Tables with indexes, MB")


if __name__ == "__main__":
    draw(list(map(json.loads, Path(sys.argv[1]).read_text().splitlines())), Path(sys.argv[2]))
