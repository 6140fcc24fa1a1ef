"""What `kubectl kustomize` makes of deploy/kubernetes, and what the schemas of Kubernetes say of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from tools.benchmarks.environment import PROJECT
from tools.containers.kubectl import ENVIRONMENT, kubectl

FOLDER: Final = PROJECT / "deploy/kubernetes"

SERVICES: Final = ("base", "overlays/high-availability")
ALL: Final = (*SERVICES, "setup", "platform")

Manifest = dict[str, Any]

_ROUND_TRIP: Final = """
import json, sys
from cloudcoil.models.keda import v1alpha1
for given in json.load(sys.stdin):
    model = getattr(v1alpha1, given["kind"]).model_validate(given)
    kept = model.model_dump(mode="json", by_alias=True, exclude_unset=True)
    if kept != given:
        print(given["kind"], given["metadata"]["name"], "is understood as", kept)
"""


@cache
def rendered(folder: str) -> list[Manifest]:
    """The manifests of a folder of deploy/kubernetes; a warning of kustomize is an error here."""
    done = subprocess.run(
        [kubectl(), "kustomize", FOLDER / folder], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return list(yaml.safe_load_all(done.stdout))


def findings(manifests: Sequence[Manifest], version: str) -> list[str]:
    """What is wrong with them for a version of Kubernetes; a key that it does not know is wrong, too."""
    validate = str(Path(ENVIRONMENT.python).with_name("kubernetes-validate"))
    given = yaml.safe_dump_all(manifests)
    done = subprocess.run(
        [validate, "--kubernetes-version", version, "--strict", "-"],
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    sys.stderr.write(done.stderr)
    assert len(lines) == len(manifests), done.stdout + done.stderr
    return [line for line in lines if not line.startswith("INFO")]


def misunderstood(scaling: Sequence[Manifest]) -> str:
    """What KEDA's own models make of its resources, where that is not what was written; empty when it is."""
    done = subprocess.run(
        [ENVIRONMENT.python, "-c", _ROUND_TRIP],
        input=json.dumps(scaling),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def of_kind(manifests: Sequence[Manifest], *kinds: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def pods(manifests: Sequence[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """The template of each Deployment and Job, with the name of that."""
    for manifest in of_kind(manifests, "Deployment", "Job"):
        yield manifest["metadata"]["name"], manifest["spec"]["template"]


def containers(template: Manifest) -> list[Manifest]:
    return [*template["spec"].get("initContainers", []), *template["spec"]["containers"]]


def matches(selector: Manifest, labels: dict[str, str]) -> bool:
    """Whether a selector (labels, or expressions with In) chooses what has these labels."""
    plain = all(labels.get(name) == value for name, value in selector.get("matchLabels", {}).items())
    return plain and all(
        labels.get(each["key"]) in each["values"]
        for each in selector.get("matchExpressions", [])
        if each["operator"] == "In"
    )
