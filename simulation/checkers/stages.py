"""Rules about stages: sets that are awaited, the way forward and back through them, branches (S20, S21, S22).

For any definition: what is awaited, asked for and believed is compared with the definition's course and with
what the participants' ledgers say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final
from uuid import UUID

from contracts.commands import SettleStep
from contracts.envelope import Direction
from contracts.routing import ORCHESTRATOR
from orchestrator.core.definition import ForEach, SagaDefinition, StepKind
from orchestrator.core.inputs import (
    CancelRequested,
    CommandDeadLettered,
    CompensationStuck,
    Input,
    OutcomeReceived,
    OutcomeUnknown,
    ResolveRequested,
    RetryRequested,
    SignalReceived,
    StepOverdue,
    WaitElapsed,
)
from orchestrator.core.state import ENDED, NOT_SENT, Forward, Saga, Status, StepState, Undo
from orchestrator.core.values import replace
from participants.fence import State
from participants.ledger import LedgerRow
from simulation.checkers.inspection import Checker, Objections, Reaction
from simulation.checkers.knowledge import Knowledge, added_messages
from simulation.facts import Committed
from simulation.storage.orchestrator import HISTORY, SAGAS

FORWARD, COMPENSATING = Direction.FORWARD, Direction.COMPENSATING

Piece = tuple[str, Direction]

UNHELD: Final = (State.REJECTED, State.UNDONE, State.TOMBSTONE, State.SETTLED)
"""States of ledger rows of which nothing is held, and nothing ever will be."""


class Disturbs(Checker):
    """An answer, a timer or a person changes the piece that it is about, and no other (S20)."""

    rule = "what answers one piece disturbs no other (S20)"

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Committed: self._committed}

    def _committed(self, fact: Committed) -> Objections:
        entries: dict[UUID, list[Input]] = {}
        for change in fact.of(HISTORY):
            entries.setdefault(change.after.saga_id, []).append(change.after.accepted)
        for change in fact.of(SAGAS):
            if change.before is not None:
                concerned = list(_concerned(change.before, entries.get(change.after.saga_id, ())))
                yield from self._disturbed(change.before, change.after, concerned)

    def _disturbed(self, before: Saga, after: Saga, concerned: Sequence[Piece]) -> Objections:
        turned = before.direction is FORWARD and after.direction is COMPENSATING
        for was in before.awaited:
            if (was.step, was.direction) in concerned or (turned and was.direction is FORWARD):
                continue
            now = after.waiting_for(was.step, was.direction)
            if now is None or replace(now, sending=NOT_SENT) != replace(was, sending=NOT_SENT):
                yield str(after.saga_id), f"{was.step} ({was.direction}) is disturbed: it is {now}"
        touched = {step for step, _ in concerned}
        for piece in before.steps:
            if piece.name not in touched and not _follows(piece, after):
                yield str(after.saga_id), f"{piece.name} was {piece} and is {_piece(after, piece.name)}"


def _concerned(before: Saga, accepted: Sequence[Input]) -> Iterator[Piece]:
    """The pieces that inputs are about."""
    for each in accepted:
        match each:
            case OutcomeReceived(step=step, direction=direction) | CommandDeadLettered(step, direction):
                yield step, direction
            case OutcomeUnknown(step) | StepOverdue(step):
                yield step, FORWARD
            case CompensationStuck(step):
                yield step, COMPENSATING
            case SignalReceived(wait=wait) | WaitElapsed(wait=wait):
                yield wait, FORWARD
            case ResolveRequested(step=step):
                yield from ((step, direction) for direction in Direction)
            case RetryRequested(step=step):
                yield from ((one.step, one.direction) for one in before.awaited if step in (None, one.step))
            case CancelRequested():
                yield from ((one.step, one.direction) for one in before.awaited)
            case _:
                pass


_FORWARD_ON_ITS_OWN: Final = {
    Forward.PENDING: (Forward.AWAITED, Forward.LEFT_OUT, Forward.SUCCEEDED, Forward.UNKNOWN),
    Forward.AWAITED: (Forward.UNKNOWN, Forward.LEFT_OUT),
}
"""How a piece may change by what happens to others: its stage begins, is not needed, or the saga turns."""


def _follows(before: StepState, after: Saga) -> bool:
    now = _piece(after, before.name)
    if now is None or now.item != before.item:
        return False
    forward = now.forward is before.forward or now.forward in _FORWARD_ON_ITS_OWN.get(before.forward, ())
    undo = now.undo is before.undo or (before.undo, now.undo) == (Undo.NONE, Undo.AWAITED)
    return forward and undo


def _piece(saga: Saga, name: str) -> StepState | None:
    return saga.step(name) if saga.knows(name) else None


class BelievesTheLedgers(Checker):
    """What a saga takes for done, refused or undone stands so in that participant's ledger (S1, S20)."""

    rule = "a saga believes what the ledgers say (S1, S20)"

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Committed: self._committed}

    def _committed(self, fact: Committed) -> Objections:
        for change in fact.of(SAGAS):
            before, after = change.before, change.after
            definition = self.known.definition_of(after)
            for piece in after.steps:
                if piece.name in definition and (before is None or _piece(before, piece.name) != piece):
                    row = self.known.rows.get((after.saga_id, piece.name))
                    if not _is_true(definition, piece, row):
                        stands = None if row is None else row.state
                        told = f"{piece.forward}/{piece.undo}"
                        yield (
                            str(after.saga_id),
                            f"{piece.name} is taken for {told}, its ledger: {stands}",
                        )


def _is_true(definition: SagaDefinition, piece: StepState, row: LedgerRow | None) -> bool:
    step = definition[piece.name]
    if piece.forward is Forward.SUCCEEDED and not _answered(row, step.success):
        return False
    if piece.forward is Forward.REJECTED and not _answered(row, step.rejection):
        return False
    if piece.undo in (Undo.NONE, Undo.AWAITED):
        return True
    return row is not None and (row.compensation is not None or row.verdict is not None)


def _answered(row: LedgerRow | None, event: type | None) -> bool:
    """Whether a ledger has given this answer, or a person's verdict stands in its place."""
    if row is None:
        return False
    given = row.forward is not None and event is not None and row.forward.type == event.__name__
    return given or row.verdict is not None


class LeavesAStageWhole(Checker):
    """A stage is asked for as a whole, and only when all of those before it are done (S6, S20, S22)."""

    rule = "a stage is left when all of it is done (S20)"

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Committed: self._committed}

    def _committed(self, fact: Committed) -> Objections:
        for saga, piece, direction in asked_in(self.known, fact):
            if direction is FORWARD and str(saga.saga_id) not in self.known.lied_to:
                definition = self.known.definition_of(saga)
                for said in missing_before(self.known, saga, definition.stage_index(piece)):
                    yield str(saga.saga_id), f"{piece} is asked for while {said}"
                yield from self._begun_whole(definition, saga, piece)
        for change in fact.of(SAGAS):
            ended = change.before is not None and change.before.status not in ENDED
            if ended and change.after.status is Status.COMPLETED:
                for said in missing_before(self.known, change.after, len(self._course(change.after))):
                    yield str(change.key), f"it is complete while {said}"

    def _course(self, saga: Saga) -> Sequence[object]:
        return self.known.definition_of(saga).course

    def _begun_whole(self, definition: SagaDefinition, saga: Saga, asked: str) -> Objections:
        stage = definition.stage_index(asked)
        for piece in saga.steps:
            if definition.stage_index(piece.name) == stage and piece.forward is Forward.PENDING:
                yield str(saga.saga_id), f"{asked} is asked for and {piece.name} beside it is not"


def asked_in(known: Knowledge, fact: Committed) -> Iterator[tuple[Saga, str, Direction]]:
    """The pieces of work that a commit asks for, verdicts aside."""
    if fact.service != ORCHESTRATOR:
        return
    for message in added_messages(fact):
        if not known.is_command(message) or message.type == SettleStep.__name__:
            continue
        work = known.work_of(message)
        if work is not None and work[0] in known.sagas:
            yield known.sagas[work[0]], work[1], work[2]


def missing_before(known: Knowledge, saga: Saga, stage: int) -> Iterator[str]:
    """What is not done of the stages before one, by the ledgers."""
    definition = known.definition_of(saga)
    for number, each in enumerate(definition.course[:stage]):
        pieces = [piece for piece in saga.steps if definition.stage_index(piece.name) == number]
        done = [piece for piece in pieces if _is_done(known, definition, saga, piece)]
        if isinstance(each, ForEach) and each.step.kind is StepKind.PIVOT:
            refused = [piece for piece in pieces if piece not in done and _is_refused(known, saga, piece)]
            if pieces and not done:
                yield f"no branch of {each.name} is done"
            done += refused
        yield from (f"{piece.name} is not done" for piece in pieces if piece not in done)


def _is_done(known: Knowledge, definition: SagaDefinition, saga: Saga, piece: StepState) -> bool:
    if piece.name not in definition:
        return piece.forward in (Forward.SUCCEEDED, Forward.LEFT_OUT)
    row = known.rows.get((saga.saga_id, piece.name))
    return row is not None and (
        row.state in (State.DONE, State.CONSUMED) or (row.state is State.SETTLED and row.verdict is not None)
    )


def _is_refused(known: Knowledge, saga: Saga, piece: StepState) -> bool:
    row = known.rows.get((saga.saga_id, piece.name))
    return row is not None and row.state in UNHELD


class UndoesInOrder(Checker):
    """What may hold something is undone stage by stage, the last one first, each as a whole (S3, S21)."""

    rule = "stages are undone in reverse order (S21)"

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Committed: self._committed}

    def _committed(self, fact: Committed) -> Objections:
        for saga, piece, direction in asked_in(self.known, fact):
            if direction is COMPENSATING and str(saga.saga_id) not in self.known.lied_to:
                yield from self._before_the_others(saga, piece)
        for change in fact.of(SAGAS):
            before, after = change.before, change.after
            ended = before is not None and before.status not in ENDED
            if ended and after.status is Status.COMPENSATED:
                for held in self._held(after, from_stage=0):
                    yield str(after.saga_id), f"it has ended while {held}"

    def _before_the_others(self, saga: Saga, undone: str) -> Objections:
        definition = self.known.definition_of(saga)
        stage = definition.stage_index(undone)
        for held in self._held(saga, from_stage=stage + 1):
            yield str(saga.saga_id), f"{undone} is undone while {held}"
        for piece in saga.steps:
            forgotten = piece.may_hold_something and piece.undo is Undo.NONE and piece.name in definition
            if forgotten and piece.name != undone and definition.stage_index(piece.name) == stage:
                yield str(saga.saga_id), f"{undone} is undone and {piece.name} beside it is not"

    def _held(self, saga: Saga, from_stage: int) -> Iterator[str]:
        """Pieces that were asked for and of which something may be held, by the ledgers."""
        if str(saga.saga_id) in self.known.lied_to:
            return
        definition = self.known.definition_of(saga)
        for piece, direction in self.known.asked[saga.saga_id]:
            if direction is FORWARD and definition.stage_index(piece) >= from_stage:
                row = self.known.rows.get((saga.saga_id, piece))
                if row is None or row.state not in UNHELD:
                    yield f"{piece} is {'asked for and unanswered' if row is None else row.state}"


class BranchesStay(Checker):
    """Branches and what they are about stay as they were first worked out (S22)."""

    rule = "branches stay as first worked out (S22)"

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Committed: self._committed}

    def _committed(self, fact: Committed) -> Objections:
        for change in fact.of(SAGAS):
            if change.before is None:
                continue
            definition = self.known.definition_of(change.after)
            before, after = _branches(definition, change.before), _branches(definition, change.after)
            for stage, items in before.items():
                if after.get(stage) != items:
                    yield str(change.key), f"its branches {items} have become {after.get(stage)}"


def _branches(definition: SagaDefinition, saga: Saga) -> dict[int, list[tuple[str, object]]]:
    found: dict[int, list[tuple[str, object]]] = {}
    for piece in saga.steps:
        number = definition.stage_index(piece.name)
        if isinstance(definition.course[number], ForEach):
            found.setdefault(number, []).append((piece.name, piece.item))
    return found


class AsksTheSameAgain(Checker):
    """A command that is sent again is the same, whatever has become of anything else (P2, S22)."""

    rule = "a command sent again is the same (P2)"

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Committed: self._committed}

    def _committed(self, fact: Committed) -> Objections:
        if fact.service != ORCHESTRATOR:
            return
        for message in added_messages(fact):
            if not self.known.is_command(message) or message.type == SettleStep.__name__:
                continue
            work = self.known.work_of(message)
            if work is None:
                continue
            first = self.known.asked[work[0]].get((work[1], work[2]))
            if first is not None and (first.type, first.body) != (message.type, message.body):
                yield str(work[0]), f"{work[1]} ({work[2]}) is asked for in two ways"


class PivotDecides(Checker):
    """Once a pivot, or a branch of one, has its effect, the saga only goes forward (S6, S22)."""

    rule = "after a pivot only forward (S22)"

    @property
    def reactions(self) -> Mapping[type, Reaction]:
        """See `Checker.reactions`."""
        return {Committed: self._committed}

    def _committed(self, fact: Committed) -> Objections:
        for change in fact.of(SAGAS):
            before, after = change.before, change.after
            if before is None or not (before.direction is FORWARD and after.direction is COMPENSATING):
                continue
            definition = self.known.definition_of(after)
            for piece in after.steps:
                if piece.name not in definition or definition[piece.name].kind is StepKind.COMPENSATABLE:
                    continue
                row = self.known.rows.get((after.saga_id, piece.name))
                if row is not None and row.state in (State.DONE, State.CONSUMED):
                    yield str(after.saga_id), f"it turns round although {piece.name} is done"


ALL = (
    Disturbs,
    BelievesTheLedgers,
    LeavesAStageWhole,
    UndoesInOrder,
    BranchesStay,
    AsksTheSameAgain,
    PivotDecides,
)
