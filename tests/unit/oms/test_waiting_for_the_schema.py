"""A database that answers one look and not the next, at a start, is waited for."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy.exc import OperationalError

from migrations.run import NewerSchema
from oms import readiness
from oms.failures import Failure
from oms.settings import load_settings

SETTINGS = load_settings(database_url="postgresql+psycopg://nobody@127.0.0.1:1/none")
AWAY = OperationalError("", None, psycopg.errors.ConnectionTimeout("connection timeout expired"))
REFUSED = OperationalError("", None, psycopg.errors.InvalidPassword("password authentication failed"))


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, ...] | Exception]]:
    """What the database says, look by look; all of it has been asked for in the end."""
    said: list[tuple[str, ...] | Exception] = []

    async def pending(*_: object) -> tuple[str, ...]:
        answer = said.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(readiness, "pending_async", pending)
    monkeypatch.setattr(readiness, "PAUSE_S", 0.0)
    yield said
    assert said == []


async def test_it_may_go_away_between_two_looks(answers: list[tuple[str, ...] | Exception]) -> None:
    answers += [AWAY, ("0001",), AWAY, AWAY, ("0001",), ()]
    await readiness.wait_for_schema(SETTINGS, "inventory")


async def test_a_newer_schema_will_do(answers: list[tuple[str, ...] | Exception]) -> None:
    answers += [("0001",), AWAY, NewerSchema("inventory", "0009")]
    await readiness.wait_for_schema(SETTINGS, "inventory")


async def test_who_is_not_let_in_is_told_so_at_any_look(answers: list[tuple[str, ...] | Exception]) -> None:
    answers += [("0001",), REFUSED]
    with pytest.raises(Failure, match="password"):
        await readiness.wait_for_schema(SETTINGS, "inventory")
