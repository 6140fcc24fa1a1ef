"""Settings: every wrong value is named with what is allowed, and never echoed."""

from __future__ import annotations

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
        ("OMS_LOG_FORMAT", "secret"),
        ("OMS_LOG_LEVEL", "secret"),
        ("OMS_STEP_DEADLINE_S", "-1"),
        ("OMS_STEP_GRACE_S", "nan"),
        ("OMS_RETRY_DELAYS_S", "1,secret"),
        ("OMS_RETRY_DELAYS_S", "0"),
        ("OMS_MAX_ATTEMPTS", "0"),
        ("OMS_IDEMPOTENCY_TTL_S", "60"),
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
