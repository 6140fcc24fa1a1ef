"""What a person at a terminal is asked, and told, wherever stdout leads."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

OMS = "import sys; from oms.cli import main; sys.exit(main())"


def at_a_terminal(folder: Path, *arguments: str, typed: str = "") -> tuple[int, str, str]:
    """Run a command whose stdin and stderr are a terminal, and its stdout a pipe: code, stdout, stderr."""
    ours, theirs = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OMS_")}
    with subprocess.Popen(
        [sys.executable, "-c", OMS, *arguments],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(Path(__file__).parents[3])},
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    ) as process:
        os.close(theirs)
        os.write(ours, typed.encode())
        out, _ = process.communicate()
    return process.returncode, out, _all_of(ours)


def _all_of(terminal: int) -> str:
    said = b""
    try:
        while piece := os.read(terminal, 65536):
            said += piece
    except OSError:  # how a terminal ends that nobody writes to any more
        pass
    finally:
        os.close(terminal)
    return said.decode()


def test_a_question_is_asked_also_where_stdout_is_a_pipe(tmp_path: Path) -> None:
    code, out, said = at_a_terminal(tmp_path, "installation", "new", "--json", typed="n\n")
    assert code == 130
    assert "Go on?" in said
    assert out == ""


@pytest.mark.parametrize(
    "command", [("broker", "check"), ("broker", "check", "-"), ("doctor", "--policies", "-")]
)
def test_nobody_is_left_waiting_for_what_only_a_program_would_type(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    code, out, said = at_a_terminal(tmp_path, *command)
    assert (code, out) == (2, "")
    assert "pipe into it what rabbitmqctl lists" in said
