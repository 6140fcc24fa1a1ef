"""One file of settings beside the variables: as good as they are, and second to them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from oms.cli.app import main
from oms.settings import InvalidSettings, Settings, load_settings

Write = Callable[[str], Path]


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("OMS_"):
            monkeypatch.delenv(name)


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes the file, and names it."""

    def write(text: str) -> Path:
        path = tmp_path / "oms.toml"
        path.write_text(text)
        path.chmod(0o600)
        monkeypatch.setenv("OMS_CONFIG", str(path))
        return path

    return write


def refusal() -> str:
    with pytest.raises(InvalidSettings) as refused:
        load_settings()
    assert "s3cret" not in str(refused.value)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_every_kind_of_value_is_read_as_a_variable_would_say_it(write: Write) -> None:
    write(
        """
        database_url = "postgresql://a:b@host/oms"
        broker_url = ["amqp://one/", "amqp://two/"]
        retry_delays_s = [0.5, 2, 10]
        health_port = 9100
        provider_timeout_s = 2.5
        orders_open = true
        health_urls = { payment = "http://p:8080" }
        oidc_issuer = "https://id.example.com"
        oidc_audience = "oms-api"

        [oidc_roles]
        admin = "oms-admins"
        operator = ["on-call", "shift"]
        """
    )
    settings = load_settings()
    assert settings.broker_url == ("amqp://one/", "amqp://two/")
    assert list(settings.retry_delays_s) == [0.5, 2.0, 10.0]
    assert (settings.health_port, settings.provider_timeout_s) == (9100, 2.5)
    assert settings.orders_open == "yes"
    assert settings.health_urls == {"payment": "http://p:8080"}
    roles = {group: role.value for group, role in settings.oidc_roles.items()}
    assert roles == {"oms-admins": "admin", "on-call": "operator", "shift": "operator"}


def test_a_variable_goes_before_the_file_and_so_does_its_file(
    write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write('health_port = 9100\nlog_level = "debug"\nadmin_token = "of-the-config"\nmax_attempts = 7')
    (tmp_path / "token").write_text("of-its-own-file")
    monkeypatch.setenv("OMS_HEALTH_PORT", "9200")
    monkeypatch.setenv("OMS_ADMIN_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("OMS_LOG_LEVEL", "")
    settings = load_settings()
    assert settings.admin_token is not None
    assert settings.admin_token.get_secret_value() == "of-its-own-file"
    assert (settings.health_port, settings.log_level, settings.max_attempts) == (9200, "debug", 7)


def test_a_key_may_name_a_file_that_holds_the_value(write: Write, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a-good-token\n")
    write(f'admin_token_file = "{tmp_path / "token"}"')
    token = load_settings().admin_token
    assert token is not None
    assert token.get_secret_value() == "a-good-token"


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_has_a_key(name: str, write: Write) -> None:
    write(f"{name} = [[[1]]]")
    assert "allowed are a text, a number, a list or a table of them" in refusal()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('admin_tokn = "s3cret"', "there is no setting admin_tokn: did you mean admin_token?"),
        ('OMS_ADMIN_TOKEN = "s3cret"', "there is no setting OMS_ADMIN_TOKEN: did you mean admin_token?"),
        ('admin_token_fiel = "s3cret"', "did you mean admin_token_file?"),
        ('[oms]\nadmin_token = "s3cret"', "there is no setting oms"),
        ('api_url = "http://s3cret"', "there is no setting api_url"),
        ('shiping_database_url = "postgresql://s3cret/x"', "no participant of this name is installed"),
        ("health_port = 99999", "health_port: Input should be less than or equal to 65535"),
        ('admin_token = "s3cret"', "admin_token: allowed are 8 to 512"),
        ('admin_token = "s3cret-token"\nadmin_token_file = "x"', "are both set"),
        ('admin_token_file = "/nowhere"', "/nowhere cannot be read: No such file"),
        ('broker_url = ["amqp://a/,s3cret"]', "broker_url: allowed are a text"),
        ("health_port = 1979-05-27", "health_port: allowed are a text"),
        ("retry_delays_s = [1, [2]]", "retry_delays_s: allowed are"),
        ('admin_token = "s3cret', "is no TOML"),
        ("admin_token = s3cret", "is no TOML"),
        ("a = 1\na = 2", "is no TOML"),
        ("x" * 70_000, "has more than 65536 bytes"),
    ],
)
def test_what_cannot_be_used_is_named_with_the_file_and_not_repeated(
    text: str, said: str, write: Write
) -> None:
    path = write(text)
    found = refusal()
    assert said in found
    assert str(path) in found


def test_a_file_that_is_not_there_or_no_text_stops_the_start(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMS_CONFIG", "/nowhere/oms.toml")
    assert refusal() == "OMS_CONFIG: /nowhere/oms.toml cannot be read: No such file or directory"
    path = write("")
    path.write_bytes(b"\xff\xfea\x00")
    assert "is no text in UTF-8" in refusal()


def test_what_is_wrong_is_looked_for_where_it_was_said(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write("health_port = 9100")
    monkeypatch.setenv("OMS_HEALTH_PORT", "99999")
    assert refusal().startswith("OMS_HEALTH_PORT: ")


def test_everybody_may_read_a_file_that_holds_no_secret(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write('admin_token = "s3cret-token"')
    main(["audit", "--help"])
    assert capsys.readouterr().err == ""
    path.chmod(0o644)
    main(["audit", "--help"])
    assert capsys.readouterr().err == (
        f"oms: {path} holds admin_token, and everybody on this machine may read it: chmod o-r {path}\n"
    )
    path.write_text('admin_token_file = "/run/secrets/token"\nhealth_port = 9100')
    main(["audit", "--help"])
    assert capsys.readouterr().err == ""
