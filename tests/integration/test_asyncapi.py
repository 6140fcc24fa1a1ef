"""The official parser of AsyncAPI reads the document that is committed, and finds nothing wrong with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import pytest

from contracts.asyncapi import asyncapi
from oms.definitions import traffic_of
from oms.embedded.child import ServerError
from orchestrator.core.definition import StepPolicy
from tests.support.enrolment import enrolment
from tests.support.servers import PROJECT
from tools.nodejs import Node, find_node, run

CHECKER: Final = PROJECT / "tools/asyncapi"
DOCUMENT: Final = PROJECT / "contracts/generated/asyncapi.json"


@pytest.fixture(scope="module")
def node() -> Node:
    try:
        return find_node()
    except ServerError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="module")
def checker(node: Node) -> Path:
    try:
        return node.installed(CHECKER) / "check.js"
    except ServerError as error:
        pytest.fail(str(error), pytrace=False)


def test_the_committed_document_is_sound(node: Node, checker: Path) -> None:
    said = run([node.node, str(checker), str(DOCUMENT)], PROJECT)
    counted = [len(asyncapi()[part]) for part in ("channels", "operations")]
    assert f"{counted[0]} channels, {counted[1]} operations" in said


def test_the_document_of_a_saga_of_somebody_else_is_sound(node: Node, checker: Path, tmp_path: Path) -> None:
    document = asyncapi(traffic_of([enrolment(StepPolicy())]))
    assert {"campus.commands", "bursar.commands"} <= set(document["channels"])
    written = tmp_path / "asyncapi.json"
    written.write_text(json.dumps(document))
    said = run([node.node, str(checker), str(written)], PROJECT)
    assert f"{len(document['channels'])} channels" in said


def test_a_document_with_a_link_that_leads_nowhere_is_not(node: Node, checker: Path, tmp_path: Path) -> None:
    document = asyncapi()
    next(iter(document["operations"].values()))["channel"]["$ref"] = "#/channels/nowhere"
    wrong = tmp_path / "asyncapi.json"
    wrong.write_text(json.dumps(document))
    with pytest.raises(ServerError, match="failed"):
        run([node.node, str(checker), str(wrong)], PROJECT)
