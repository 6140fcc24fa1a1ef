"""Variables that nobody reads are noticed; the list of those that somebody reads is complete."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from oms.cli.app import main
from oms.settings import Settings
from oms.variables import KNOWN, OTHERS, PREFIX, SETTINGS, doubts
from tests.architecture.sources import PROJECT, tracked_files

_NAME = re.compile(r"\bOMS_[A-Z0-9][A-Z0-9_]*[A-Z0-9]\b")
_PLACEHOLDERS = frozenset(
    {
        *("OMS_X", "OMS_X_FILE"),
        *("OMS_LIBRARY_DATABASE_URL", "OMS_REGISTRAR_DATABASE_URL"),
        *("OMS_GIFTS_SHOP_URL", "OMS_STRIPE_KEY", "OMS_STRIPE_KEY_FILE", "OMS_STRIPE_URL"),
    }
)
"""Names in explanations, and settings of extensions that are shown: known where those are installed."""


def _read_somewhere() -> set[str]:
    """Every variable that the project's files name; this one, the list and the record of changes left out."""
    apart = {
        Path(__file__),
        Path(__file__).with_name("test_extensions.py"),
        PROJECT / "oms" / "variables.py",
        PROJECT / "CHANGELOG.md",
    }
    found: set[str] = set()
    for path in tracked_files():
        if path not in apart:
            found.update(_NAME.findall(path.read_bytes().decode(errors="replace")))
    return found - _PLACEHOLDERS


def test_every_variable_that_the_project_speaks_of_is_known() -> None:
    assert _read_somewhere() <= KNOWN


def test_every_setting_is_known_and_every_known_one_is_read() -> None:
    settings = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    assert settings == set(SETTINGS)
    assert set(OTHERS) <= _read_somewhere()


def test_every_setting_stands_on_the_page_of_production() -> None:
    page = (PROJECT / "docs" / "production.md").read_text(encoding="utf-8")
    table = page.partition("## Variables")[2].partition("\n## ")[0]
    assert {*SETTINGS, "OMS_API_URL"} <= set(_NAME.findall(table))


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("OMS_ORDERS_TOKN", "OMS_ORDERS_TOKEN"),
        ("OMS_ORDER_TOKEN", "OMS_ORDERS_TOKEN"),
        ("OMS_ADMIN_TOKEN_FIEL", "OMS_ADMIN_TOKEN_FILE"),
        ("OMS_CARRIER_URL_FIEL", "OMS_CARRIER_URL_FILE"),
        ("OMS_LOGLEVEL_FILE", "OMS_LOG_LEVEL_FILE"),
        ("OMS_HELTH_PORT", "OMS_HEALTH_PORT"),
        ("OMS_RETRY_DELAY_S", "OMS_RETRY_DELAYS_S"),
        ("OMS_API_ULR", "OMS_API_URL"),
        ("oms_admin_tokn", "OMS_ADMIN_TOKEN"),
        ("oms_admin_token_file", "OMS_ADMIN_TOKEN_FILE"),
        ("OMS_SHIPING_DATABASE_URL", "OMS_SHIPPING_DATABASE_URL"),
    ],
)
def test_a_misspelt_name_is_told_with_the_nearest_and_without_its_value(given: str, meant: str) -> None:
    (doubt,) = doubts({given: "s3cret"})
    assert f" {given}," in doubt
    assert doubt.endswith(f"did you mean {meant}?")
    assert "s3cret" not in doubt


def test_a_name_that_resembles_none_is_told_too() -> None:
    assert list(doubts({"OMS_WHATEVER_THIS_IS": "1"})) == [
        "there is no variable OMS_WHATEVER_THIS_IS, so it has no effect"
    ]


def test_what_is_read_or_is_not_ours_is_not_doubted() -> None:
    kubernetes = {
        "OMS_API_SERVICE_HOST": "10.0.0.1",
        "OMS_API_SERVICE_PORT_HTTP": "8000",
        "OMS_API_PORT": "tcp://10.0.0.1:8000",
        "OMS_API_PORT_8000_TCP_ADDR": "10.0.0.1",
    }
    assert list(doubts({**dict.fromkeys(KNOWN, ""), **kubernetes, "oms_log_level": "info", "OMSX": ""})) == []


@pytest.mark.parametrize("command", [["orders", "list", "--help"], ["api", "--help"], ["audit", "--help"]])
def test_every_command_tells(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OMS_ORDERS_TOKN", "s3cret")
    main(command)
    said = capsys.readouterr()
    assert said.err == (
        "oms: there is no variable OMS_ORDERS_TOKN, so it has no effect: did you mean OMS_ORDERS_TOKEN?\n"
    )
    assert "OMS_ORDERS_TOKN" not in said.out
