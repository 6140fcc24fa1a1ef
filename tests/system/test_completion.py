"""Completion in a real bash, as `oms --install-completion` puts it in place."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_STORY = """
export PATH={bin}:$PATH
eval "$(_OMS_COMPLETE=source_bash oms)"
COMP_WORDS=({words} "{begun}"); COMP_CWORD={at}
_oms_completion oms
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.parametrize(
    ("words", "begun", "offered"),
    [
        ("oms", "doc", {"doctor"}),
        ("oms", "pe", {"people"}),
        ("oms people", "", {"list", "sign-out"}),
        ("oms sagas", "reh", {"rehearse"}),
        ("oms doctor", "--", {"--policies", "--json", "--help"}),
    ],
)
def test_bash_offers_commands_and_options(words: str, begun: str, offered: set[str], tmp_path: Path) -> None:
    story = _STORY.format(bin=Path(sys.executable).parent, words=words, begun=begun, at=len(words.split()))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OMS_")}
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-c", story],
        env={**environment, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert set(done.stdout.split()) == offered
