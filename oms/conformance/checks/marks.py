"""The low-water mark: behind it, work of which nothing is known fails for good (P7)."""

from __future__ import annotations

import random
import time
from datetime import timedelta
from typing import Final
from uuid import UUID

from contracts.commands import AdvanceLowWaterMark
from messaging.compose import instruction_message
from messaging.identifiers import time_ordered_ids
from messaging.transport import Message
from oms.conformance.case import APP_ID
from oms.conformance.envelope import described_dead
from oms.conformance.play import Play
from oms.conformance.repertoire import Example
from oms.conformance.stand_in import utc_now
from oms.conformance.verdict import Broken, Finding

MARK: Final = timedelta(days=8)
EARLIER_MARK: Final = timedelta(days=30)
OLD: Final = timedelta(days=20)
"""Ages: what lies between the two marks is behind the higher one."""


async def behind_the_mark(play: Play, example: Example) -> None:
    """P7: also after a lower mark came later; what is above the mark is served as ever."""
    for age in (MARK, EARLIER_MARK):
        mark = _instruction(play, age)
        await play.stand_in.send(mark)
        await play.case(example).succeed()
        if (dead := play.stand_in.dead_letter_of(mark)) is not None:
            sent = f"{mark.type} with a mark {age.days} days old"
            raise Broken(Finding("P7", sent, "nothing: it is taken and not answered", described_dead(dead)))
    case = play.case(example, saga_id=_id_of_age(OLD))
    what = f"of a saga {OLD.days} days old that is not known, with the mark {MARK.days} days old"
    await case.fail(case.command(), "P7", what)
    if example.compensation is not None:
        await case.fail(case.compensation(), "P7", what)


def _instruction(play: Play, age: timedelta) -> Message:
    instruction = AdvanceLowWaterMark(mark=_id_of_age(age))
    participant, message_id = play.stand_in.participant, play.stand_in.new_id()
    return instruction_message(instruction, participant, message_id, utc_now(), APP_ID)


def _id_of_age(age: timedelta) -> UUID:
    """An id as one that was made so long ago."""
    before_ms = time.time_ns() // 1_000_000 - int(age.total_seconds() * 1000)
    return time_ordered_ids(random.SystemRandom(), lambda: before_ms)()
