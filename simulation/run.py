"""Runs one seed: builds its world, lets it live, says what was wrong."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final
from uuid import UUID

import structlog

from messaging.unit_of_work import StorageUnavailable
from orchestrator.core.state import Saga
from simulation.checkers import COURSE_CHECKERS, ORDER_CHECKERS
from simulation.checkers.inspection import Checker, Inspection, Objection
from simulation.facts import Fact
from simulation.loop import Asleep, Restless
from simulation.plan import Plan
from simulation.probes import watching
from simulation.world import MemoryStorage, Storage, World

EXPECTED_ERRORS: Final = (
    "message not accepted by the broker",
    "outcome for a definition version that is not known here; a re-send will bring it again",
    "a dead letter's saga cannot be told",
    "outcome for a saga that cannot be read; once it can, a re-send will bring it again",
    "a saga stands still: it cannot be worked on",
)
"""What services may complain about: it is what the weather does to them."""


class Run:
    """One seed's run, and the facts it told."""

    def __init__(
        self,
        plan: Plan,
        storage: Storage | None = None,
        checkers: Sequence[type[Checker]] | None = None,
    ) -> None:
        """
        Args:
            storage: in memory by default.
            checkers: by default those of the plan's kind of world.
        """
        storage = storage or MemoryStorage()
        self.plan = plan
        self.facts: list[tuple[float, Fact]] = []
        self.violations: list[Objection] = []
        chosen = checkers or (ORDER_CHECKERS if plan.cast.is_orders else COURSE_CHECKERS)
        self._inspection = Inspection(chosen, plan.cast)
        self.loop = storage.loop()
        self.world = World(plan, self.loop, self, storage)

    def see(self, at_s: float, fact: Fact) -> None:
        """See `Watcher.see`."""
        self.facts.append((at_s, fact))
        for objection in self._inspection.look_at(at_s, fact):
            self._object(objection)

    @property
    def sagas(self) -> Mapping[UUID, Saga]:
        """Every saga as it was last committed."""
        return self._inspection.known.sagas

    def trouble(self, event: dict[str, Any]) -> None:
        """A service logged an error."""
        if event["event"] in EXPECTED_ERRORS or isinstance(event.get("exc_info"), StorageUnavailable):
            return
        self._object(Objection("no unexpected error", "a service", f"{event}", self.loop.time()))

    def execute(self) -> None:
        """Live through it."""
        with quiet(self.trouble), watching(lambda decided: self.see(self.loop.time(), decided)):
            try:
                unfinished = self.loop.run_until_complete(self.world.live())
            except Restless as restless:
                unfinished = f"it never comes to rest: {restless}"
            except (Asleep, RuntimeError) as stopped:
                if not self.violations:
                    raise
                unfinished = str(stopped)
            if not self.violations:
                if unfinished is not None:
                    self._object(Objection("everything ends", "the world", unfinished, self.loop.time()))
                for objection in self._inspection.at_the_end():
                    self._object(objection)
            self.loop.bury()

    def _object(self, objection: Objection) -> None:
        self.violations.append(objection)
        self.loop.stop()


@contextmanager
def quiet(on_error: Callable[[dict[str, Any]], None]) -> Iterator[None]:
    """Errors that services log go to the run, everything else nowhere."""

    def swallow(logger: Any, name: str, event: Any) -> Any:
        if name in ("error", "critical", "exception"):
            on_error(dict(event))
        raise structlog.DropEvent

    before = structlog.get_config()
    driver = logging.getLogger("psycopg")
    driver_level = driver.level
    driver.setLevel(logging.CRITICAL)
    structlog.configure(
        processors=[swallow],
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=lambda *_: None,
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)
        driver.setLevel(driver_level)
