"""The site of the documentation: every page has a place, and links lead on from there."""

from __future__ import annotations

import yaml

from tests.support.servers import PROJECT
from tools.site.kit import kit_page
from tools.site.nav import SETTINGS
from tools.site.pages import on_site, places

WHERE = places(PROJECT)


def listed() -> set[str]:
    sections = yaml.safe_load(SETTINGS.read_text().partition("\nnav:\n")[2])
    return {page for section in sections for pages in section.values() for page in pages}


def test_every_page_of_the_project_stands_in_a_section() -> None:
    pages = {place for place in WHERE.values() if place.endswith(".md") and not place.startswith("adr/")}
    assert sorted(pages - listed()) == []


def test_a_link_to_a_page_is_one_on_the_site() -> None:
    text = "See [rules](docs/rules.md#s6) and [the example](examples/enrolment)."
    assert (
        on_site(text, "README.md", WHERE)
        == "See [rules](rules.md#s6) and [the example](examples/enrolment.md).\n"
    )
    assert on_site("[up](../../README.md)", "docs/adr/README.md", WHERE) == "[up](../index.md)\n"


def test_a_link_to_the_source_tells_the_path() -> None:
    assert on_site("[the table](../orchestrator/core/machine.py)", "docs/rules.md", WHERE) == (
        "the table (`orchestrator/core/machine.py`)\n"
    )
    assert on_site("[deploy/x](../deploy/x)", "docs/rules.md", WHERE) == "deploy/x\n"


def test_code_other_sites_and_places_on_the_page_are_left_alone() -> None:
    text = "```\n[a](b.md)\n```\n[there](https://example.com/x) [here](#s6) ![picture](images/a.svg)"
    assert on_site(text, "docs/rules.md", WHERE) == text + "\n"


def test_the_kit_is_told_by_where_its_parts_are_defined() -> None:
    assert "::: orchestrator.core.definition.SagaDefinition" in kit_page()
    assert "::: participants.kit.participant.Participant" in kit_page()
