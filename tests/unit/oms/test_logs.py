"""Logs: what the contracts mark as sensitive never shows."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog

from contracts.sensitive import MASK, SENSITIVE_NAMES
from oms.observing.logs import _Masking, configure_logs
from oms.settings import Settings


@pytest.fixture
def as_before() -> Iterator[None]:
    """The log of the tests is as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    root.handlers, root.level = handlers, level


def test_sensitive_values_are_masked_wherever_they_stand() -> None:
    masking = _Masking(SENSITIVE_NAMES | {"token"})

    event = masking(
        None, "info", {"order": {"payment_method": "pm_x", "lines": [{"shipping_address": 1}]}, "token": "t"}
    )

    assert event == {"order": {"payment_method": MASK, "lines": [{"shipping_address": MASK}]}, "token": MASK}


@pytest.mark.parametrize("form", ["console", "json"])
@pytest.mark.usefixtures("as_before")
def test_a_traceback_shows_no_variables_and_no_rows(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(Settings(log_format=form, log_level="debug"), "test")
    payment_method = f"pm_{'x' * 9}"
    try:
        raise ValueError(f"null value\nDETAIL:  Failing row contains ({payment_method}).")
    except ValueError:
        structlog.get_logger("ours").exception("it failed")
        logging.getLogger("a library").exception("it failed as well")
    said = capsys.readouterr().err
    assert said.count("ValueError: null value") == 2
    assert payment_method not in said
