"""Runs one seed: builds its world, lets it live, says what was wrong."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import structlog

from simulation.facts import Fact
from simulation.loop import Asleep, SimulatedLoop
from simulation.plan import Plan
from simulation.world import World

EXPECTED_ERRORS: Final = (
    "message not accepted by the broker",
    "outcome for a definition version that is not known here; a re-send will bring it again",
)
"""What services may complain about: it is what the weather does to them."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule was broken. ``saga_id`` where one order is concerned."""

    rule: str
    message: str
    at_s: float
    saga_id: str | None = None


class Run:
    """One seed's run, and the facts it told."""

    def __init__(self, plan: Plan, checkers: Any = None) -> None:
        self.plan = plan
        self.facts: list[tuple[float, Fact]] = []
        self.violations: list[Violation] = []
        self.loop = SimulatedLoop()
        self.world = World(plan, self.loop, self)

    def see(self, at_s: float, fact: Fact) -> None:
        """See `Watcher.see`."""
        self.facts.append((at_s, fact))

    def trouble(self, event: dict[str, Any]) -> None:
        """A service logged an error."""
        if event["event"] in EXPECTED_ERRORS:
            return
        self.violations.append(Violation("no unexpected error", f"{event}", self.loop.time()))
        self.loop.stop()

    def execute(self) -> None:
        """Live through it."""
        with quiet(self.trouble):
            try:
                unfinished = self.loop.run_until_complete(self.world.live())
            except (Asleep, RuntimeError) as stopped:
                if not self.violations:
                    raise
                unfinished = str(stopped)
            if unfinished is not None and not self.violations:
                self.violations.append(Violation("everything ends", unfinished, self.loop.time()))
            self.loop.bury()


@contextmanager
def quiet(on_error: Callable[[dict[str, Any]], None]) -> Iterator[None]:
    """Errors that services log go to the run, everything else nowhere."""

    def swallow(logger: Any, name: str, event: Any) -> Any:
        if name in ("error", "critical", "exception"):
            on_error(dict(event))
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(
        processors=[swallow],
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)
