"""What a server says of when to come again, in both forms, and in none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.retry_after import retry_after_s


@pytest.mark.parametrize(("said", "seconds"), [("0", 0), (" 120 ", 120), ("9" * 40, 999_999_999)])
def test_seconds(said: str, seconds: float) -> None:
    assert retry_after_s(said) == seconds


@pytest.mark.parametrize("usegmt", [True, False])
def test_a_date(usegmt: bool) -> None:
    at = datetime.now(UTC) + timedelta(hours=1)
    found = retry_after_s(format_datetime(at, usegmt=usegmt))
    assert found is not None
    assert 3500 < found <= 3600


def test_a_date_that_is_past() -> None:
    assert retry_after_s("Wed, 21 Oct 2015 07:28:00 GMT") == 0


@pytest.mark.parametrize(
    "said",
    [None, "", "soon", "-5", "1.5", "1e3", "٣", "Wed, 21 Oct 99999999999999999999 07:28:00 GMT", "Mon, 1"],
)
def test_what_names_no_time(said: str | None) -> None:
    assert retry_after_s(said) is None


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d{1,30} [A-Z][a-z]{2} \d{1,30} \d+:\d+:\d+ [-+A-Z0-9]+"))
def test_whatever_it_says_is_no_fault_of_ours(said: str) -> None:
    found = retry_after_s(said)
    assert found is None or found >= 0
