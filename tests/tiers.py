"""Tiers of tests are the folders below `tests/`; a run can demand that each of some tiers really ran."""

from __future__ import annotations

from collections import Counter
from typing import Final

import pytest

_NEEDS: Final = {
    "broker_url": "rabbitmq",
    "private_broker": "rabbitmq",
    "databases": "postgresql",
    "private_postgres": "postgresql",
}


class Tiers:
    """Counts the tests that ran, by tier, and fails the run where a demanded tier ran none."""

    def __init__(self, demanded: list[str]) -> None:
        self._demanded = demanded
        self._ran: Counter[str] = Counter()

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """What needs a server carries the server's marker."""
        for item in items:
            for fixture in getattr(item, "fixturenames", ()):
                if fixture in _NEEDS:
                    item.add_marker(_NEEDS[fixture])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test counts as run when its body ran, whatever came of it."""
        if report.when == "call" and not report.skipped:
            self._ran[report.nodeid.removeprefix("tests/").split("/")[0]] += 1

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Green becomes red when a demanded tier is missing."""
        if self._missing and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say which tiers ran, and which should have."""
        if not self._demanded:
            return
        ran = ", ".join(f"{tier} {count}" for tier, count in sorted(self._ran.items()))
        terminalreporter.write_line(f"tiers that ran: {ran or 'none'}")
        if self._missing:
            terminalreporter.write_line(f"tiers that ran no test: {', '.join(self._missing)}", red=True)

    @property
    def _missing(self) -> list[str]:
        return [tier for tier in self._demanded if not self._ran[tier]]


def demanded_tiers(config: pytest.Config) -> list[str]:
    """The tiers named by `--tiers`, separated by commas. A worker is asked for none: it runs a share."""
    if hasattr(config, "workerinput"):
        return []
    return [tier for tier in str(config.getoption("--tiers")).split(",") if tier]
