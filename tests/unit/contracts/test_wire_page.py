"""docs/wire.md says what the code says now, about everything that travels."""

from __future__ import annotations

import json
import re

import pytest

from contracts.commands import COMMANDS, INSTRUCTIONS
from contracts.events import EVENTS
from messaging.headers import MAX_HEADERS
from messaging.retries import RetryPolicy
from messaging.topology import DELIVERY_LIMIT
from oms.settings import Settings
from participants.fence import State
from participants.retention import LEAST_AGE
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


def test_every_name_of_a_permanent_failure_stands_on_the_page() -> None:
    sources = [*(ROOT / "participants").glob("*.py"), *(ROOT / "participants/inventory").glob("*.py")]
    sources.append(ROOT / "messaging/compose.py")
    raised = {
        name
        for path in sources
        for name in re.findall(r"(?:PermanentFailure|Poison)\(\s*\"([a-z_]+)\"", path.read_text())
    }
    assert {"payload_mismatch", "undecodable", "expired", "not_reserved"} <= raised
    assert sorted(name for name in raised if f"`{name}`" not in PAGE_TEXT) == []


def test_the_numbers_in_the_text_are_those_of_the_code() -> None:
    retries, settings = RetryPolicy(), Settings()
    delays = " and ".join(", ".join(f"{each:g}" for each in retries.delays_s).rsplit(", ", 1))
    assert LEAST_AGE.days == 6
    for words in (
        f"(by default {delays} seconds)",
        f"(`OMS_MAX_ATTEMPTS`, {retries.max_attempts})",
        f"`OMS_RESEND_AFTER_S`, {settings.step_policy.resend_after_s:g} seconds",
        f"(`OMS_STEP_DEADLINE_S`,\n{settings.step_policy.deadline_s:g} seconds)",
        f"more than {DELIVERY_LIMIT} redeliveries",
        f"({MAX_HEADERS} at most",
        "less than six days old",
    ):
        assert words in PAGE_TEXT


def test_every_state_of_the_ledger_stands_on_the_page() -> None:
    assert [state for state in State if f"| `{state.value}` |" not in PAGE_TEXT] == []


def test_a_part_that_nobody_makes_is_no_part() -> None:
    with pytest.raises(KeyError):
        rendered("<!-- begin: nothing -->\n<!-- end: nothing -->", RECORDED)
