"""Every rule that is cited has a place in `docs/rules.md`, and every rule there its tests and its mutants."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.architecture.sources import PROJECT, tracked_files
from tools.rules import NO_MUTANT, PAGE, RULE, held_by_mutants, held_by_tests, rewritten, sections

PAGE_NOW: Final = (PROJECT / PAGE).read_text(encoding="utf-8")
RULES: Final = {name: lines for name, lines in sections(PAGE_NOW) if name}
READ: Final = {".py", ".md", ".toml", ".yaml", ".sh"}
NO_CITATIONS: Final = {"CHANGELOG.md"}


def test_the_page_names_the_tests_and_mutants_of_now() -> None:
    """Run `make documents` when this fails."""
    assert rewritten(PAGE_NOW, held_by_tests(PROJECT), held_by_mutants()) == PAGE_NOW


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_has_tests_and_a_mutant_or_the_reason_why_none(rule: str) -> None:
    lines = RULES[rule]
    assert any(line.startswith("- tests: ") for line in lines)
    assert sum(line.startswith(("- mutants: ", NO_MUTANT)) for line in lines) == 1


@pytest.mark.parametrize("rule", RULES)
def test_the_files_that_keep_a_rule_are_there_and_cite_it(rule: str) -> None:
    kept = next(line for line in RULES[rule] if line.startswith("Kept by "))
    named = [Path(name) for name in kept.split("`")[1::2]]
    assert named
    assert [name for name in named if rule not in RULE.findall((PROJECT / name).read_text())] == []


def test_what_is_cited_is_a_rule() -> None:
    cited = {
        rule: path.relative_to(PROJECT).as_posix()
        for path in tracked_files()
        if path.suffix in READ and path.name not in NO_CITATIONS
        for rule in RULE.findall(path.read_text(encoding="utf-8"))
    }
    assert {rule: where for rule, where in cited.items() if rule not in RULES} == {}


def test_the_page_lists_its_rules_at_the_top() -> None:
    top = PAGE_NOW.partition("## Sagas")[0]
    assert [rule for rule in RULES if f"[{rule}](#{rule.lower()})" not in top] == []


def test_every_page_is_one_click_from_the_readme_so_that_a_rule_is_two() -> None:
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    pages = [path.relative_to(PROJECT).as_posix() for path in (PROJECT / "docs").glob("*.md")]
    assert PAGE.as_posix() in pages
    assert [page for page in pages if f"]({page}" not in readme] == []
