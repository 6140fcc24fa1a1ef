"""The registrar: so many seats a course, kept in a table of its own."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import CheckConstraint, Column, Integer, MetaData, Table, Text, select, update

from enrolment import messages as say
from oms.kit import Participant, Work

TABLES = MetaData(schema=say.REGISTRAR)
_COLUMNS = Column("course", Text, primary_key=True), Column("free", Integer, nullable=False)
COURSES = Table("courses", TABLES, *_COLUMNS, CheckConstraint("free >= 0", name="never_overbooked"))
registrar = Participant(say.REGISTRAR, TABLES, Path(__file__).parent / "migrations")


@registrar.step(say.TakeSeats, undo=say.FreeSeats)
class Seats:
    """A seat in each course, or in none: after a rejection nothing stands of what was written."""

    async def do(self, work: Work, command: say.TakeSeats) -> say.SeatsTaken | say.NoSeat:
        """Take them."""
        for course in sorted(set(command.courses)):
            row = COURSES.c.course == course
            taken = update(COURSES).where(row, COURSES.c.free > 0).values(free=COURSES.c.free - 1)
            if (await work.execute(taken)).rowcount == 0:
                known = (await work.execute(select(COURSES).where(row))).first()
                return work.answer(say.NoSeat, code="full" if known else "unknown_course", message=course)
        return work.answer(say.SeatsTaken, courses=command.courses)

    async def undo(self, work: Work, command: say.FreeSeats, done: say.SeatsTaken) -> say.SeatsFreed:
        """Give back what was taken."""
        row = COURSES.c.course.in_(set(done.courses))
        await work.execute(update(COURSES).where(row).values(free=COURSES.c.free + 1))
        return work.answer(say.SeatsFreed)
