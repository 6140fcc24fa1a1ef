"""What the dashboard is looked at with: the system with sample orders, Prometheus, Grafana if it is there."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import yaml

from oms.api_client import ApiClient
from oms.demo.play import demo_settings, order_samples
from oms.embedded.child import ServerError, end_server, last_words, start_server
from oms.embedded.ports import free_ports
from oms.observing.logs import configure_logs
from oms.processes import stack
from tools.servers.debian import missing, unpacked

PROJECT: Final = Path(__file__).parents[2]
DASHBOARDS: Final = PROJECT / "deploy/grafana"
CACHE: Final = PROJECT / ".oms/servers"
SCRAPE_EVERY_S: Final = 2
READY_WITHIN_S: Final = 120.0
ENDING: Final = ((signal.SIGTERM, 10.0),)

GRAFANA: Final = (("grafana", "server"), ("grafana-server",))
"""How it is started, as of version 9.4 and before."""

HOMES: Final = ("/usr/share/grafana", "/usr/local/share/grafana")
"""Where packages put what Grafana is made of; an archive has it two levels above its program."""


@dataclass(frozen=True, slots=True)
class Shown:
    """Where everything is to be looked at."""

    api_url: str
    admin_token: str
    prometheus_url: str
    dashboard_url: str | None


def grafana() -> list[str] | None:
    """How Grafana is started on this machine; None where there is none."""
    for name, *arguments in GRAFANA:
        if (found := shutil.which(name)) is not None:
            own = Path(found).resolve().parents[1]
            home = next(
                (each for each in (str(own), *HOMES) if (Path(each) / "conf/defaults.ini").exists()), None
            )
            return [found, *arguments, *(("--homepath", home) if home else ())]
    return None


def prometheus() -> list[str]:
    """Prometheus of this machine, else of its Debian, unpacked. Raises ServerError where it cannot be had."""
    if installed := shutil.which("prometheus"):
        return [installed]
    tree = unpacked("prometheus", CACHE, lambda options: missing("prometheus", options), lambda _: None)
    return [str(tree / "usr/bin/prometheus"), f"--web.local-assets={tree / 'usr/share/prometheus/web'}"]


@asynccontextmanager
async def shown(folder: Path, started_by: Sequence[str] | None) -> AsyncIterator[Shown]:
    """Everything up, with one round of sample orders; Grafana where it says how that is started."""
    settings = demo_settings()
    configure_logs(settings, "demo")
    async with AsyncExitStack() as exits:
        running = await exits.enter_async_context(stack(settings, "127.0.0.1", 0, folder / "data"))
        async with ApiClient(running.api_url, running.admin_token) as api:
            await order_samples(api)
        prometheus_port, grafana_port = free_ports(2)
        url, page = (f"http://127.0.0.1:{port}" for port in (prometheus_port, grafana_port))
        command = _prometheus(folder, running.api_url, prometheus_port)
        await exits.enter_async_context(_server(folder / "prometheus", command, f"{url}/-/ready"))
        if started_by is not None:
            told = _provisioned(folder / "grafana", url, grafana_port)
            health = f"{page}/api/health"
            await exits.enter_async_context(_server(folder / "grafana", started_by, health, told))
        shows = None if started_by is None else f"{page}/d/{dashboard()['uid']}"
        yield Shown(running.api_url, running.admin_token, url, shows)


def dashboard() -> dict[str, Any]:
    """The dashboard as it is imported."""
    found: dict[str, Any] = json.loads((DASHBOARDS / "dashboard.json").read_text())
    return found


def _prometheus(folder: Path, api_url: str, port: int) -> list[str]:
    home = folder / "prometheus"
    home.mkdir()
    job = {"job_name": "oms", "static_configs": [{"targets": [api_url.removeprefix("http://")]}]}
    asked = {
        "global": {"scrape_interval": f"{SCRAPE_EVERY_S}s", "evaluation_interval": f"{SCRAPE_EVERY_S}s"},
        "rule_files": [str(PROJECT / "deploy/prometheus/alerts.yaml")],
        "scrape_configs": [job],
    }
    (home / "prometheus.yaml").write_text(yaml.safe_dump(asked))
    return [
        *prometheus(),
        f"--config.file={home / 'prometheus.yaml'}",
        f"--storage.tsdb.path={home / 'series'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]


def _provisioned(home: Path, prometheus_url: str, port: int) -> dict[str, str]:
    """Write what Grafana reads at its start; the variables that tell it so."""
    source = {
        "name": "Prometheus",
        "type": "prometheus",
        "access": "proxy",
        "url": prometheus_url,
        "isDefault": True,
        "jsonData": {"timeInterval": f"{SCRAPE_EVERY_S}s"},
    }
    provider = {"name": "oms", "type": "file", "options": {"path": str(DASHBOARDS)}}
    for folder, name, asked in (
        ("datasources", "datasources", source),
        ("dashboards", "providers", provider),
    ):
        place = home / "provisioning" / folder / "oms.yaml"
        place.parent.mkdir(parents=True)
        place.write_text(yaml.safe_dump({"apiVersion": 1, name: [asked]}))
    return {
        "GF_SERVER_HTTP_ADDR": "127.0.0.1",
        "GF_SERVER_HTTP_PORT": str(port),
        "GF_PATHS_DATA": str(home / "data"),
        "GF_PATHS_LOGS": str(home / "logs"),
        "GF_PATHS_PLUGINS": str(home / "plugins"),
        "GF_PATHS_PROVISIONING": str(home / "provisioning"),
        "GF_AUTH_ANONYMOUS_ENABLED": "true",
        "GF_ANALYTICS_REPORTING_ENABLED": "false",
        "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
    }


@asynccontextmanager
async def _server(
    home: Path, argv: Sequence[str], url: str, told: Mapping[str, str] | None = None
) -> AsyncIterator[None]:
    """Somebody else's server, from when it answers until the end. Raises ServerError where it does not."""
    log, name = home / "server.log", Path(argv[0]).name
    process = start_server(argv, env={**os.environ, **(told or {})}, log=log, death_signal=signal.SIGTERM)
    try:
        try:
            async with aiohttp.ClientSession() as session, asyncio.timeout(READY_WITHIN_S):
                while not await _answers(session, url):
                    if process.poll() is not None:
                        raise ServerError(f"{name} ended by itself: {last_words(log)}")
                    await asyncio.sleep(0.2)
        except TimeoutError:
            raise ServerError(f"{name} does not answer: {last_words(log)}") from None
        yield
    finally:
        await asyncio.to_thread(end_server, process, ENDING)


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False
