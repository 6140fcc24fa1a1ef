"""Whatever stands in an orders file, or answers in the API's place: every order's fate is told."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import httpx
import pytest

from tests.unit.cli.conftest import Oms
from tests.unit.cli.fake_api import ORDER, ORDER_ID, Answer, FakeApi, json_answer

GOOD = '{"customer_id": "Müller", "n": %d}'
PROJECT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    really_sleep = asyncio.sleep

    async def at_once(_seconds: float) -> None:
        await really_sleep(0)

    monkeypatch.setattr(asyncio, "sleep", at_once)


def keys(api: FakeApi) -> list[str]:
    return [request.headers["Idempotency-Key"] for request in api.requests]


def among_good(bad: bytes) -> bytes:
    return b"\r\n".join([(GOOD % 1).encode(), b"", bad, b" ", (GOOD % 2).encode()])


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (GOOD.encode("latin-1"), "not text in UTF-8: byte 19"),
        (b'{"a": NaN}', "/a: NaN"),
        (b'{"a": [1, {"b~/c": -1e999}]}', "/a/1/b~0~1c: NaN, and numbers"),
        (b'{"a": "\\ud800"}', "/a: half of a character"),
        (b'{"\\udfff": 1}', "half of a character"),
        (b'{"a": ' + b"[" * 60 + b"]" * 60 + b"}", "/a/0/0: nested too deeply"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b'{"a": ' + b"9" * 5000 + b"}", "a number has too many digits"),
        (b'{"a": "' + b"x" * (17 << 20) + b'"}', "longer than 16777216 bytes"),
        (b"\x00\x01", "not text in UTF-8, but in UTF-16 or binary"),
        (b'{"a": 1', "not JSON"),
        (b'{"a": 1} {"a": 2}', "not JSON: Extra data"),
        (b"[1]", "an order is a JSON object"),
        (b"7", "an order is a JSON object"),
    ],
    ids=lambda each: str(each)[:24],
)
def test_a_bad_line_is_named_and_the_others_are_submitted(
    bad: bytes, said: str, oms: Oms, api: FakeApi, tmp_path: Path
) -> None:
    (tmp_path / "orders.ndjson").write_bytes(among_good(bad))
    ran = oms("orders", "submit", "orders.ndjson")
    assert (ran.code, ran.out) == (1, "2 taken, 1 failed\n")
    assert ran.err.startswith("line 3: ")
    assert said in ran.err
    assert [body["n"] for body in api.bodies] == [1, 2]
    told = oms("orders", "submit", "-", "--json", stdin=among_good(bad)).out.splitlines()
    assert sorted((each["line"], "error" in each) for each in map(json.loads, told)) == [
        (1, False),
        (3, True),
        (5, False),
    ]


def test_a_mark_of_the_byte_order_is_no_part_of_an_order(oms: Oms, api: FakeApi) -> None:
    one = (GOOD % 1).encode()
    for text in (one, b"\xef\xbb\xbf" + one, b"\xef\xbb\xbf[" + one + b"]"):
        assert oms("orders", "submit", "-", stdin=text).code == 0
    assert len(set(keys(api))) == 1


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32"])
def test_another_encoding_is_said(encoding: str, oms: Oms, api: FakeApi) -> None:
    ran = oms("orders", "submit", "-", stdin=(GOOD % 1).encode(encoding))
    assert ran.code == 1
    assert "not text in UTF-8, but in UTF-16 or binary" in ran.err
    assert api.requests == []


def test_a_bad_order_of_a_list_is_named_by_its_place(oms: Oms, api: FakeApi) -> None:
    ran = oms("orders", "submit", "-", stdin='[{"n": 1}, {"n": Infinity}, {"n": 3}]')
    assert (ran.code, ran.out) == (1, "2 taken, 1 failed\n")
    assert ran.err.startswith("order 2: /n: NaN")
    broken = oms("orders", "submit", "-", stdin='[{"n": 1}, oops]')
    assert "order 2: not JSON" in broken.err
    assert len(api.requests) == 2


def test_what_can_be_read_once_is_read_once(oms: Oms, api: FakeApi, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    writing = Thread(target=lambda: (tmp_path / "fifo").write_bytes(b'{"n": 1}\n{"n": 2}\n{"n": 3}'))
    writing.start()
    assert oms("orders", "submit", "fifo").out == "3 taken, 0 failed\n"
    writing.join()
    (tmp_path / "folder").mkdir()
    assert oms("orders", "submit", "folder").err == "oms: folder: Is a directory\n"


def page(status: int, headers: dict[str, str] | None = None) -> Answer:
    given = {"Content-Type": "text/html", **(headers or {})}
    return lambda _request: httpx.Response(status, text="<html>", headers=given)


def truncated(request: httpx.Request) -> httpx.Response:
    raise httpx.RemoteProtocolError("peer closed connection", request=request)


STRANGERS: dict[str, Answer] = {
    "502": page(502),
    "504": page(504),
    "404": page(404),
    "302": page(302, {"Location": "/login"}),
    "200": page(200),
    "503 with a date": page(503, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
    "504 without a body": lambda _request: httpx.Response(504),
    "JSON of another": json_answer({"message": "Service Unavailable"}, 503),
    "cut off": truncated,
}


@pytest.mark.parametrize("stranger", STRANGERS.values(), ids=STRANGERS)
@pytest.mark.parametrize("after", [0, 5])
def test_what_a_proxy_answers_for_an_api_that_is_away_is_tried_again(
    stranger: Answer, after: int, oms: Oms, api: FakeApi
) -> None:
    taken: set[str] = set()

    def answer(request: httpx.Request) -> httpx.Response:
        key = request.headers["Idempotency-Key"]
        if len(taken) >= after and keys(api).count(key) < 3:
            return stranger(request)
        taken.add(key)
        return json_answer(ORDER, 202)(request)

    api.on("POST", "/orders", answer)
    ran = oms("orders", "submit", "-", stdin="\n".join(GOOD % n for n in range(20)))
    assert (ran.code, ran.out, ran.err) == (0, "20 taken, 0 failed\n", "")
    assert len(taken) == 20


def test_a_url_at_which_something_else_answers_is_told_once(oms: Oms, api: FakeApi) -> None:
    api.on("POST", "/orders", page(404))
    ran = oms("orders", "submit", "-", stdin="\n".join(GOOD % n for n in range(20)))
    assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)
    assert "is the URL right?" in ran.err
    assert len(set(keys(api))) == 1


def test_a_token_that_ends_midway_ends_the_run_with_every_fate_told(oms: Oms, api: FakeApi) -> None:
    refusal = httpx.Response(401, json={"detail": "no"}, headers={"Content-Type": "application/problem+json"})
    api.on("POST", "/orders", lambda r: refusal if len(api.requests) > 3 else json_answer(ORDER, 202)(r))
    stdin = "\n".join(GOOD % n for n in range(50))
    ran = oms("orders", "submit", "-", "--concurrency", "1", stdin=stdin)
    assert (ran.code, ran.out) == (1, "3 taken, 1 failed\n")
    assert ran.err.splitlines()[-1] == "nothing after line 4 was submitted"
    assert len(api.requests) == 4


def test_a_reason_with_separators_of_lines_is_followed(oms: Oms, api: FakeApi) -> None:
    reason = "a\u2028b\u2029c\u0085d"
    order = {**ORDER, "status": "cancelled", "failure": {"code": "cancelled", "message": reason}}
    text = f"id: 1\nevent: order.cancelled\ndata: {json.dumps(order, ensure_ascii=False)}\n\n"
    api.on("GET", f"/orders/{ORDER_ID}/events", lambda _r: httpx.Response(200, content=text.encode()))
    ran = oms("orders", "watch", ORDER_ID, "--json")
    assert ran.code == 0
    assert json.loads(ran.out)["order"]["failure"]["message"] == reason


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes connections and never answers."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


HEEDED = {signal.SIGINT: "default_int_handler", signal.SIGTERM: "SIG_DFL"}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_tells_what_is_not_known(silent: str, number: signal.Signals, code: int) -> None:
    # Whoever runs these tests in the background has signals ignored, which programs inherit.
    heeding = f"import signal; signal.signal({number.value}, signal.{HEEDED[number]}); "
    with subprocess.Popen(
        [sys.executable, "-c", heeding + "from oms.cli import main; raise SystemExit(main())",
         "orders", "submit", "-", "--json", "--url", silent],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=PROJECT,
    ) as submitting:  # fmt: skip
        assert submitting.stdin is not None
        assert submitting.stdout is not None
        assert submitting.stderr is not None
        submitting.stdin.write('{"a": NaN}\n{"n": 2}\n{"n": 3}\n')
        submitting.stdin.flush()
        assert json.loads(submitting.stdout.readline())["line"] == 1  # it has begun, and stdin stays open
        submitting.send_signal(number)
        told = [json.loads(line) for line in submitting.stdout]
        error = submitting.stderr.read()
        assert submitting.wait() == code
    assert all(fate["line"] == 2 and "may have been taken" in fate["error"] for fate in told)
    assert "Traceback" not in error


@pytest.mark.parametrize("closed", ["1", "2"])
def test_a_closed_stream_is_no_trouble(closed: str) -> None:
    program = f"{sys.executable} -c 'from oms.cli import main; raise SystemExit(main())'"
    ran = subprocess.run(
        ["sh", "-c", f"{program} orders --help {closed}>&-; echo code $?"],
        capture_output=True,
        text=True,
        check=True,
        cwd=PROJECT,
    )
    assert ran.stdout.endswith("code 0\n")
    assert ran.stderr == ""


@pytest.mark.parametrize("arguments", [["--help"], ["nonsense"], ["orders", "submit", "missing.json"]])
def test_a_reader_that_left_changes_no_code(arguments: list[str]) -> None:
    codes = []
    for gone in (False, True):
        reading, writing = os.pipe()
        if gone:
            os.close(reading)
        program = "from oms.cli import main; raise SystemExit(main())"
        ran = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            stdout=writing,
            stderr=writing,
            cwd=PROJECT,
            check=False,
        )
        codes.append(ran.returncode)
        os.close(writing)
        if not gone:
            os.close(reading)
    assert codes[0] == codes[1]


def test_characters_that_a_stream_lacks_are_escapes() -> None:
    program = (
        "from oms.cli import output, streams\n"
        "streams.prepare()\n"
        "output.show_json({'name': 'Müller \\ud800 \\u2028'})\n"
        "output.show(output.plain('Müller'))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        check=True,
        cwd=PROJECT,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    document, _, text = ran.stdout.decode("ascii").partition("}\n")
    assert json.loads(document + "}") == {"name": "Müller \ud800 \u2028"}
    assert text.strip() == "M\\xfcller"
