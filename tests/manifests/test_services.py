"""The manifests belong together, and to the program: variables, ports, paths, secrets, rights."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any, Final

import pytest
from typer.testing import CliRunner

from contracts.routing import OUTCOMES_QUEUE, PARTICIPANTS, command_queue
from oms.cli.app import app
from oms.variables import KNOWN
from orchestrator.http.crowd import PROBES
from tests.manifests.rendering import (
    FOLDER,
    SERVICES,
    Manifest,
    containers,
    matches,
    of_kind,
    pods,
    rendered,
)
from tools.benchmarks.environment import PROJECT

pytestmark = pytest.mark.manifests

OURS: Final = (*SERVICES, "setup")
LIBPQ: Final = {"PGSERVICE", "PGSERVICEFILE"}
CONNECTIONS: Final = {"api": 18, "orchestrator": 11, "inventory": 12, "payment": 12, "shipping": 12}
"""At most, by default: docs/production.md, "Connections"."""


def own(container: Manifest) -> bool:
    return "oms-saga-orchestrator" in container["image"]


def settings(manifests: list[Manifest]) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in of_kind(manifests, "ConfigMap"):
        if each["metadata"]["name"].startswith("settings-"):
            found |= each["data"]
    return found


@pytest.mark.parametrize("folder", OURS)
def test_every_variable_is_known_to_the_program(folder: str) -> None:
    manifests = rendered(folder)
    assert settings(manifests).keys() <= KNOWN
    for name, template in pods(manifests):
        for container in containers(template):
            variables = {each["name"] for each in container.get("env", [])}
            assert variables <= (KNOWN if own(container) else LIBPQ), name


@pytest.mark.parametrize("folder", OURS)
def test_no_secret_stands_in_a_variable_and_every_file_is_mounted(folder: str) -> None:
    for name, template in pods(rendered(folder)):
        volumes = {each["name"]: each for each in template["spec"]["volumes"]}
        for container in containers(template):
            mounts = {each["mountPath"]: volumes[each["name"]] for each in container["volumeMounts"]}
            for each in container.get("env", []):
                assert "valueFrom" not in each, name
                assert "://" not in each["value"], name
                if each["name"].endswith("FILE"):
                    volume = mounts[each["value"].rpartition("/")[0]]
                    assert volume["secret"]["defaultMode"] == 0o440
            assert all(each["readOnly"] for each in container["volumeMounts"])


@pytest.mark.parametrize("folder", OURS)
def test_every_secret_that_is_mounted_is_made_in_the_walk_through(folder: str) -> None:
    page = (PROJECT / "docs/kubernetes.md").read_text()
    for _, template in pods(rendered(folder)):
        keys = {
            each["value"].rpartition("/")[2]
            for container in containers(template)
            for each in container.get("env", [])
            if each["name"].endswith("_FILE")
        }
        for volume in template["spec"]["volumes"]:
            if "secret" in volume:
                assert volume["secret"]["secretName"] in page
        assert all(key in page for key in keys)


@pytest.mark.parametrize("folder", OURS)
def test_every_command_is_one_of_the_program(folder: str) -> None:
    for name, template in pods(rendered(folder)):
        for container in filter(own, containers(template)):
            asked = CliRunner().invoke(app, [*container["args"], "--help"])
            assert asked.exit_code == 0, (name, asked.output)


@pytest.mark.parametrize("folder", SERVICES)
def test_every_port_and_path_that_is_asked_for_is_served(folder: str) -> None:
    manifests = rendered(folder)
    health = settings(manifests)["OMS_HEALTH_PORT"]
    for name, template in pods(manifests):
        (container,) = containers(template)
        (port,) = container["ports"]
        arguments = container["args"]
        served = arguments[arguments.index("--port") + 1] if "--port" in arguments else health
        assert str(port["containerPort"]) == served, name
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            asked = container[probe]["httpGet"]
            assert asked["port"] == port["name"]
            assert asked["path"] in PROBES
    for service in of_kind(manifests, "Service"):
        chosen = [template for _, template in pods(manifests) if selected(service, template)]
        assert len(chosen) == 1, service["metadata"]["name"]
        names = {port["name"] for port in containers(chosen[0])[0]["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= names


def selected(service: Manifest, template: Manifest) -> bool:
    return matches({"matchLabels": service["spec"]["selector"]}, template["metadata"]["labels"])


@pytest.mark.parametrize("folder", SERVICES)
def test_the_console_asks_services_that_are_there(folder: str) -> None:
    manifests = rendered(folder)
    ports = {
        each["metadata"]["name"]: each["spec"]["ports"][0]["port"] for each in of_kind(manifests, "Service")
    }
    for each in settings(manifests)["OMS_HEALTH_URLS"].split(","):
        name, url = each.split("=")
        assert url == f"http://{name}:{ports[name]}"


@pytest.mark.parametrize("folder", SERVICES)
def test_a_pod_is_given_more_time_to_end_than_its_process_takes(folder: str) -> None:
    manifests = rendered(folder)
    bound = int(settings(manifests)["OMS_STOP_WITHIN_S"])
    for name, template in pods(manifests):
        (container,) = containers(template)
        paused = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        assert template["spec"]["terminationGracePeriodSeconds"] >= bound + paused + 5, name


@pytest.mark.parametrize("folder", OURS)
def test_every_pod_keeps_to_the_restricted_standard(folder: str) -> None:
    for name, template in pods(rendered(folder)):
        spec = template["spec"]
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        assert all(volume.keys() <= {"name", "secret", "configMap"} for volume in spec["volumes"])
        for container in containers(template):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
            assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("folder", SERVICES)
def test_of_every_service_one_at_most_is_taken_away_at_once(folder: str) -> None:
    manifests = rendered(folder)
    for name, template in pods(manifests):
        labels = template["metadata"]["labels"]
        budgets = [
            each
            for each in of_kind(manifests, "PodDisruptionBudget")
            if matches(each["spec"]["selector"], labels)
        ]
        assert [budget["spec"]["maxUnavailable"] for budget in budgets] == [1], name
        for spread in template["spec"]["topologySpreadConstraints"]:
            assert matches(spread["labelSelector"], labels)
    for deployment in of_kind(manifests, "Deployment"):
        assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


@pytest.mark.parametrize("folder", OURS)
def test_nobody_is_reached_or_reaches_out_except_as_said(folder: str) -> None:
    manifests = rendered(folder)
    policies = of_kind(manifests, "NetworkPolicy")
    for name, template in pods(manifests):
        about = [
            each["spec"]
            for each in policies
            if matches(each["spec"]["podSelector"], template["metadata"]["labels"])
        ]
        assert {kind for spec in about for kind in spec["policyTypes"]} == {"Ingress", "Egress"}, name
        rules = [rule for spec in about for rule in (*spec.get("ingress", []), *spec.get("egress", []))]
        assert all((rule.get("from") or rule.get("to")) and rule.get("ports") for rule in rules)
        outside = [rule for rule in rules if any("ipBlock" in peer for peer in rule.get("to", []))]
        assert bool(outside) == (name in ("payment", "shipping", "orchestrator"))  # the last: webhooks


def test_the_policies_choose_the_servers_of_the_platform() -> None:
    kinds = {each["kind"]: each["metadata"] for each in rendered("platform")}
    text = (FOLDER / "base/network.yaml").read_text() + (FOLDER / "setup/network.yaml").read_text()
    assert text.count(f"cnpg.io/cluster: {kinds['Cluster']['name']}") == 2
    assert text.count(f"app.kubernetes.io/name: {kinds['RabbitmqCluster']['name']}") == 2
    assert text.count(f"kubernetes.io/metadata.name: {kinds['Cluster']['namespace']}") == 4


def test_the_setup_runs_in_the_order_of_an_upgrade() -> None:
    ((_, template),) = list(pods(rendered("setup")))
    order = [container["name"] for container in containers(template)]
    assert order == ["roles", "migrate", "rights", "broker-setup"]
    (roles,) = of_kind(rendered("setup"), "ConfigMap")
    assert roles["data"]["roles.sql"] == (PROJECT / "deploy/postgresql/roles.sql").read_text()


def test_the_brokers_users_have_the_rights_of_everywhere_else() -> None:
    platform = rendered("platform")
    given = json.loads((PROJECT / "deploy/rabbitmq/permissions.json").read_text())
    rights = {each["spec"]["user"]: each["spec"] for each in of_kind(platform, "Permission")}
    nothing = dict.fromkeys(("configure", "write", "read"), "^$")
    assert rights.pop("oms_scaling")["permissions"] == nothing
    assert {user: spec["permissions"] for user, spec in rights.items()} == {
        each["user"]: {name: each[name] for name in nothing} for each in given["permissions"]
    }
    topics = {
        each["spec"]["user"]: each["spec"]["permissions"] for each in of_kind(platform, "TopicPermission")
    }
    assert topics == {
        each["user"]: {name: each[name] for name in ("exchange", "write", "read")}
        for each in given["topic_permissions"]
    }
    users = {each["metadata"]["name"].replace("-", "_") for each in of_kind(platform, "User")}
    assert users == {*rights, "oms_scaling"}


def test_the_databases_roles_are_those_of_everywhere_else() -> None:
    (cluster,) = of_kind(rendered("platform"), "Cluster")
    sql = (PROJECT / "deploy/postgresql/roles.sql").read_text()
    made = set(re.findall(r"'(oms_\w+)'", sql.partition("LOOP")[0]))
    assert {role["name"] for role in cluster["spec"]["managed"]["roles"]} == made - {"oms_sandbox"}


def scaled() -> dict[str, Any]:
    return {
        each["metadata"]["name"]: each["spec"] for each in of_kind(rendered(SERVICES[-1]), "ScaledObject")
    }


def test_each_service_grows_with_the_queue_that_it_reads() -> None:
    queues = {name: command_queue(name) for name in PARTICIPANTS} | {"orchestrator": OUTCOMES_QUEUE}
    asked = {name: spec["triggers"][0]["metadata"]["queueName"] for name, spec in scaled().items()}
    assert asked == queues
    for deployment in of_kind(rendered(SERVICES[-1]), "Deployment"):
        assert ("replicas" in deployment["spec"]) == (deployment["metadata"]["name"] not in queues)


def test_the_database_has_room_for_all_replicas_at_once() -> None:
    (cluster,) = of_kind(rendered("platform"), "Cluster")
    room = int(cluster["spec"]["postgresql"]["parameters"]["max_connections"])
    most = {name: spec["maxReplicaCount"] for name, spec in scaled().items()} | {"api": 3}
    surge = 1
    assert sum((most[name] + surge) * each for name, each in CONNECTIONS.items()) + 20 < room


def test_the_image_is_this_version() -> None:
    version = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
    images = {
        container["image"]
        for folder in OURS
        for _, template in pods(rendered(folder))
        for container in containers(template)
        if own(container)
    }
    assert {image.rpartition(":")[2] for image in images} == {version}
