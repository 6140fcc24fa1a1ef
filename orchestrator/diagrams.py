"""Pages with diagrams of the machine and of every saga, generated so that they cannot drift from the code."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from orchestrator.core.definition import SagaDefinition
from orchestrator.core.diagram import flow_diagram, state_diagram, transition_table

_NOTE = "<!-- Generated from the code by `make documents`: change the code, not this page. -->"


def write_diagrams(folder: Path, definitions: Iterable[SagaDefinition]) -> list[Path]:
    """Write one page for the machine and one for each saga; returns the paths written."""
    pages = {"saga-states.md": _states_page()}
    for definition in definitions:
        pages[f"{definition.name.replace('_', '-')}.md"] = _saga_page(definition)
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in pages.items():
        (folder / name).write_text(page, encoding="utf-8")
    return [folder / name for name in pages]


def _states_page() -> str:
    return f"""# States of a saga

{_NOTE}

Two statuses are final. What has no arrow here changes nothing: a message is acknowledged and counted as
stale, a person is refused and told why.

```mermaid
{state_diagram()}```

## The transition table

{transition_table()}"""


def _saga_page(definition: SagaDefinition) -> str:
    return f"""# Saga `{definition.name}`, version {definition.version}

{_NOTE}

Solid arrows are answers that go on. Dotted arrows turn round: a rejection undoes the steps before, no answer
in time or a cancel undoes the step itself as well. The six-sided step is the pivot: after it the saga only
goes forward; before its command is written the order can still be cancelled.

```mermaid
{flow_diagram(definition)}```
"""
