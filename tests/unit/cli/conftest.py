"""The command line, run in this process against a fake API."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from oms.cli import main, session
from tests.unit.cli.fake_api import FakeApi


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str


Oms = Callable[..., Ran]


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeApi:
    """A fake API that every command of this test talks to; nothing of the environment leaks in."""
    for name in ("OMS_API_URL", "OMS_ADMIN_TOKEN", "OMS_ORDERS_TOKEN", "OMS_LOG_LEVEL", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    fake = FakeApi()
    monkeypatch.setattr(session, "transport", fake)
    monkeypatch.chdir(tmp_path)
    return fake


@pytest.fixture
def oms(api: FakeApi, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Oms:
    """Run one command with arguments and stdin."""

    def run(*arguments: str, stdin: str | bytes = "") -> Ran:
        given = stdin if isinstance(stdin, bytes) else stdin.encode()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given), encoding="utf-8"))
        code = main(arguments)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run
