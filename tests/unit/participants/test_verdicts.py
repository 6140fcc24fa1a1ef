"""Verdicts: which of them the ledger accepts by itself, and which need the provider (S19, P10)."""

from __future__ import annotations

import pytest

from contracts.commands import Verdict
from contracts.envelope import Direction
from participants.fence import State
from participants.inventory.handlers import inventory
from participants.ledger import LedgerRow
from participants.own_effects import OWN_RULINGS
from participants.verdicts import (
    LEADS_TO,
    RULINGS,
    STANDING,
    Ruling,
    accept,
    accepted_before,
    refuse,
    ruling_on,
)
from tests.support.participants import NOW, Case, delivered, new_id

RESERVE = inventory.steps[0].work
WORKS = inventory.works

STATES: list[State | None] = [None, *State]
PROVIDERS_ALONE = {State.INTENT, State.UNDOING, State.REVERSING}


def test_every_verdict_is_ruled_in_both_directions_and_every_state_has_words() -> None:
    assert set(RULINGS) == {(direction, verdict) for direction in Direction for verdict in Verdict}
    assert set(STANDING) == set(STATES)


@pytest.mark.parametrize("direction", Direction)
def test_no_effect_is_never_accepted_while_a_call_may_be_under_way(direction: Direction) -> None:
    """P10."""
    rulings = RULINGS[direction, Verdict.NO_EFFECT]
    for state in PROVIDERS_ALONE:
        assert rulings.get(state, Ruling.DENY) in (Ruling.PROVE, Ruling.DENY)


@pytest.mark.parametrize("state", [State.DONE, State.CONSUMED, State.REVERSING])
@pytest.mark.parametrize("direction", Direction)
def test_no_effect_is_denied_where_the_ledger_knows_of_one(state: State, direction: Direction) -> None:
    assert state not in RULINGS[direction, Verdict.NO_EFFECT]


@pytest.mark.parametrize("state", [State.REJECTED, State.TOMBSTONE, State.UNDONE, None])
def test_an_effect_is_denied_where_the_ledger_knows_of_none(state: State | None) -> None:
    assert state not in RULINGS[Direction.FORWARD, Verdict.TOOK_EFFECT]


def test_a_forward_verdict_never_leaves_a_call_open() -> None:
    """What is settled outside must not also happen: with an intent, only proof will do."""
    assert RULINGS[Direction.FORWARD, Verdict.SETTLED_OUTSIDE][State.INTENT] is Ruling.PROVE


def test_inventory_never_asks_anybody_and_never_writes_off_what_it_holds() -> None:
    for (direction, _), rulings in OWN_RULINGS.items():
        for state in set(STATES) - PROVIDERS_ALONE:
            ruling = rulings.get(state, Ruling.DENY)
            assert ruling is Ruling.DENY or ruling in LEADS_TO
            if direction is Direction.COMPENSATING and state is State.DONE:
                assert ruling is Ruling.DENY


def test_an_accepted_verdict_is_answered_again_with_the_same_event() -> None:
    """P2."""
    case = Case()
    command = case.settle("reserve", Direction.COMPENSATING, Verdict.NO_EFFECT)
    received = WORKS.decode(delivered(command))
    row, answer = accept(None, received, command, State.TOMBSTONE, NOW, new_id())
    assert (row.state, row.command) == (State.TOMBSTONE, "SettleStep")
    assert accepted_before(row, command) == answer
    other = case.settle("reserve", Direction.COMPENSATING, Verdict.NO_EFFECT, "a reference")
    assert accepted_before(row, other) is None


def test_a_refusal_is_not_remembered() -> None:
    """It may be accepted later, once there is proof."""
    command = Case().settle("reserve", Direction.FORWARD, Verdict.NO_EFFECT)
    received = WORKS.decode(delivered(command))
    first, second = (refuse(received, command, "not yet", new_id()) for _ in range(2))
    assert first.event_id != second.event_id
    assert b'"accepted":false' in first.body


def test_the_ruling_follows_the_row() -> None:
    case = Case()
    command = case.settle("reserve", Direction.FORWARD, Verdict.TOOK_EFFECT)
    assert ruling_on(RULINGS, None, command) is Ruling.DENY
    row = LedgerRow(case.saga_id, "reserve", case.order_id, RESERVE.name, State.INTENT, NOW)
    assert ruling_on(RULINGS, row, command) is Ruling.FIND
