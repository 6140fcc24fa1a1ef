"""Dashboard, alerts and runbook: they name only what is there, and nothing that matters is missing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from contracts.routing import PARTICIPANTS
from messaging.measures import Kind, Measure
from messaging.transport import Receipt
from oms.observing.metrics import MEASURES
from orchestrator.core.state import IncidentKind
from orchestrator.queries.webhooks import STANDINGS
from orchestrator.sagas.order_fulfillment import END_STATUSES
from participants.breaker import BreakerState, CallResult

ROOT: Final = Path(__file__).parents[3]
RUNBOOK: Final = (ROOT / "docs/runbook.md").read_text()
RULES: Final[dict[str, Any]] = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yaml").read_text())
SCRAPE: Final[dict[str, Any]] = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yaml").read_text())
DASHBOARD: Final[dict[str, Any]] = json.loads((ROOT / "deploy/grafana/dashboard.json").read_text())
ALERTS: Final[list[dict[str, Any]]] = [rule for group in RULES["groups"] for rule in group["rules"]]

BY_NAME: Final = {measure.name: measure for measure in MEASURES}
MEASURED: Final = ("api", "orchestrator", "participant")
OF_THE_SCRAPE: Final = {"job", "instance"}
KNOWN_VALUES: Final = {
    "kind": {kind.value for kind in IncidentKind},
    "receipt": {receipt.value for receipt in Receipt},
    "state": {*(state.value for state in BreakerState), *STANDINGS},
    "service": {"orchestrator", *PARTICIPANTS},
    "result": {*(status.value for status in END_STATUSES), *(result.value for result in CallResult)},
}
SELECTOR: Final = re.compile(r"\b(oms_\w+|up)(?:\{([^}]*)\})?")
MATCHER: Final = re.compile(r"""(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)\"""")
GROUPING: Final = re.compile(r"\bby \(([^)]*)\)")
PLACEHOLDER: Final = re.compile(r"\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}")


PANELS: Final[list[dict[str, Any]]] = [each for each in DASHBOARD["panels"] if each["type"] != "row"]
EXPRESSIONS: Final = [
    *((rule["alert"], rule["expr"]) for rule in ALERTS),
    *((panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]),
]


def measure_of(name: str) -> Measure:
    """The family that a series belongs to. Raises KeyError where there is none."""
    if name in BY_NAME and BY_NAME[name].kind is not Kind.HISTOGRAM:
        return BY_NAME[name]
    family, part = name.rpartition("_")[::2]
    measure = BY_NAME[family]
    if measure.kind is not Kind.HISTOGRAM or part not in ("bucket", "sum", "count"):
        raise KeyError(name)
    return measure


def labels_of(name: str) -> set[str]:
    if name == "up":
        return OF_THE_SCRAPE
    bucket = {"le"} if name.endswith("_bucket") else set()
    return {*measure_of(name).labels, *OF_THE_SCRAPE, *bucket}


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS)
def test_an_expression_names_only_metrics_and_labels_that_there_are(where: str, expression: str) -> None:
    series = SELECTOR.findall(expression)
    assert series, where
    offered: set[str] = set()
    for name, matchers in series:
        labels = labels_of(name)
        offered |= labels
        for label, _, value in MATCHER.findall(matchers):
            assert label in labels, f"{name} has no label {label}"
            if label in KNOWN_VALUES and value.isidentifier():
                assert value in KNOWN_VALUES[label], f"{label} is never {value}"
    for grouping in GROUPING.findall(expression):
        assert {label.strip() for label in grouping.split(",")} <= offered


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_legend_names_only_labels_that_are_left(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        grouped = {label.strip() for each in GROUPING.findall(target["expr"]) for label in each.split(",")}
        assert set(PLACEHOLDER.findall(target["legendFormat"])) <= grouped


def test_a_metric_that_is_not_there_would_be_noticed() -> None:
    for name in ("oms_sagas_gone_total", "oms_saga_duration_seconds", "oms_sagas_active_count"):
        with pytest.raises(KeyError):
            measure_of(name)


def test_the_dashboard_is_whole() -> None:
    identities = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(identities)) == len(identities)
    shown = {
        measure_of(name).name for _, text in EXPRESSIONS for name, _ in SELECTOR.findall(text) if name != "up"
    }
    missing = {measure.name for measure in MEASURES} - shown - {"oms_build_info"}
    assert missing == set(), "these need a panel in deploy/grafana/dashboard.json"


# -- alerts -----------------------------------------------------------------------------------------------


def test_alerts_are_read_by_the_scrape_example() -> None:
    assert SCRAPE["rule_files"] == ["alerts.yaml"]
    jobs = {job["job_name"] for job in SCRAPE["scrape_configs"]}
    assert all(job.startswith("oms-") for job in jobs)
    assert "oms-api" in jobs


def test_every_replica_of_the_compose_file_is_scraped_for_itself() -> None:
    """A name that stands for several addresses would be asked at one of them, another one each time."""
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    measured = {name for name, each in services.items() if each.get("command", [""])[0] in MEASURED}
    asked = {job["job_name"]: job["dns_sd_configs"] for job in SCRAPE["scrape_configs"]}
    assert asked == {
        f"oms-{name}": [{"names": [name], "type": "A", "port": 8000 if name == "api" else 8080}]
        for name in measured
    }


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_says_how_bad_it_is_and_where_help_is(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"]
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert page == "docs/runbook.md"
    assert anchor in SECTIONS, anchor
    assert rule["alert"] in SECTIONS[anchor], "the section does not name its alert"


def test_every_kind_of_incident_wakes_somebody_or_opens_a_ticket() -> None:
    expressions = " ".join(rule["expr"] for rule in ALERTS)
    assert [kind for kind in IncidentKind if f'kind="{kind}"' not in expressions] == []


# -- the runbook ------------------------------------------------------------------------------------------


def _sections() -> dict[str, str]:
    """The runbook's sections by the anchors that their headings get."""
    parts = re.split(r"^#{2,4} (.+)$", RUNBOOK, flags=re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-"): text
        for heading, text in zip(parts[1::2], parts[2::2], strict=True)
    }


SECTIONS: Final = _sections()
TROUBLES: Final = (
    "the-broker-is-down",
    "the-database-is-down",
    "a-provider-is-down",
    "an-outbox-grows",
    "dead-letters-pile-up",
    "a-saga-is-stuck-before-the-point-of-no-return",
    "a-saga-is-stuck-after-the-point-of-no-return",
    "unknown-definition-version",
    "the-audit-finds-an-offence",
)


@pytest.mark.parametrize("anchor", [*(kind.value for kind in IncidentKind), *TROUBLES])
def test_the_runbook_says_what_it_means_how_to_see_it_and_what_to_do(anchor: str) -> None:
    section = SECTIONS[anchor]
    for part in ("**What it means.**", "**How to see it.**", "**What to do.**", "**What not to do.**"):
        assert part in section, part


def test_the_runbook_names_only_metrics_and_alerts_that_there_are() -> None:
    assert {name for name in re.findall(r"\boms_\w+", RUNBOOK) if name not in BY_NAME} == set()
    alerts = {rule["alert"] for rule in ALERTS}
    assert set(re.findall(r"\bOms[A-Z]\w+", RUNBOOK)) == alerts


def test_the_runbook_names_only_commands_that_there_are() -> None:
    from typer.main import get_command

    from oms.cli.app import app

    root: Any = get_command(app)
    for line in re.findall(r"^\s*(?:\.venv/bin/)?oms ([a-z-]+(?: [a-z-]+)?)", RUNBOOK, flags=re.MULTILINE):
        names = line.split()
        command = root.commands[names[0]]
        if hasattr(command, "commands"):
            assert names[1] in command.commands, line
