"""Settings: every wrong value is named with what is allowed, and never echoed."""

from __future__ import annotations

from pathlib import Path

import pytest

from oms.settings import InvalidSettings, MissingSettings, load_settings


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in list(os.environ):
        if name.startswith("OMS_"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OMS_DATABASE_URL", "mysql://secret@host/db"),
        ("OMS_DATABASE_URL", "postgresql://secret@host"),
        ("OMS_PAYMENT_DATABASE_URL", "secret"),
        ("OMS_BROKER_URL", "http://secret"),
        ("OMS_BROKER_URL", "amqp://ok/,secret"),
        ("OMS_PAYMENT_GATEWAY_URL", "ftp://secret"),
        ("OMS_CARRIER_URL", "secret"),
        ("OMS_ADMIN_TOKEN", "secret"),
        ("OMS_ADMIN_TOKEN", "secret with spaces"),
        ("OMS_HEALTH_PORT", "99999"),
        ("OMS_DATABASE_CONNECTIONS", "3"),
        ("OMS_DATABASE_CONNECTIONS", "secret"),
        ("OMS_LOG_FORMAT", "secret"),
        ("OMS_LOG_LEVEL", "secret"),
        ("OMS_STEP_DEADLINE_S", "-1"),
        ("OMS_STEP_GRACE_S", "nan"),
        ("OMS_RETRY_DELAYS_S", "1,secret"),
        ("OMS_RETRY_DELAYS_S", "0"),
        ("OMS_MAX_ATTEMPTS", "0"),
        ("OMS_IDEMPOTENCY_TTL_S", "60"),
        ("OMS_OIDC_ISSUER", "http://id.secret.example.com"),
        ("OMS_OIDC_ISSUER", "https://user:secret@id.example.com"),
        ("OMS_OIDC_ISSUER", "https://id.example.com/?secret"),
        ("OMS_OIDC_ISSUER", "secret"),
        ("OMS_OIDC_ROLES", "secret"),
        ("OMS_OIDC_ROLES", "owner=secret"),
        ("OMS_OIDC_ROLES", "shop=secret"),
        ("OMS_OIDC_ROLES", "admin="),
        ("OMS_OIDC_ROLES", "admin=secret,viewer=secret"),
        ("OMS_OIDC_SCOPES", "secret"),
        ("OMS_OIDC_SESSION_S", "10"),
        ("OMS_OIDC_CLIENT_ID", "se cret"),
        ("OMS_PUBLIC_URL", "http://secret.example.com"),
        ("OMS_SAGA_TOKENS", "secret"),
        ("OMS_SAGA_TOKENS", "a=secret-one,a=secret-two"),
        ("OMS_HEALTH_URLS", "secret"),
        ("OMS_HEALTH_URLS", "=http://secret"),
        ("OMS_HEALTH_URLS", "a b=http://secret"),
        ("OMS_HEALTH_URLS", "payment=ftp://secret"),
        ("OMS_HEALTH_URLS", "payment=http://secret:1,payment=http://secret:2"),
        ("OMS_SAGA_DEFINITIONS", "secret"),
        ("OMS_SAGA_DEFINITIONS", "a.module:function,secret.module:"),
    ],
)
def test_a_wrong_value_is_named_and_not_echoed(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(InvalidSettings) as refused:
        load_settings()

    assert variable in str(refused.value)
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


WHOLE = {
    "OMS_OIDC_ISSUER": "https://id.example.com",
    "OMS_OIDC_ROLES": "admin=a, operator=b,operator=c=d",
    "OMS_OIDC_CLIENT_ID": "console",
    "OMS_PUBLIC_URL": "https://oms.example.com",
    "OMS_OIDC_AUDIENCE": "api",
}


def test_several_groups_may_give_a_role(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in WHOLE.items():
        monkeypatch.setenv(name, value)

    assert load_settings().oidc_roles == {"a": "admin", "b": "operator", "c=d": "operator"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"OMS_OIDC_ISSUER": ""}, "OMS_OIDC_ISSUER must be set where OMS_OIDC_AUDIENCE is"),
        ({"OMS_OIDC_ROLES": ""}, "OMS_OIDC_ROLES must be set where OMS_OIDC_ISSUER is"),
        ({"OMS_PUBLIC_URL": ""}, "OMS_PUBLIC_URL must be set where OMS_OIDC_CLIENT_ID is"),
        (
            {"OMS_OIDC_CLIENT_ID": "", "OMS_OIDC_AUDIENCE": ""},
            "OMS_OIDC_CLIENT_ID (for people at the console) or OMS_OIDC_AUDIENCE (for programs) must be set",
        ),
        ({"OMS_OIDC_AUDIENCE": "console"}, "OMS_OIDC_AUDIENCE must be another than OMS_OIDC_CLIENT_ID"),
    ],
)
def test_a_provider_is_described_whole_and_without_contradiction(
    changes: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**WHOLE, **changes}.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(InvalidSettings) as refused:
        load_settings()

    assert said in str(refused.value)


@pytest.mark.parametrize(
    "said",
    [
        {"OMS_ADMIN_TOKEN": "secret-1", "OMS_ORDERS_TOKEN": "secret-1"},
        {"OMS_ADMIN_TOKEN": "secret-1", "OMS_SAGA_TOKENS (a)": "secret-1"},
        {"OMS_ORDERS_TOKEN": "secret-1", "OMS_SAGA_TOKENS (a)": "secret-1"},
        {"OMS_SAGA_TOKENS (a)": "secret-1", "OMS_SAGA_TOKENS (b)": "secret-1"},
    ],
)
def test_two_tokens_that_are_the_same_are_both_named(
    said: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    of_sagas = [f"{name[-2]}={token}" for name, token in said.items() if "SAGA" in name]
    monkeypatch.setenv("OMS_SAGA_TOKENS", ",".join(of_sagas))
    for name in said.keys() - {"OMS_SAGA_TOKENS (a)", "OMS_SAGA_TOKENS (b)"}:
        monkeypatch.setenv(name, said[name])

    with pytest.raises(InvalidSettings) as refused:
        load_settings()

    one, other = said
    assert (
        str(refused.value) == f"{one} and {other} hold the same token: each must be another than all others"
    )


def test_several_brokers_and_delays_are_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMS_BROKER_URL", "amqp://a:1/, amqps://b/v")
    monkeypatch.setenv("OMS_RETRY_DELAYS_S", "0.5,2")

    settings = load_settings()

    assert settings.broker_url == ("amqp://a:1/", "amqps://b/v")
    assert settings.retry_policy.delays_s == (0.5, 2)


def test_a_service_takes_its_own_database_before_the_common_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMS_DATABASE_URL", "postgresql://common/db")
    monkeypatch.setenv("OMS_PAYMENT_DATABASE_URL", "postgresql://own/db")

    settings = load_settings()

    assert settings.required_database_url("payment") == "postgresql+psycopg://own/db"
    assert settings.required_database_url("shipping") == "postgresql+psycopg://common/db"


def test_what_is_missing_is_named() -> None:
    settings = load_settings()

    with pytest.raises(MissingSettings, match="OMS_SHIPPING_DATABASE_URL"):
        settings.required_database_url("shipping")
    with pytest.raises(MissingSettings, match="OMS_BROKER_URL"):
        settings.required_broker_urls()


def test_secrets_do_not_show() -> None:
    settings = load_settings(admin_token="very-secret-token")

    assert "very-secret" not in repr(settings)


def test_a_secret_may_stand_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, text in (("url", "postgresql://own/db\n"), ("brokers", "amqp://a:1/,amqps://b/v\n")):
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("OMS_PAYMENT_DATABASE_URL_FILE", str(tmp_path / "url"))
    monkeypatch.setenv("OMS_BROKER_URL_FILE", str(tmp_path / "brokers"))
    monkeypatch.setenv("OMS_BROKER_URL", "")

    settings = load_settings()

    assert settings.payment_database_url == "postgresql+psycopg://own/db"
    assert settings.broker_url == ("amqp://a:1/", "amqps://b/v")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file"),
        (b"", "must hold"),
        (b"\n", "must hold"),
        (b"s" * 70_000, "must hold"),
        (b"\xff\xfe", "no text"),
        (b"short", "8 to 512"),
    ],
)
def test_a_file_that_holds_no_secret_is_named(
    content: bytes | None, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    monkeypatch.setenv("OMS_ADMIN_TOKEN_FILE", str(tmp_path / "token"))

    with pytest.raises(InvalidSettings, match=said) as refused:
        load_settings()

    assert "OMS_ADMIN_TOKEN" in str(refused.value)


def test_a_secret_given_twice_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a-secret-token")
    monkeypatch.setenv("OMS_ORDERS_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("OMS_ORDERS_TOKEN", "another-secret")

    with pytest.raises(
        InvalidSettings, match="OMS_ORDERS_TOKEN and OMS_ORDERS_TOKEN_FILE are both set"
    ) as refused:
        load_settings()

    assert "secret" not in str(refused.value)


def test_a_mark_of_the_byte_order_is_no_part_of_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_bytes(b"\xef\xbb\xbfgood-token\r\n")
    monkeypatch.delenv("OMS_ADMIN_TOKEN", raising=False)
    monkeypatch.setenv("OMS_ADMIN_TOKEN_FILE", str(tmp_path / "token"))
    token = load_settings().admin_token
    assert token is not None
    assert token.get_secret_value() == "good-token"
    (tmp_path / "token").write_bytes("good-token".encode("utf-16"))
    with pytest.raises(InvalidSettings, match=r"OMS_ADMIN_TOKEN_FILE: .*token is no text in UTF-8"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("health_port", "9100\n", 9100),
        ("retry_delays_s", "1, 5", (1, 5)),
        ("saga_definitions", "shop.sagas:returns\n", ("shop.sagas:returns",)),
        ("health_urls", "payment=http://p:8080", {"payment": "http://p:8080"}),
        ("orders_open", "yes", "yes"),
    ],
)
def test_every_setting_may_stand_in_a_file(
    name: str, text: str, value: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "setting").write_text(text)
    monkeypatch.setenv(f"OMS_{name.upper()}_FILE", str(tmp_path / "setting"))

    assert getattr(load_settings(), name) == value


def test_what_a_file_holds_is_checked_as_what_a_variable_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "port").write_text("secret")
    monkeypatch.setenv("OMS_HEALTH_PORT_FILE", str(tmp_path / "port"))

    with pytest.raises(InvalidSettings, match="OMS_HEALTH_PORT") as refused:
        load_settings()

    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "wrong", ["EUR", "EUR=-1", "EUR=1.5", "XXX=3", "EUR=1,EUR=2", "=3", "EUR=9007199254740992"]
)
def test_a_limit_that_makes_no_sense_is_named_by_its_variable(wrong: str) -> None:
    with pytest.raises(InvalidSettings, match="OMS_HOLD_ABOVE"):
        load_settings(hold_above=wrong)


def test_limits_are_by_currency_or_none() -> None:
    assert load_settings(hold_above="EUR=100000, JPY=0").hold_above == {"EUR": 100000, "JPY": 0}
    assert load_settings(hold_above="none").hold_above == {}
    assert load_settings().hold_above is None


def test_shipments_are_single_or_split() -> None:
    assert load_settings().shipments == "single"
    assert load_settings(shipments="split").shipments == "split"
    with pytest.raises(InvalidSettings, match=r"OMS_SHIPMENTS.*'single' or 'split'"):
        load_settings(shipments="many")


def test_the_payment_flow_is_one_of_two() -> None:
    assert load_settings().payment_flow == "charge"
    assert load_settings(payment_flow="capture").payment_flow == "capture"
    with pytest.raises(InvalidSettings, match=r"OMS_PAYMENT_FLOW.*'charge' or 'capture'"):
        load_settings(payment_flow="later")
