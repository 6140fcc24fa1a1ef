"""The manifests are what Kubernetes understands, to the last key."""

from __future__ import annotations

import copy
from typing import Any, Final

import pytest

from tests.manifests.rendering import ALL, Manifest, findings, misunderstood, of_kind, rendered

pytestmark = pytest.mark.manifests

VERSIONS: Final = ("1.30", "1.34", "1.37")
"""The oldest that knows every key, the one whose `kubectl` renders, the newest whose schemas are known."""

WITHOUT_SCHEMA: Final = {
    ("platform", "Cluster"),
    ("platform", "RabbitmqCluster"),
    ("platform", "User"),
    ("platform", "Permission"),
    ("platform", "TopicPermission"),
    ("overlays/high-availability", "ScaledObject"),
    ("overlays/high-availability", "TriggerAuthentication"),
}
"""Resources of operators. KEDA's are held against its models below; of the others no schema is here."""


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("folder", ALL)
def test_every_manifest_is_valid(folder: str, version: str) -> None:
    manifests = [each for each in rendered(folder) if (folder, each["kind"]) not in WITHOUT_SCHEMA]
    assert findings(manifests, version) == []


@pytest.mark.parametrize("folder", ALL)
def test_what_has_no_schema_is_known(folder: str) -> None:
    unknown = [each for each in rendered(folder) if (folder, each["kind"]) in WITHOUT_SCHEMA]
    said = findings(unknown, VERSIONS[-1])
    assert all("Couldn't find schema" in line for line in said)
    assert len(said) == len(unknown)


def _renamed(manifest: Manifest, path: tuple[str | int, ...], name: str) -> Manifest:
    made = copy.deepcopy(manifest)
    inner: Any = made
    for step in path[:-1]:
        inner = inner[step]
    inner[name] = inner.pop(path[-1])
    return made


POD: Final = ("spec", "template", "spec")
CONTAINER: Final = (*POD, "containers", 0)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ((*POD, "terminationGracePeriodSeconds"), "terminationGracePeriodSecond"),
        ((*POD, "securityContext", "runAsNonRoot"), "runAsNonroot"),
        ((*CONTAINER, "readinessProbe"), "readynessProbe"),
        ((*CONTAINER, "livenessProbe", "failureThreshold"), "failureTreshold"),
        ((*CONTAINER, "securityContext", "readOnlyRootFilesystem"), "readOnlyRootFileSystem"),
        ((*CONTAINER, "envFrom"), "envfrom"),
        (("spec", "strategy"), "updateStrategy"),
    ],
)
def test_a_misspelt_key_is_noticed(path: tuple[str | int, ...], name: str) -> None:
    deployment = of_kind(rendered("base"), "Deployment")[0]
    assert findings([_renamed(deployment, path, name)], VERSIONS[-1])


def test_keda_understands_its_resources_as_they_are_meant() -> None:
    scaling = of_kind(rendered("overlays/high-availability"), "ScaledObject", "TriggerAuthentication")
    assert len(scaling) == 5
    assert misunderstood(scaling) == ""
    assert misunderstood([_renamed(scaling[0], ("spec", "maxReplicaCount"), "maxReplicas")])
