"""Logs whose reader stalls or leaves: nobody waits, what is missing is counted, and nothing ends."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from oms.log_writer import MISSING, LogWriter

PROJECT = Path(__file__).parents[3]


@contextmanager
def pipe() -> Iterator[tuple[int, TextIO]]:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        yield reading, stream


def logger_of(handler: logging.Handler) -> logging.Logger:
    logger = logging.Logger("tested")
    logger.addHandler(handler)
    return logger


def test_a_reader_that_stalls_holds_up_nobody_and_is_told_what_is_missing() -> None:
    with pipe() as (reading, stream):
        handler = LogWriter(stream, most_bytes=100_000)
        log = logger_of(handler)
        for number in range(1000):
            log.warning("%d %s", number, "x" * 1000)
        assert handler.dropped > 0
        seen = b""
        while seen.count(b" xxx") < 1000 - handler.dropped:
            seen += os.read(reading, 65536)
        handler.flush()
        log.warning("after it")
        while not seen.endswith(b"after it\n"):
            seen += os.read(reading, 65536)
        said = seen.decode().splitlines()
        handler.close()
    os.close(reading)
    numbers = [int(line.split()[0]) for line in said if "xxx" in line]
    missing = [int(line.rpartition("(")[2].rstrip(")")) for line in said if line.startswith(MISSING)]
    assert numbers == sorted(set(numbers))
    assert sum(missing) == handler.dropped == 1000 - len(numbers)


def test_a_reader_that_left_ends_nothing() -> None:
    with pipe() as (reading, stream):
        os.close(reading)
        handler = LogWriter(stream)
        logger_of(handler).warning("nobody hears this")
        handler.close()
    assert handler.dropped == 1


def test_a_process_ends_although_nobody_reads_its_log() -> None:
    program = (
        "import logging\n"
        "from oms.observing.logs import configure_logs\n"
        "from oms.settings import Settings\n"
        "configure_logs(Settings(), 'test')\n"
        "for _ in range(300): logging.getLogger().warning('x' * 1000)\n"
        "print('done', flush=True)\n"
    )
    with pipe() as (reading, stream):
        ran = subprocess.run(
            [sys.executable, "-c", program], stderr=stream, stdout=subprocess.PIPE, check=True, cwd=PROJECT
        )
    os.close(reading)
    assert ran.stdout == b"done\n"


def test_everything_is_written_before_a_process_ends() -> None:
    program = (
        "import logging\n"
        "from oms.observing.logs import configure_logs\n"
        "from oms.settings import Settings\n"
        "configure_logs(Settings(), 'test')\n"
        "for number in range(2000): logging.getLogger().warning('line %d', number)\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, cwd=PROJECT)
    assert ran.stderr.count(b'"event": "line ') == 2000
