"""What signals do to a process, on processes: the first is heeded within a bound, the second at once."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

PROGRAM = """
import asyncio, sys, time
import uvloop
from oms.observing.logs import configure_logs
from oms.serving import until_told_to_stop
from oms.settings import load_settings

async def main():
    configure_logs(load_settings(), "test")
    stop = until_told_to_stop(float(sys.argv[1]))
    print("ready", flush=True)
    await stop.wait()
    print("told", flush=True)
    if sys.argv[2] == "hangs":
        time.sleep(600)

uvloop.run(main())
"""


@contextmanager
def running(within_s: float, then: str) -> Iterator[subprocess.Popen[str]]:
    arguments = (sys.executable, "-c", PROGRAM, str(within_s), then)
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert _line(process) == "ready"
            yield process
        finally:
            process.kill()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_heeded_and_the_process_ends_as_it_should(number: signal.Signals) -> None:
    with running(600, "ends") as process:
        process.send_signal(number)
        assert _line(process) == "told"
        assert process.wait(60) == 0


def test_what_does_not_come_to_its_end_is_left_after_the_bound_and_says_so() -> None:
    with running(0.1, "hangs") as process:
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "not done in time" in said


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_process_at_once(second: signal.Signals) -> None:
    with running(600, "hangs") as process:
        process.send_signal(signal.SIGTERM)
        assert _line(process) == "told"
        process.send_signal(second)
        assert process.wait(60) == -second
