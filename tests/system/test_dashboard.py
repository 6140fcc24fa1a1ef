"""The sample dashboard has data, and the alerts are read, by a real Prometheus beside real orders."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import pytest_asyncio
import yaml

from tools.dashboard.stage import DASHBOARDS, Shown, dashboard, grafana, shown

on_one_loop = pytest.mark.asyncio(loop_scope="module")

RULES: Final = yaml.safe_load((DASHBOARDS.parent / "prometheus/alerts.yaml").read_text())["groups"]
WITHIN_S: Final = 120
WITH_DATA: Final = {
    "Running",
    "Started and ended",
    "From acceptance to end",
    "Steps by result",
    "Step duration, p95",
    "Calls",
    "Circuit breakers",
    "Requests",
    "POST /orders",
}
"""Panels that show something wherever orders are sold."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def look(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shown]:
    folder = tmp_path_factory.mktemp("dashboard")
    folder.chmod(0o755)
    async with shown(folder, None) as found:
        yield found


async def asked(look: Shown, path: str, **parameters: str) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=look.prometheus_url, timeout=30) as client:
        answer = await client.get(f"/api/v1/{path}", params=parameters)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["data"]
    return found


async def empty_panels(look: Shown) -> set[str]:
    """Panels without anything to show; every query of the dashboard is asked."""
    empty = set()
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            query = target["expr"].replace("$__rate_interval", "1m")
            if not (await asked(look, "query", query=query))["result"]:
                empty.add(panel["title"])
    return empty


@on_one_loop
async def test_every_panel_is_answered_and_those_about_orders_show_something(look: Shown) -> None:
    assert {panel["title"] for panel in dashboard()["panels"]} >= WITH_DATA
    async with asyncio.timeout(WITHIN_S):
        while empty := await empty_panels(look) & WITH_DATA:
            await asyncio.sleep(1)
    assert empty == set()


@on_one_loop
async def test_every_alert_is_read_and_evaluated(look: Shown) -> None:
    async with asyncio.timeout(WITHIN_S):
        while True:
            rules = [rule for group in (await asked(look, "rules"))["groups"] for rule in group["rules"]]
            if rules and all(rule["health"] != "unknown" for rule in rules):
                break
            await asyncio.sleep(0.5)
    assert {rule["name"] for rule in rules} == {rule["alert"] for group in RULES for rule in group["rules"]}
    assert {rule["health"] for rule in rules} == {"ok"}


@pytest.mark.parametrize(("name", "arguments"), [("grafana", ["server"]), ("grafana-server", [])])
def test_grafana_is_found_by_either_of_its_names(
    name: str, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/defaults.ini").touch()
    program = tmp_path / "bin" / name
    program.parent.mkdir()
    program.touch()
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(program.parent))
    assert grafana() == [str(program), *arguments, "--homepath", str(tmp_path)]


async def test_without_grafana_one_is_told_so_before_anything_is_started() -> None:
    there = {**os.environ, "PATH": "/nowhere"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tools.dashboard"), env=there, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    assert process.returncode == 1
    assert b"install Grafana" in said
