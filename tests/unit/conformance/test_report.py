"""What conformance reads and writes: example files, the table's conclusion, JSON and JUnit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

import pytest

from contracts.routing import PARTICIPANTS
from oms.cli.conformance import _FORMAT
from oms.cli.conformance_view import conclusion
from oms.conformance.built_in import built_in
from oms.conformance.junit import write_junit
from oms.conformance.repertoire import Repertoire, read_repertoire
from oms.conformance.verdict import Finding, Report, Result
from oms.failures import Failure

WORK: Final = {"step": "a", "command": "Do", "success": {"type": "Done", "key": "x.done"}}
REPORT: Final = Report(
    "loyalty",
    [
        Result("first command", "Open", ("P1",)),
        Result("again", "Open", ("P2",), (Finding("P2", "Open", "the same", "a\x00b <&>"),)),
        Result("killed", "Open", ("S2",), note="--restart was not given"),
    ],
)


@pytest.mark.parametrize("name", PARTICIPANTS)
def test_our_own_participants_need_no_file(name: str) -> None:
    assert built_in(name).works


def test_a_participant_of_others_needs_a_file() -> None:
    with pytest.raises(Failure, match="for loyalty give --commands FILE"):
        built_in("loyalty")


def test_the_example_in_the_help_is_a_file_that_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "loyalty.json"
    path.write_text(_FORMAT.split("\n\n")[1])
    assert read_repertoire(path).works[0].command == "OpenAccount"


def test_the_example_in_the_documentation_can_be_read() -> None:
    page = (Path(__file__).parents[3] / "docs/participants.md").read_text()
    block = page.split("```json\n")[1].split("```")[0]
    assert Repertoire.model_validate(json.loads(block)).works[0].step == "account"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"),
        ('{"works": []}', "works"),
        (json.dumps({"works": [{**WORK, "sucess": 1}]}), "works.0.sucess"),
        (json.dumps({"works": [{**WORK, "body": {"saga_id": "x"}}]}), "saga_id are filled in"),
        (json.dumps({"works": [WORK, WORK]}), "each step may stand there once"),
        (json.dumps({"works": [{**WORK, "after": ["b"]}]}), "a is after b, which must stand before it"),
    ],
)
def test_a_wrong_file_is_refused_by_the_name_of_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "examples.json"
    path.write_text(text)
    with pytest.raises(Failure, match=said):
        read_repertoire(path)


def test_junit_counts_and_tells_everything(tmp_path: Path) -> None:
    write_junit([REPORT], tmp_path / "out.xml")
    [suite] = ET.parse(tmp_path / "out.xml").getroot()
    assert [suite.attrib[name] for name in ("tests", "failures", "skipped")] == ["3", "1", "1"]
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.text is not None
    for words in (
        "rule P2",
        "sent: Open",
        "expected: the same",
        "a\N{REPLACEMENT CHARACTER}b <&>",
        "look at",
    ):
        assert words in failure.text


def test_the_conclusion_and_the_json_agree() -> None:
    assert "1 finding with loyalty: 1 passed, 1 failed, 1 not tried" in conclusion(REPORT).plain
    assert REPORT.as_json()["ok"] is False
    assert [each["verdict"] for each in REPORT.as_json()["checks"]] == ["passed", "failed", "not tried"]
