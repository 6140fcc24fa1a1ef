"""Lines that repeat themselves are counted instead of written; errors never are."""

from __future__ import annotations

import logging

import pytest
import structlog

from oms.observing.logs import configure_logs
from oms.observing.sampling import MOST_EVENTS, WINDOW_S, Sampling
from oms.settings import Settings


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def said(sampling: Sampling, event: str, method: str = "warning") -> dict[str, object] | None:
    try:
        return dict(sampling(None, method, {"event": event}))
    except structlog.DropEvent:
        return None


def test_the_first_lines_of_an_event_are_written_and_the_next_minute_tells_how_many_more_there_were() -> None:
    clock = Clock()
    sampling = Sampling(2, clock)
    assert [said(sampling, "waiting") is not None for _ in range(5)] == [True, True, False, False, False]
    assert said(sampling, "another") == {"event": "another"}
    clock.now = WINDOW_S
    assert said(sampling, "waiting") == {"event": "waiting", "left_out": 3}
    clock.now = 3 * WINDOW_S
    assert said(sampling, "waiting") == {"event": "waiting"}


@pytest.mark.parametrize("method", ["error", "critical", "exception"])
def test_errors_are_always_written(method: str) -> None:
    sampling = Sampling(1, Clock())
    assert all(said(sampling, "broken", method) for _ in range(5))


def test_events_of_many_names_take_no_more_memory_than_they_may() -> None:
    sampling = Sampling(1, Clock())
    assert all(said(sampling, f"event {at}") for at in range(3 * MOST_EVENTS))
    assert len(sampling._seen) <= MOST_EVENTS


def test_the_setting_bounds_what_a_process_writes(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure_logs(Settings(log_format="json", log_repeats=2), "test")
    for _ in range(9):
        structlog.get_logger("ours").warning("waiting for PostgreSQL")
    structlog.get_logger("ours").error("broken")
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    root.handlers, root.level = handlers, level
    written = capsys.readouterr().err
    assert written.count("waiting for PostgreSQL") == 2
    assert "broken" in written
