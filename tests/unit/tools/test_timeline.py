"""What one order alone waits for is cut where it comes to another process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tools.benchmarks.timeline import orders, read_notes, table


def notes() -> list[dict[str, Any]]:
    """An order of two legs: accepted in 10 ms, a hop of 5, served in 20; and what belongs to nobody."""
    own = {"saga": "s", "message": "m", "type": "ReserveInventory"}
    return [
        {"process": "orchestrator", "kind": "submit", "saga": "s", "at": 1.000},
        {"process": "orchestrator", "kind": "read", "at": 1.001, "until": 1.003},
        {"process": "inventory", "kind": "read", "at": 1.001, "until": 1.004},
        {"process": "orchestrator", "kind": "commit", "at": 1.004, "until": 1.009},
        {"process": "orchestrator", "kind": "publish", "waited": True, "at": 1.010, **own},
        {"process": "inventory", "kind": "receive", "at": 1.015, **own},
        {"process": "inventory", "kind": "commit", "at": 1.020, "until": 1.030},
        {"process": "inventory", "kind": "publish", "waited": True, "at": 1.035, **own, "message": "n"},
    ]


def test_each_leg_has_its_hop_its_reads_its_commits_and_the_rest(tmp_path: Path) -> None:
    for process in ("orchestrator", "inventory"):
        lines = [json.dumps(note) for note in notes() if note["process"] == process]
        (tmp_path / f"{process}.jsonl").write_text("\n".join(lines))

    [legs] = list(orders(read_notes(tmp_path)))

    assert [leg.name for leg in legs] == ["orchestrator: new order", "inventory: ReserveInventory"]
    assert [{kind: round(ms) for kind, ms in leg.ms.items()} for leg in legs] == [
        {"hop": 0, "read": 2, "commit": 5, "Python": 3},
        {"hop": 5, "read": 0, "commit": 10, "Python": 10},
    ]


def test_the_table_ends_with_all_legs_together() -> None:
    assert table(list(orders(notes())))[-1].split() == ["together", "5.0", "2.0", "15.0", "13.0", "1", "2"]


def test_an_order_that_had_begun_before_is_left_out() -> None:
    assert list(orders(notes()[1:])) == []
