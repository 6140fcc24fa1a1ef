"""Sessions, pictures and words of the console, without a server."""

from __future__ import annotations

from datetime import timedelta
from http.cookies import SimpleCookie
from typing import Any
from uuid import UUID

import pytest
from starlette.requests import Request
from starlette.responses import Response

from contracts.envelope import Direction
from orchestrator.core.state import Status
from orchestrator.core.values import replace
from orchestrator.http.access import Access
from orchestrator.http.console.overview import chart
from orchestrator.http.console.rendering import BRIEF, brief, duration
from orchestrator.http.console.session import LIFETIME_S, Sessions, safe_next
from orchestrator.http.console.timeline import LEFT, RIGHT, WIDTH, timeline
from orchestrator.queries.endings import MINUTES, Ended, Endings
from orchestrator.queries.views import HistoryView, SagaDetail
from orchestrator.sagas.order_fulfillment import OrderStatus
from tests.support.orders import NOON, a_saga

NAME = f"oms_session_{Sessions(Access.by_tokens('admin-token')).installation}"


def a_request(cookie: str = "", name: str = NAME, scheme: str = "http") -> Request:
    headers = [(b"cookie", f"{name}={cookie}".encode("latin-1"))]
    address = {"scheme": scheme, "server": ("oms", 80), "path": "/console", "query_string": b""}
    return Request({"type": "http", "method": "GET", "headers": headers, **address})


async def a_cookie(sessions: Sessions) -> str:
    token = await sessions.holder("admin-token")
    assert token is not None
    response = Response()
    sessions.begin(a_request(), response, token)
    return SimpleCookie(response.headers["Set-Cookie"])[NAME].value


# -- sessions ---------------------------------------------------------------------------------------------


async def test_a_session_ends_with_its_time() -> None:
    now = 1000.0
    sessions = Sessions(Access.by_tokens("admin-token"), lambda: now)
    cookie = await a_cookie(sessions)
    assert await sessions.of(a_request(cookie)) is not None
    now += LIFETIME_S
    assert await sessions.of(a_request(cookie)) is None


async def test_every_replica_takes_a_session_and_none_with_another_token_does() -> None:
    cookie = await a_cookie(Sessions(Access.by_tokens("admin-token")))
    assert await Sessions(Access.by_tokens("admin-token")).of(a_request(cookie)) is not None
    assert await Sessions(Access.by_tokens("new-admin-token")).of(a_request(cookie)) is None


def test_each_installation_has_a_cookie_of_its_own_on_all_its_replicas() -> None:
    def name(token: str, scheme: str = "http") -> str:
        return Sessions(Access.by_tokens(token)).cookie(a_request(scheme=scheme))

    assert name("admin-token") == name("admin-token")
    assert name("admin-token") != name("new-admin-token")
    assert name("admin-token", "https") == f"__Host-{name('admin-token')}"


async def test_what_is_sealed_for_one_session_and_purpose_is_good_for_no_other() -> None:
    sessions = Sessions(Access.by_tokens("admin-token"))
    token = await sessions.holder("admin-token")
    assert token is not None
    mine, other = sessions.opened(token)[0], sessions.opened(token)[0]
    form = sessions.form(mine, UUID(int=7))
    assert sessions.form_id(mine, form) == UUID(int=7)
    assert sessions.form_id(other, form) is None
    assert sessions.unsealed(mine, "another purpose", form) is None


async def test_two_sessions_have_different_forms() -> None:
    sessions = Sessions(Access.by_tokens("admin-token"))
    found = [await sessions.of(a_request(await a_cookie(sessions))) for _ in range(2)]
    assert len({session.csrf for session in found if session is not None}) == 2


@pytest.mark.parametrize("cookie", ["", ".", "...", "a.b.c.d", "ä.ö"])
async def test_nonsense_is_no_session(cookie: str) -> None:
    assert await Sessions(Access.by_tokens("admin-token")).of(a_request(cookie)) is None


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        ("/console/sagas?incident=any", "/console/sagas?incident=any"),
        ("/console", "/console"),
        ("", "/console"),
        ("/console/../orders", "/console"),
        ("/console/%2e%2e/orders", "/console"),
        ("/console/sagas/./x", "/console"),
        ("/console/audit-log?actor=../x", "/console/audit-log?actor=../x"),
        ("https://evil.example/console", "/console"),
        ("//evil.example", "/console"),
        ("/console/\r\nSet-Cookie: x", "/console"),
        ("/admin/sagas", "/console"),
    ],
)
def test_after_signing_in_there_is_only_the_console(wanted: str, path: str) -> None:
    assert safe_next(wanted) == path


# -- pictures ---------------------------------------------------------------------------------------------


def an_entry(
    seq: int, at_s: float, step: str | None, direction: Direction, kind: str = "outcome_received"
) -> Any:
    return HistoryView(
        seq=seq,
        at=NOON + timedelta(seconds=at_s),
        kind=kind,
        accepted={},
        status=Status.RUNNING,
        order_status=OrderStatus.PENDING,
        step=step,
        direction=direction,
        sent=({"type": "Command", "id": str(UUID(int=seq))},) if step else (),
    )


def a_detail(*history: HistoryView, ended_s: float | None = None) -> SagaDetail:
    saga = a_saga()
    ended_at = NOON + timedelta(seconds=ended_s) if ended_s is not None else None
    known = ("saga_id", "definition", "definition_version", "status", "direction")
    return SagaDetail(
        **{name: getattr(saga, name) for name in known},
        order_id=saga.subject_id,
        order_status=saga.label,
        step=None,
        version=len(history),
        incidents=(),
        due_at=None,
        failure=None,
        cancel_requested_at=None,
        created_at=NOON,
        updated_at=NOON,
        ended_at=ended_at,
        steps=(),
        allowed_actions=(),
        history=history,
    )


def test_a_timeline_is_drawn_to_scale() -> None:
    ahead, back = Direction.FORWARD, Direction.COMPENSATING
    detail = a_detail(
        an_entry(1, 0, "reserve", ahead, "saga_started"),
        an_entry(2, 2, "charge", ahead),
        an_entry(3, 5, "charge", ahead, "retry_requested"),
        an_entry(4, 6, "reserve", back),
        an_entry(5, 8, None, back),
        ended_s=8,
    )
    saga = replace(a_saga(), attempts={"charge": 3})
    drawn = timeline(saga, detail, None, NOON + timedelta(hours=1))

    second = (WIDTH - LEFT - RIGHT) / 8
    assert [round(bar.width / second, 1) for bar in drawn.bars] == [2, 4, 2]
    assert [bar.mood for bar in drawn.bars] == ["done", "turned", "undone"]
    assert [(lane.label, lane.attempts) for lane in drawn.lanes] == [
        ("reserve", 0),
        ("charge", 3),
        ("undo reserve", 0),
    ]
    assert [mark.kind for mark in drawn.marks] == ["sent"] * 4 + ["note"]
    assert drawn.now_x is None


def test_a_timeline_of_what_still_waits_reaches_until_now() -> None:
    detail = a_detail(an_entry(1, 0, "reserve", Direction.FORWARD, "saga_started"))
    drawn = timeline(a_saga(), detail, None, NOON + timedelta(seconds=40))
    assert [bar.mood for bar in drawn.bars] == ["waiting"]
    assert drawn.now_x == WIDTH - RIGHT
    assert [tick.label for tick in drawn.ticks] == [
        "0",
        "+5 s",
        "+10 s",
        "+15 s",
        "+20 s",
        "+25 s",
        "+30 s",
        "+35 s",
        "+40 s",
    ]


def test_a_timeline_of_nothing_is_empty() -> None:
    drawn = timeline(a_saga(), a_detail(), None, NOON)
    assert (drawn.lanes, drawn.bars, drawn.marks) == ((), (), ())


def test_the_chart_stacks_what_ended_in_a_minute() -> None:
    minute = NOON - timedelta(minutes=1)
    ended = Ended(minute, OrderStatus.COMPLETED, 3), Ended(minute, OrderStatus.REJECTED, 1)
    drawn = chart(Endings(ended, None), NOON + timedelta(seconds=30))
    assert (drawn.top, drawn.total) == (4, 4)
    assert [(block.kind, block.height / drawn.height) for block in drawn.blocks] == [
        ("completed", 0.75),
        ("rejected", 0.25),
    ]
    assert {round(block.x / drawn.width * MINUTES) for block in drawn.blocks} == {MINUTES - 2}
    assert drawn.seen == MINUTES


def test_a_chart_of_too_much_says_how_far_back_it_goes() -> None:
    assert chart(Endings((), NOON - timedelta(minutes=4, seconds=30)), NOON).seen == 4


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 ms"),
        (0.25, "250 ms"),
        (5, "5 s"),
        (5.25, "5.2 s"),
        (59.4, "59 s"),
        (61, "1 min 1 s"),
        (120, "2 min"),
        (7300, "2 h 1 min"),
        (90000, "1 d 1 h"),
    ],
)
def test_durations_are_short(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("sh_1", "sh_1"),
        (2598, "2598"),
        (None, "null"),
        (True, "true"),
        ([], "none"),
        (["logic", "sets"], "logic; sets"),
        (
            {"location": "quay", "lines": [{"sku": "VASE", "quantity": 2}, {"sku": "MUG", "quantity": 1}]},
            "location quay, lines (sku VASE, quantity 2; sku MUG, quantity 1)",
        ),
        ({"taken": [], "left": {}}, "taken none, left none"),
    ],
)
def test_values_of_any_shape_are_read_on_one_line(value: Any, said: str) -> None:
    assert brief(value) == said


def test_what_is_long_is_cut() -> None:
    assert brief(["x" * BRIEF, "y"]) == "x" * (BRIEF - 1) + "…"
