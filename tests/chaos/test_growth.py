"""What grows over a run is objected to, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

from tools.chaos.gauges import Held, Sample, Stored
from tools.chaos.growth import JUDGED_FROM_S, growth

SAMPLES = 300
Figure = Callable[[int], float]


def samples(
    *,
    memory: Figure = lambda _: 100.0,
    handles: Figure = lambda _: 30,
    sessions: Figure = lambda _: 20,
    size: Figure = lambda at: at * 1000,
    pid: Figure = lambda _: 1,
    lasted_s: float = JUDGED_FROM_S,
) -> list[Sample]:
    """A run in which ten orders end between two samples."""
    return [
        Sample(
            lasted_s * at / (SAMPLES - 1),
            "a fault",
            at * 10,
            {"api": Held(int(pid(at)), memory(at), int(handles(at)), 4, 12)},
            12,
            0,
            Stored(int(sessions(at)), {"payment": 0}, 8192, {"payment": int(size(at))}, 0),
        )
        for at in range(SAMPLES)
    ]


def objected(run: list[Sample]) -> list[str]:
    return [line.name for line in growth(run) if line.objection]


def test_a_flat_run_is_right() -> None:
    assert objected(samples()) == []


def test_memory_that_grows_is_wrong() -> None:
    assert objected(samples(memory=lambda at: 100 + at / 10)) == ["api: memory, MB"]


def test_memory_that_settles_in_the_first_third_is_right() -> None:
    assert objected(samples(memory=lambda at: min(200, 100 + at))) == []


def test_a_handle_lost_now_and_then_is_wrong() -> None:
    assert objected(samples(handles=lambda at: 30 + at // 4)) == ["api: file handles"]


def test_sessions_that_pile_up_are_wrong() -> None:
    assert objected(samples(sessions=lambda at: 20 + at // 4)) == ["PostgreSQL: sessions"]


def test_tables_that_grow_with_orders_are_right_and_faster_is_wrong() -> None:
    assert objected(samples(size=lambda at: at * 5000)) == []
    assert objected(samples(size=lambda at: at * at)) == ["PostgreSQL: payment, bytes an order"]


def test_a_fault_that_lifts_a_figure_for_a_moment_is_right() -> None:
    assert objected(samples(handles=lambda at: 500 if at % 10 == 0 else 30)) == []


def test_a_process_that_was_ended_meanwhile_is_not_judged() -> None:
    assert objected(samples(memory=lambda at: 100 + at, pid=lambda at: at // 50)) == []


def test_a_short_run_is_not_judged() -> None:
    assert objected(samples(memory=lambda at: 100 + at, lasted_s=60)) == []


def test_a_server_that_did_not_answer_is_passed_over() -> None:
    run = samples()
    run[150] = Sample(run[150].at_s, "a fault", 1500, {}, 0, None, None)
    assert objected(run) == []


def test_nothing_was_seen_and_nothing_is_said() -> None:
    assert growth([]) == []
