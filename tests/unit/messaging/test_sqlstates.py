"""What an error of the database means is decided by its SQLSTATE, in one table."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolExhausted

from messaging.sqlstates import DECISIONS, Trouble, is_transient, trouble_of


@pytest.mark.parametrize(
    ("code", "trouble"),
    [
        ("08006", Trouble.PASSES),
        ("0A000", Trouble.ELSEWHERE),
        ("22P05", Trouble.OURS),
        ("23505", Trouble.OURS),
        ("25006", Trouble.ELSEWHERE),
        ("25P02", Trouble.ELSEWHERE),
        ("25P03", Trouble.PASSES),
        ("25P04", Trouble.PASSES),
        ("26000", Trouble.ELSEWHERE),
        ("28P01", Trouble.REFUSED),
        ("3D000", Trouble.REFUSED),
        ("3F000", Trouble.REFUSED),
        ("40001", Trouble.PASSES),
        ("40002", Trouble.OURS),
        ("40P01", Trouble.PASSES),
        ("42501", Trouble.REFUSED),
        ("42601", Trouble.OURS),
        ("42703", Trouble.REFUSED),
        ("42P01", Trouble.REFUSED),
        ("42P05", Trouble.ELSEWHERE),
        ("53100", Trouble.REFUSED),
        ("53300", Trouble.REFUSED),
        ("54001", Trouble.OURS),
        ("55P03", Trouble.PASSES),
        ("57014", Trouble.PASSES),
        ("57P01", Trouble.PASSES),
        ("58030", Trouble.REFUSED),
        ("P0001", Trouble.OURS),
        ("XX001", Trouble.REFUSED),
    ],
)
def test_a_code_has_its_decision_whoever_wrapped_the_error(code: str, trouble: Trouble) -> None:
    error = errors.lookup(code)("said by the server")
    assert trouble_of(error) is trouble
    assert trouble_of(DBAPIError("SELECT 1", {}, error)) is trouble
    assert is_transient(error) is (trouble is not Trouble.OURS)


@pytest.mark.parametrize(
    "error", [psycopg.OperationalError("gone"), psycopg.InterfaceError("closed"), PoolExhausted(), OSError()]
)
def test_where_the_server_said_nothing_it_may_pass(error: Exception) -> None:
    assert trouble_of(error) is Trouble.PASSES


@pytest.mark.parametrize("error", [KeyError("x"), psycopg.DataError("no such value"), ValueError()])
def test_what_is_no_trouble_of_the_databases_is_ours(error: Exception) -> None:
    assert trouble_of(error) is Trouble.OURS


def test_every_entry_is_a_class_or_a_code() -> None:
    assert {len(code) for code in DECISIONS} == {2, 5}
