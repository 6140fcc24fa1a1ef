"""Whoever stays is let in again and again; what cannot be found out just now sends nobody away."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from contracts.problems import ProblemError
from messaging.unit_of_work import StorageUnavailable
from orchestrator.http import admission
from orchestrator.http.admission import Admission
from orchestrator.progress import Interest, Watch

HOUR_S = 3600.0


class Door:
    """Lets somebody in until it is told otherwise; counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.trouble: Exception | None = None

    async def admit(self) -> object:
        self.asked += 1
        if self.trouble is not None:
            raise self.trouble
        return "somebody"


def a_watch() -> Watch:
    return Watch(UUID(int=1), Interest.EVERY_CHANGE)


async def test_who_is_let_in_is_not_looked_at_again_at_once() -> None:
    door = Door()
    admitted = Admission(door.admit)
    for _ in range(100):
        await admitted.renew()
    assert door.asked == 0


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_wait_ends_for_whoever_would_not_be_let_in_any_more(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "AGAIN_S", 0.0)
    door = Door()
    door.trouble = ProblemError(status, "code", "No.")
    with pytest.raises(ProblemError) as refused:
        await Admission(door.admit).changed(a_watch(), HOUR_S)
    assert refused.value.status == status


@pytest.mark.parametrize(
    "trouble",
    [
        None,
        StorageUnavailable("it is down"),
        ProblemError(503, "issuer_unavailable", "Its keys are not known."),
    ],
    ids=["nothing", "no database", "no issuer"],
)
async def test_a_wait_goes_on_while_nothing_speaks_against_it(
    trouble: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "AGAIN_S", 0.0)
    door, watch = Door(), a_watch()
    door.trouble = trouble
    waiting = asyncio.create_task(Admission(door.admit).changed(watch, HOUR_S))
    while door.asked < 3:
        await asyncio.sleep(0)
    assert not waiting.done()
    watch.wake()
    await waiting


async def test_a_wait_is_over_when_its_time_is() -> None:
    door = Door()
    await Admission(door.admit).changed(a_watch(), 0.0)
    assert door.asked == 0
