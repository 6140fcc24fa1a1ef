"""A participant that does everything: steps of its own, on a bench, and at a provider."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from sqlalchemy import Column, Integer, MetaData, Table, Text, select, update

from oms.kit import (
    SENSITIVE,
    Command,
    CompensationOutcome,
    Errand,
    Field,
    OutcomeEvent,
    Participant,
    PermanentFailure,
    Reference,
    Rejection,
    Work,
)
from oms.kit.providers import Took
from oms.kit.testing import FakeProvider

NAME = "loyalty"
TABLES = MetaData(schema=NAME)
POINTS = Table("points", TABLES, Column("member", Text, primary_key=True), Column("points", Integer))

REVISION = f"""
import sqlalchemy as sa
from oms.kit.migrations import op
revision, down_revision = "points_0001", None
def upgrade():
    op.create_table("points", sa.Column("member", sa.Text, primary_key=True), sa.Column("points", sa.Integer),
                    schema="{NAME}")
"""


class Hold(Command):
    participant = NAME
    member: str
    points: int


class PointsHeld(OutcomeEvent):
    key = "loyalty.held"


class TooFew(Rejection):
    key = "loyalty.too_few"


class GiveBack(Command):
    participant = NAME


class GivenBack(CompensationOutcome):
    key = "loyalty.given_back"


class Spend(Command):
    participant = NAME


class Spent(OutcomeEvent):
    key = "loyalty.spent"
    points: int


class Order(Command):
    participant = NAME
    gift: str
    address: Annotated[str, Field(json_schema_extra=SENSITIVE)]


class Ordered(OutcomeEvent):
    key = "loyalty.ordered"
    gift: str
    reference: Reference


class NotDelivered(Rejection):
    key = "loyalty.not_delivered"


class CallOff(Command):
    participant = NAME


class CalledOff(CompensationOutcome):
    key = "loyalty.called_off"
    reference: Reference | None = None


class Tell(Command):
    participant = NAME
    text: str


class Told(OutcomeEvent):
    key = "loyalty.told"


class Counter:
    """The points of every member whom a batch is about."""

    def __init__(self, transaction: Any, points: dict[str, int]) -> None:
        self.points = points
        self._transaction = transaction

    @classmethod
    async def opened(cls, transaction: Any, works: Sequence[Work]) -> Self:
        members = {work.command.member for work in works if isinstance(work.command, Hold)}
        members |= {each.notes["member"] for work in works for each in work.held(Hold)}
        wanted = select(POINTS).where(POINTS.c.member.in_(members)).order_by(POINTS.c.member)
        rows = (await transaction.execute(wanted.with_for_update())).all()
        return cls(transaction, {row.member: row.points for row in rows})

    async def save(self, transaction: Any, works: Sequence[Work]) -> None:
        for member, points in sorted(self.points.items()):
            changed = update(POINTS).where(POINTS.c.member == member).values(points=points)
            await transaction.execute(changed)


class Holding:
    async def do(self, counter: Counter, work: Work, command: Hold) -> PointsHeld | TooFew:
        if command.member == "unknown":
            raise PermanentFailure("unknown_member", "there is no such member")
        if command.member == "crash":
            raise RuntimeError("out of ink")
        if counter.points.get(command.member, 0) < command.points:
            return work.answer(TooFew, code="too_few")
        counter.points[command.member] -= command.points
        work.keep(member=command.member, points=command.points)
        if command.points == 13:
            return work.answer(Told)  # type: ignore[return-value]
        return work.answer(PointsHeld)

    async def undo(self, counter: Counter, work: Work, command: GiveBack, done: PointsHeld) -> GivenBack:
        [held] = work.held(Hold)
        counter.points[held.notes["member"]] += held.notes["points"]
        return work.answer(GivenBack)


class Spending:
    async def do(self, counter: Counter, work: Work, command: Spend) -> Spent:
        for held in work.held(Hold):
            work.consume(held)
            return work.answer(Spent, points=held.notes["points"])
        raise PermanentFailure("nothing_held", "this saga holds no points")


class Gift:
    """A gift is ordered from a shop."""

    rejection = NotDelivered

    def __init__(self, shop: FakeProvider) -> None:
        self._shop = shop

    async def call(self, errand: Errand, command: Order) -> object:
        assert command.address
        return await self._shop.do(errand.key, errand.subject_id)

    async def close(self, errand: Errand) -> object:
        return await self._shop.close(errand.key)

    async def find(self, errand: Errand) -> object:
        return await self._shop.find(errand.key)

    async def recall(self, errand: Errand) -> object:
        return await self._shop.of(errand.subject_id)

    def success(self, errand: Errand, took: Took) -> Ordered:
        return errand.answer(Ordered, gift=errand.kept["gift"], reference=took.reference)

    async def undo(self, errand: Errand, done: Ordered) -> object:
        return await self._shop.do(errand.key, done.reference)

    async def find_undo(self, errand: Errand) -> object:
        return await self._shop.find(errand.key)

    async def recall_undo(self, errand: Errand) -> object:
        return await self._shop.find(errand.key)

    def undone(self, errand: Errand, took: Took) -> CalledOff:
        return errand.answer(CalledOff, reference=took.reference)


class Letter:
    """A letter cannot be taken back, nor refused."""

    def __init__(self, shop: FakeProvider) -> None:
        self._shop = shop

    async def call(self, errand: Errand, command: Tell) -> object:
        return await self._shop.do(errand.key, errand.subject_id)

    async def find(self, errand: Errand) -> object:
        return await self._shop.find(errand.key)

    recall = find

    def success(self, errand: Errand, took: Took) -> Told:
        return errand.answer(Told)


def loyalty(folder: Path) -> Participant:
    """The participant; its revisions are written into a folder."""
    (folder / "0001_points.py").write_text(REVISION)
    made = Participant(NAME, TABLES, folder)
    made.step(Hold, undo=GiveBack, bench=Counter)(Holding)
    made.step(Spend, bench=Counter)(Spending)
    made.provider_step(Order, undo=CallOff)(Gift)
    made.provider_step(Tell)(Letter)
    return made
