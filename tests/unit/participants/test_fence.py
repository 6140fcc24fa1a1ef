"""The fence: every ledger state in both directions, and what random histories can never do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.commands import Command
from contracts.envelope import Direction
from messaging.errors import PermanentFailure
from participants.commands import Received, payload_hash
from participants.fence import TABLE, Move, State, allowed
from participants.gate import move_for, opened
from participants.inventory.handlers import inventory
from participants.ledger import LedgerRow, StoredOutcome
from tests.support.participants import NOW, Case, delivered, new_id

RESERVE, COMMIT, *_ = (each.work for each in inventory.steps)
WORKS = inventory.works

FORWARD, COMPENSATING = Direction.FORWARD, Direction.COMPENSATING
OUTCOME = StoredOutcome("InventoryReservedEvent", new_id(), b"{}")


def received(command: Command) -> Received:
    return WORKS.decode(delivered(command))


def row_of(case: Case, state: State, **changes: object) -> LedgerRow:
    row = opened(received(case.reserve(A=1)), RESERVE, state, NOW)
    fields = {name: getattr(row, name) for name in row.__dataclass_fields__}
    return LedgerRow(**{**fields, **changes})


def test_every_state_has_an_entry_in_both_directions() -> None:
    states: list[State | None] = [None, *State]
    assert set(TABLE) == {(state, direction) for state in states for direction in Direction}


def test_p1_without_a_row_the_effect_may_be_done() -> None:
    assert allowed(None, FORWARD, has_outcome=False) is Move.ACT


@pytest.mark.parametrize("state", [State.DONE, State.REJECTED, State.CONSUMED])
def test_p2_an_answer_that_was_given_is_given_again(state: State) -> None:
    assert allowed(state, FORWARD, has_outcome=True) is Move.REPEAT


def test_p3_an_effect_that_stands_is_undone_once() -> None:
    assert allowed(State.DONE, COMPENSATING, has_outcome=False) is Move.UNDO
    assert allowed(State.UNDONE, COMPENSATING, has_outcome=True) is Move.REPEAT


@pytest.mark.parametrize("state", [None, State.REJECTED])
def test_p4_what_had_no_effect_is_buried(state: State | None) -> None:
    assert allowed(state, COMPENSATING, has_outcome=False) is Move.BURY


@pytest.mark.parametrize("state", [State.UNDOING, State.REVERSING, State.UNDONE, State.TOMBSTONE])
def test_p5_a_late_forward_command_is_refused(state: State) -> None:
    for has_outcome in (True, False):
        assert allowed(state, FORWARD, has_outcome) is Move.REFUSE


def test_p6_an_intent_is_called_again_or_settled_and_never_taken_for_an_answer() -> None:
    assert allowed(State.INTENT, FORWARD, has_outcome=False) is Move.ACT_AGAIN
    assert allowed(State.INTENT, COMPENSATING, has_outcome=False) is Move.FIND_OUT
    assert allowed(State.UNDOING, COMPENSATING, has_outcome=False) is Move.FIND_OUT
    assert allowed(State.REVERSING, COMPENSATING, has_outcome=False) is Move.UNDO


def test_p11_what_is_consumed_is_not_released() -> None:
    assert allowed(State.CONSUMED, COMPENSATING, has_outcome=False) is Move.FAIL_CONSUMED


def test_s19_what_a_person_settled_repeats_their_word_or_does_nothing() -> None:
    assert allowed(State.SETTLED, FORWARD, has_outcome=True) is Move.REPEAT
    assert allowed(State.SETTLED, FORWARD, has_outcome=False) is Move.REFUSE
    assert allowed(State.SETTLED, COMPENSATING, has_outcome=True) is Move.REPEAT
    assert allowed(State.SETTLED, COMPENSATING, has_outcome=False) is Move.FAIL_SETTLED


def test_a_tombstone_that_a_verdict_left_still_answers_the_compensation() -> None:
    assert allowed(State.TOMBSTONE, COMPENSATING, has_outcome=False) is Move.BURY
    assert allowed(State.TOMBSTONE, COMPENSATING, has_outcome=True) is Move.REPEAT


def test_a_row_without_the_outcome_that_its_state_promises_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="done without a forward outcome"):
        allowed(State.DONE, FORWARD, has_outcome=False)


@given(st.sampled_from([None, *State]), st.sampled_from(Direction), st.booleans())
def test_only_one_state_of_affairs_allows_a_new_effect(
    state: State | None, direction: Direction, has_outcome: bool
) -> None:
    """P1: no row at all. P6: the same key again, which is no new effect."""
    try:
        move = allowed(state, direction, has_outcome)
    except AssertionError:
        return
    assert (move is Move.ACT) == (state is None and direction is FORWARD)
    assert (move is Move.ACT_AGAIN) == (state is State.INTENT and direction is FORWARD)


# -- the gate -------------------------------------------------------------------------------------------


def test_p2_another_payload_fails_for_good() -> None:
    case = Case()
    row = row_of(case, State.DONE, forward=OUTCOME)
    assert move_for(row, received(case.reserve(A=1))) is Move.REPEAT
    with pytest.raises(PermanentFailure, match="another payload") as failed:
        move_for(row, received(case.reserve(A=2)))
    assert failed.value.kind == "payload_mismatch"


def test_p5_a_refused_command_is_not_asked_for_its_payload() -> None:
    case = Case()
    assert move_for(row_of(case, State.TOMBSTONE), received(case.reserve(A=99))) is Move.REFUSE


def test_another_order_or_another_kind_of_step_fails_for_good() -> None:
    case = Case()
    row = row_of(case, State.DONE, forward=OUTCOME)
    with pytest.raises(PermanentFailure) as failed:
        move_for(row, received(Case(saga_id=case.saga_id).reserve(A=1)))
    assert failed.value.kind == "order_mismatch"
    with pytest.raises(PermanentFailure) as failed:
        move_for(row_of(case, State.DONE, forward=OUTCOME, command=COMMIT.name), received(case.reserve(A=1)))
    assert failed.value.kind == "step_mismatch"


def test_the_hash_covers_the_business_alone() -> None:
    case = Case()
    command = case.reserve(A=1)
    assert payload_hash(command) == payload_hash(command.model_copy(update={"step": "other"}))
    assert payload_hash(command) != payload_hash(case.reserve(A=2))
    assert payload_hash(command) != payload_hash(case.commit())
