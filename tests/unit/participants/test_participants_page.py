"""The examples of docs/participants.md are whole: put into files as the page names them, their tests pass."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.support.pages import Page

PAGE: Final = Page("docs/participants.md")


def test_the_examples_of_the_page_pass_their_own_tests(tmp_path: Path) -> None:
    assert PAGE.text.count("```python") == len(PAGE.files) == 7
    for name, text in PAGE.files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    options = ("-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto", "--rootdir", str(tmp_path))
    command = (sys.executable, "-m", "pytest", *options, str(tmp_path))
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout


def test_a_participant_with_a_table_takes_at_most_forty_lines_of_its_own() -> None:
    text = PAGE.files["loyalty.py"]
    assert len([line for line in text.splitlines() if line.strip()]) <= 40
