"""`oms simulate` tells how far it is also where no terminal is, and keeps its answer clean of it."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from oms.cli import simulate
from oms.cli.app import app
from simulation import campaign

pytestmark = pytest.mark.simulation


def test_a_line_is_told_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulate, "SEEDS_A_LINE", 1)
    monkeypatch.setattr(campaign, "CHUNK", 2)
    asked = ["simulate", "--kind", "courses", "--seed", "1", "--seeds", "5", "--jobs", "1"]
    ran = CliRunner().invoke(app, asked)
    assert ran.exit_code == 0, ran.output
    told = [line.split(",")[0] for line in ran.stderr.splitlines()]
    assert told == ["2 of 5 seeds", "4 of 5 seeds", "5 of 5 seeds"]
    assert "of 5 seeds" not in ran.stdout


def test_nothing_is_told_beside_json() -> None:
    ran = CliRunner().invoke(app, ["simulate", "--seed", "1", "--seeds", "1", "--jobs", "1", "--json"])
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.stdout)["seeds"] == 1
    assert ran.stderr == ""
