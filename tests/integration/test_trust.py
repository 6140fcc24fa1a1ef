"""Who is believed over TLS, and what stands in between: certificates, proxies, and answers of strangers."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from messaging.certificates import UnusableAuthorities, trusting
from messaging.proxies import InvalidProxy, proxy_for
from oms.api_client import ApiClient, ApiFailure, Untrusted
from oms.observing.other_processes import OtherProcesses
from participants.payment.gateway import HttpPaymentGateway
from participants.provider_http import Call, HttpExchange
from participants.provider_terms import ProviderUnavailable
from tests.system.secured import Certificates, certificates

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
FOUND = b'{"items": [], "next_cursor": null, "status": "ok", "components": {}}'


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*PROXIES, "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


def answer(body: bytes, status: str = "200 OK", kind: str = "application/json") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + body


@asynccontextmanager
async def server(
    said: bytes, tls: Certificates | None = None, heard: list[bytes] | None = None
) -> AsyncIterator[int]:
    """Says the same to everybody; gives its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await reader.read(65536)
            if heard is not None:
                heard.append(request)
            writer.write(said)
            await writer.drain()
        except OSError:
            return
        finally:
            writer.close()

    context = None
    if tls is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(tls.certificate, tls.key)
    serving = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with serving:
        yield serving.sockets[0].getsockname()[1]


async def by_the_command_line(url: str) -> str:
    async with ApiClient(url) as api:
        try:
            return str(await api.get("/orders"))
        except Untrusted as error:
            return str(error)


async def by_payment(url: str) -> str:
    exchange = HttpExchange(url)
    try:
        return str(await exchange.perform(Call("GET", "/charges")))
    except ProviderUnavailable as error:
        return str(error)
    finally:
        await exchange.close()


async def by_health(url: str) -> str:
    others = OtherProcesses({"payment": url})
    try:
        return str(await others.readiness())
    finally:
        await others.close()


Asking = Callable[[str], Awaitable[str]]
everybody = pytest.mark.parametrize("asked", [by_the_command_line, by_payment, by_health])


@everybody
async def test_an_unknown_authority_is_said_with_what_helps(asked: Asking, made: Certificates) -> None:
    async with server(answer(FOUND), made) as port:
        said = await asked(f"https://127.0.0.1:{port}")
    assert "the certificate of 127.0.0.1 is not trusted" in said
    assert "SSL_CERT_FILE" in said


@everybody
async def test_a_private_authority_is_named_in_a_variable(
    asked: Asking, made: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(made.authority))
    async with server(answer(FOUND), made) as port:
        said = await asked(f"https://127.0.0.1:{port}")
    assert "not trusted" not in said
    assert "down" not in said


@everybody
async def test_a_certificate_for_another_host_is_not_mended_by_an_authority(
    asked: Asking, made: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(made.authority))
    async with server(answer(FOUND), made) as port:
        said = await asked(f"https://localhost:{port}")
    assert "the certificate of localhost is not trusted (Hostname mismatch" in said
    assert "SSL_CERT_FILE" not in said


@everybody
async def test_a_server_without_tls_is_said_to_have_none(asked: Asking) -> None:
    async with server(answer(FOUND)) as port:
        said = await asked(f"https://127.0.0.1:{port}")
    assert "127.0.0.1 does not speak TLS as expected" in said


def test_variables_that_name_nothing_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: Certificates
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    with pytest.raises(UnusableAuthorities, match=r"SSL_CERT_FILE: .*missing\.pem cannot be read: No such"):
        HttpExchange("https://gateway.example")
    with pytest.raises(ApiFailure, match="SSL_CERT_FILE"):
        ApiClient("https://oms.example")
    ApiClient("http://oms.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(made.key))
    with pytest.raises(UnusableAuthorities, match="holds no certificates in PEM"):
        trusting()
    monkeypatch.setenv("SSL_CERT_FILE", str(made.authority))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(UnusableAuthorities, match=r"SSL_CERT_DIR: .*nowhere is no folder"):
        trusting()


@pytest.mark.parametrize(
    ("environment", "url", "proxy"),
    [
        ({}, "https://gateway.example/v1", None),
        ({"HTTPS_PROXY": "http://p:3128"}, "https://gateway.example/v1", "http://p:3128"),
        ({"https_proxy": "p:3128"}, "https://gateway.example/v1", "http://p:3128"),
        ({"HTTPS_PROXY": "http://p:3128"}, "http://gateway.example", None),
        ({"ALL_PROXY": "http://p:3128"}, "http://gateway.example", "http://p:3128"),
        ({"HTTPS_PROXY": "http://p:3128"}, "https://localhost:8000", None),
        ({"HTTPS_PROXY": "http://p:3128"}, "https://[::1]:8000", None),
        ({"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "other,.example"}, "https://gateway.example", None),
        (
            {"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "pay.example:444"},
            "https://pay.example:444",
            None,
        ),
        ({"HTTPS_PROXY": "http://p:3128", "NO_PROXY": "*"}, "https://u:p@gateway.example", None),
    ],
)
def test_the_environment_says_which_proxy_is_used(
    environment: dict[str, str], url: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert proxy_for(url) == proxy


def test_a_proxy_that_cannot_be_used_is_named_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://user:secret@p")
    with pytest.raises(InvalidProxy, match="HTTPS_PROXY") as refused:
        HttpExchange("https://gateway.example")
    assert "secret" not in str(refused.value)
    with pytest.raises(ApiFailure, match="HTTPS_PROXY"):
        ApiClient("https://oms.example")


@pytest.mark.parametrize("asked", [by_the_command_line, by_payment])
async def test_calls_go_by_way_of_the_proxy_with_its_password(
    asked: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[bytes] = []
    async with server(answer(FOUND), heard=heard) as port:
        monkeypatch.setenv("HTTP_PROXY", f"http://user:secret@127.0.0.1:{port}")
        await asked("http://somewhere.example:8000")
    assert heard[0].startswith(b"GET http://somewhere.example:8000/")
    assert b"proxy-authorization: basic " in heard[0].lower()


async def test_a_proxy_that_refuses_is_no_answer_and_its_password_stays_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with server(answer(b"no", "407 Proxy Authentication Required", "text/plain")) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:secret@127.0.0.1:{port}")
        said = await by_payment("https://somewhere.example")
    assert "407" in said
    assert "secret" not in said


async def test_health_is_asked_for_without_any_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[bytes] = []
    async with server(answer(FOUND), heard=heard) as port:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
        assert "does not answer" in await by_health("http://nobody.invalid:8080")
    assert heard == []


@pytest.mark.parametrize("status", ["200 OK", "302 Found", "402 No", "403 No", "404 No", "409 No"])
async def test_a_page_is_no_answer_of_a_gateway_whatever_its_status(status: str) -> None:
    async with server(answer(b"<html>away</html>", status, "text/html; charset=utf-8")) as port:
        exchange = HttpExchange(f"http://127.0.0.1:{port}")
        with pytest.raises(ProviderUnavailable):
            await HttpPaymentGateway(exchange).charge("k", "order-1", 5, "EUR", "pm")
        await exchange.close()
