"""What a failing seed says: what was wrong, the part of its story that matters, how to see it again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from simulation.checkers.inspection import Objection
from simulation.kinds import BOTH
from simulation.run import Run
from simulation.story import ids_of, timeline

LINES: Final = 80
"""Longest story that is printed unasked."""

_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def failure(run: Run) -> Iterator[str]:
    """The report on a run that violated something."""
    first = run.violations[0]
    yield f"seed {run.plan.seed} ({run.plan.cast.name}): {first}"
    for further in run.violations[1:4]:
        yield f"  also: {further}"
    lines = list(story(run, first))
    if len(lines) > LINES:
        yield f"  ({len(lines) - LINES} earlier lines left out)"
    yield from (f"  {line}" for line in lines[-LINES:])
    yield f"  see it again: oms simulate --seed {run.plan.seed} {chosen(run)} --trace"


def chosen(run: Run) -> str:
    """What chooses the kind of world on the command line."""
    name = run.plan.cast.name
    return f"--kind {name}" if name in (kind.name for kind in BOTH) else f"--saga {name}"


def story(run: Run, objection: Objection) -> Iterator[str]:
    """What concerns the saga that an objection is about, and the world around it."""
    found = _ID.findall(f"{objection.about} {objection.message}")
    if not found:
        return timeline(run.facts)
    return timeline(run.facts, ids_of(run.facts, found[0]))


def stories(run: Run) -> Iterator[str]:
    """Every saga's story, one after the other, then what happened to nobody in particular."""
    for saga_id, saga in run.sagas.items():
        yield f"── {saga.definition} {saga.subject_id}: {saga.label}"
        yield from timeline(run.facts, {str(saga_id), str(saga.subject_id)})
        yield ""
