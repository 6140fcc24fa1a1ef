"""Whatever goes wrong ends in one line on stderr and an exit code, never in a traceback."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from oms import api_client
from oms.cli import main
from oms.cli.errors import report
from oms.failures import Failure
from tests.unit.cli.conftest import Oms
from tests.unit.cli.fake_api import ORDER, ORDER_ID, SAGA_ID, FakeApi, json_answer, problem, unreachable


def one_line(text: str) -> bool:
    return text.startswith("oms: ") and text.count("\n") == 1 and text.endswith("\n")


def test_a_service_that_is_not_there_is_said_with_what_helps(oms: Oms, api: FakeApi) -> None:
    api.on("GET", "/orders", unreachable)
    ran = oms("orders", "list", "--url", "http://127.0.0.1:9")
    assert ran.code == 1
    assert ran.err == "oms: cannot reach http://127.0.0.1:9 : is `oms run` running?\n"


def test_a_service_that_does_not_answer_in_time_is_said(oms: Oms, api: FakeApi) -> None:
    def late(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("", request=request)

    api.on("GET", "/orders", late)
    assert oms("orders", "list").err == "oms: http://127.0.0.1:8000 does not answer in time\n"


def test_a_problem_is_told_with_its_fields(oms: Oms, api: FakeApi) -> None:
    errors = [{"pointer": "/lines/0/sku", "code": "x", "detail": "not a SKU"}]
    api.on("POST", "/orders", problem(422, "Some fields are wrong.", errors=errors))
    ran = oms("orders", "submit", "-", stdin="{}")
    assert ran.code == 1
    assert ran.err == "oms: Some fields are wrong; /lines/0/sku: not a SKU (422)\n"


def test_a_refused_action_tells_what_is_allowed_instead(oms: Oms, api: FakeApi) -> None:
    refusal = problem(409, "too late", code="too_late", allowed_actions=["retry"])
    api.on("POST", f"/admin/sagas/{SAGA_ID}/actions/cancel", refusal)
    ran = oms("sagas", "cancel", SAGA_ID, "--reason", "why")
    assert ran.code == 1
    assert ran.err.splitlines()[-1] == "oms: too late; allowed now: retry (409)"


def test_a_missing_token_is_told_with_how_to_give_it(oms: Oms, api: FakeApi) -> None:
    api.on("GET", "/admin/sagas", problem(401, "a token is needed"))
    assert "OMS_ADMIN_TOKEN" in oms("sagas", "list").err


def test_an_answer_of_something_else_is_no_crash(oms: Oms, api: FakeApi) -> None:
    api.on("GET", "/orders", lambda _r: httpx.Response(200, text="<html>"))
    ran = oms("orders", "list")
    assert ran.code == 1
    assert one_line(ran.err)
    api.on("GET", "/orders", lambda _r: httpx.Response(502, text="<html>"))
    assert oms("orders", "list").err == "oms: Bad Gateway (502)\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("orders", "show"),
        ("orders", "show", "no-uuid"),
        ("orders", "list", "--limit", "0"),
        ("orders", "list", "--no-such-option"),
        ("sagas", "cancel", SAGA_ID),
        ("sagas", "resolve", SAGA_ID, "--step", "ship", "--verdict", "perhaps", "--reason", "why"),
        ("stock", "set", "SKU-1", "many"),
        ("participant", "warehouse"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(oms: Oms, arguments: tuple[str, ...]) -> None:
    ran = oms(*arguments)
    assert ran.code == 2
    assert one_line(ran.err), ran.err
    assert "--help" in ran.err
    assert ran.out == ""


@pytest.mark.parametrize("url", ["ftp://x", "nonsense", "http://", "http://[::1"])
def test_a_wrong_url_names_the_option(oms: Oms, url: str) -> None:
    ran = oms("orders", "list", "--url", url)
    assert ran.code == 1
    assert "OMS_API_URL" in ran.err


def test_a_file_that_is_not_there_is_named(oms: Oms) -> None:
    ran = oms("orders", "submit", "missing.json")
    assert (ran.code, ran.err) == (1, "oms: missing.json: No such file or directory\n")


def test_wrong_settings_are_named(oms: Oms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMS_DATABASE_URL", "mysql://x")
    ran = oms("audit")
    assert ran.code == 1
    assert "OMS_DATABASE_URL" in ran.err
    assert one_line(ran.err)


def test_what_nobody_expected_is_one_line_and_debug_shows_more(
    oms: Oms, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_request: httpx.Request) -> httpx.Response:
        raise KeyError("oops")

    api.on("GET", "/orders", broken)
    ran = oms("orders", "list")
    assert ran.code == 1
    assert ran.err == "oms: unexpected KeyError: 'oops' (OMS_LOG_LEVEL=debug shows the traceback)\n"
    monkeypatch.setenv("OMS_LOG_LEVEL", "debug")
    assert "Traceback" in oms("orders", "list").err


def test_the_cause_within_a_group_of_errors_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    grouped = ExceptionGroup("tasks", [ExceptionGroup("more", [Failure("the disk is full")])])
    assert report(grouped) == 1
    assert capsys.readouterr().err == "oms: the disk is full\n"


def test_what_a_service_says_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    report(Failure("red \x1b[31m bell \a"))
    assert capsys.readouterr().err == "oms: red  [31m bell  \n"


def test_an_argument_that_is_no_text_is_said_wherever_it_was_noticed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(UnicodeEncodeError) as noticed:
        "jane\udcff".encode()
    report(noticed.value)
    assert capsys.readouterr().err == "oms: '\\udcff' is no text in UTF-8\n"


def test_an_interrupt_is_130_without_a_word(oms: Oms, api: FakeApi) -> None:
    def interrupted(_request: httpx.Request) -> httpx.Response:
        raise KeyboardInterrupt

    api.on("GET", "/orders", interrupted)
    ran = oms("orders", "list")
    assert (ran.code, ran.out, ran.err) == (130, "", "")


def test_a_reader_that_left_is_no_error() -> None:
    """As in `oms … | head -1`."""
    reading, writing = os.pipe()
    os.close(reading)
    ran = subprocess.run(
        [sys.executable, "-c", "from oms.cli import main; raise SystemExit(main(['sagas', '--help']))"],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    os.close(writing)
    assert ran.stderr == ""


def test_a_person_at_a_terminal_may_say_no(oms: Oms, api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oms.cli.session._at_a_terminal", lambda: True)
    refused = oms("orders", "cancel", ORDER_ID, stdin="n\n")
    assert refused.code == 130
    assert [request.method for request in api.requests] == ["GET"]
    assert oms("orders", "cancel", ORDER_ID, "--yes").code == 0


def test_the_token_of_this_folder_goes_to_this_machine_alone(oms: Oms, api: FakeApi, tmp_path: Path) -> None:
    (tmp_path / ".oms").mkdir()
    (tmp_path / ".oms/admin-token").write_text("secret-token\n")
    oms("stock", "list")
    oms("stock", "list", "--url", "http://localhost:9")
    oms("stock", "list", "--url", "http://oms.example:8000")
    oms("stock", "list", "--token", "given-token")
    sent = [request.headers.get("Authorization") for request in api.requests]
    assert sent == ["Bearer secret-token", "Bearer secret-token", None, "Bearer given-token"]


def test_the_environment_names_url_and_token(oms: Oms, api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMS_API_URL", "http://127.0.0.1:77")
    monkeypatch.setenv("OMS_ADMIN_TOKEN", "of-the-environment")
    oms("stock", "list")
    assert str(api.requests[0].url).startswith("http://127.0.0.1:77/")
    assert api.requests[0].headers["Authorization"] == "Bearer of-the-environment"


@pytest.mark.parametrize("token", ["with space", "ümlaut", "line\nbreak"])
def test_a_token_that_no_header_takes_is_named(oms: Oms, token: str) -> None:
    ran = oms("stock", "list", "--token", token)
    assert ran.code == 1
    assert "OMS_ADMIN_TOKEN" in ran.err


def test_every_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    commands = [
        "run", "api", "orchestrator", "participant", "sandbox", "migrate", "broker setup", "audit", "demo",
        "contracts", "orders submit", "orders show", "orders list", "orders watch", "orders cancel",
        "sagas list", "sagas show", "sagas explain", "sagas watch", "sagas cancel", "sagas retry",
        "sagas resolve", "dead-letters list", "dead-letters groups", "dead-letters show",
        "dead-letters replay", "dead-letters discard", "stock list", "stock set",
    ]  # fmt: skip
    for command in ("", "orders", "sagas", "dead-letters", "stock", "broker", *commands):
        assert main([*command.split(), "--help"]) == 0
        shown = capsys.readouterr().out
        assert "Example" in shown, command
        assert f"oms {command}" in shown, command


@pytest.mark.parametrize("group", [(), ("orders",), ("sagas",), ("dead-letters",), ("stock",), ("broker",)])
def test_a_group_without_a_command_shows_its_help(oms: Oms, group: tuple[str, ...]) -> None:
    ran = oms(*group)
    assert ran.code == 0
    assert "Usage: oms" in ran.out


def test_starting_the_command_line_loads_nothing_heavy() -> None:
    heavy = ("httpx", "sqlalchemy", "pydantic", "fastapi", "uvicorn", "aio_pika", "psycopg", "alembic")
    program = f"import sys, oms.cli; print([name for name in {heavy} if name in sys.modules])"
    ran = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    assert ran.stdout == "[]\n"


async def test_events_that_span_several_lines_are_one(api: FakeApi) -> None:
    text = 'data: {"a":\ndata: 1}\n\n: quiet\n\nid: 2\nevent: x\ndata: {}\n\n'
    api.on("GET", "/e", lambda _r: httpx.Response(200, text=text))
    async with api_client.ApiClient("http://127.0.0.1:1", None, api) as client:
        events = [event async for event in client.events("/e")]
    assert [(event.id, event.kind, event.data) for event in events] == [("", "", {"a": 1}), ("2", "x", {})]


async def test_an_event_stream_that_is_refused_says_why(api: FakeApi) -> None:
    api.on("GET", "/e", problem(404, "there is no such order"))
    async with api_client.ApiClient("http://127.0.0.1:1", None, api) as client:
        with pytest.raises(api_client.Refused, match="no such order"):
            await anext(client.events("/e"))


def test_an_order_followed_over_a_broken_stream_goes_on_where_it_was(
    oms: Oms, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def at_once(_seconds: float) -> None:
        return None

    monkeypatch.setattr(asyncio, "sleep", at_once)
    texts = iter(
        [
            'id: 5\nevent: order.paid\ndata: {"status": "paid"}\n\n',
            'id: 6\nevent: order.completed\ndata: {"status": "completed"}\n\n',
        ]
    )
    api.on("GET", f"/orders/{ORDER_ID}/events", lambda _r: httpx.Response(200, text=next(texts)))
    assert oms("orders", "watch", ORDER_ID, "--json").out.count("\n") == 2
    assert [request.headers.get("Last-Event-ID") for request in api.requests] == [None, "5"]


def test_answers_are_not_cut_where_they_are_piped(oms: Oms, api: FakeApi) -> None:
    long = {**ORDER, "customer_id": "c" * 128}
    api.on("GET", "/orders", json_answer({"items": [long], "next_cursor": None}))
    shown = oms("orders", "list").out
    assert ORDER_ID in shown
    assert "…" not in shown
