"""docs/wire.md says what the code says now, about everything that travels."""

from __future__ import annotations

import json
import re

import pytest

from contracts.commands import COMMANDS, INSTRUCTIONS
from contracts.events import EVENTS
from participants.fence import State
from tools.wire_page import PAGE, RECORD, ROOT, rendered

PAGE_TEXT = (ROOT / PAGE).read_text()
RECORDED = json.loads((ROOT / RECORD).read_text())


def test_the_generated_parts_are_what_the_code_says_now() -> None:
    """Run `make documents` when this fails."""
    assert rendered(PAGE_TEXT, RECORDED) == PAGE_TEXT


@pytest.mark.parametrize("name", [*COMMANDS, *INSTRUCTIONS, *EVENTS])
def test_every_message_stands_on_the_page_with_its_schema(name: str) -> None:
    kind = "events" if name in EVENTS else "commands"
    assert f"(../contracts/generated/{kind}/{name}.schema.json)" in PAGE_TEXT


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\((\.\./[^)#]+)\)", PAGE_TEXT)
    assert links
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []


def test_every_state_of_the_ledger_stands_on_the_page() -> None:
    assert [state for state in State if f"| `{state.value}` |" not in PAGE_TEXT] == []


def test_a_part_that_nobody_makes_is_no_part() -> None:
    with pytest.raises(KeyError):
        rendered("<!-- begin: nothing -->\n<!-- end: nothing -->", RECORDED)
