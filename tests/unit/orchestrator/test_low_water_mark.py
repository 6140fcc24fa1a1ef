"""How far the low-water mark may rise (P7)."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from messaging.identifiers import first_id_at, time_ordered_ids
from orchestrator.retention.mark import LEAST_AGE, Held, Keep, Reason, Rise, rise

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
DAY = timedelta(days=1)
DAY_S = 86400.0
MONTH_AGO = NOW - 30 * DAY


def saga_from(moment: datetime) -> UUID:
    return time_ordered_ids(random.Random(1), lambda: int(moment.timestamp() * 1000))()


def test_it_rises_to_what_has_been_at_rest_for_long_enough() -> None:
    risen = rise(MONTH_AGO, {}, None)
    assert risen == Rise(first_id_at(MONTH_AGO))
    assert saga_from(MONTH_AGO - timedelta(milliseconds=1)) < risen.mark <= saga_from(MONTH_AGO)


def test_it_stays_below_whatever_is_needed_and_says_why() -> None:
    running, incident = saga_from(NOW - 50 * DAY), saga_from(NOW - 40 * DAY)
    needed = {Reason.NOT_ENDED: running, Reason.INCIDENT: incident, Reason.DEAD_LETTER: None}
    assert rise(MONTH_AGO, needed, None) == Rise(running, Held(running, Reason.NOT_ENDED))


def test_what_is_needed_and_younger_holds_nothing_back() -> None:
    assert rise(MONTH_AGO, {Reason.INCIDENT: saga_from(NOW - DAY)}, None) == Rise(first_id_at(MONTH_AGO))


def test_it_never_falls() -> None:
    standing = saga_from(NOW - 20 * DAY)
    old = saga_from(NOW - 50 * DAY)
    assert rise(MONTH_AGO, {}, standing).mark == standing
    assert rise(MONTH_AGO, {Reason.INCIDENT: old}, standing) == Rise(standing, Held(old, Reason.INCIDENT))


def test_nothing_younger_than_a_week_is_let_go_of_nor_than_an_idempotency_key() -> None:
    assert Keep(3600.0, DAY_S).age == LEAST_AGE == 7 * DAY
    assert Keep(3600.0, 20 * DAY_S).age == 20 * DAY
    assert Keep(30 * DAY_S, DAY_S).age == 30 * DAY
    assert Keep(30 * DAY_S, 2 * DAY_S).keys_expired_before(NOW) == NOW - 2 * DAY


DAYS = st.integers(0, 100).map(lambda days: saga_from(NOW - days * DAY))


@given(st.dictionaries(st.sampled_from(Reason), DAYS), st.none() | DAYS)
def test_the_mark_lets_go_of_nothing_needed_that_it_had_not_let_go_of_before(
    needed: dict[Reason, UUID], standing: UUID | None
) -> None:
    mark = rise(MONTH_AGO, needed, standing).mark
    assert standing is None or mark >= standing
    if mark != standing:
        assert all(mark <= saga_id for saga_id in needed.values())
        assert mark <= first_id_at(MONTH_AGO)
