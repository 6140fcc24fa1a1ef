"""All that is tried with a participant, in order."""

from __future__ import annotations

from typing import Final

from oms.conformance.checks import answers, bursts, compensations, marks, poison, restarts, whole
from oms.conformance.play import Check, Play, Tell, performed
from oms.conformance.verdict import Report

FIRST: Final = Check("first command", ("P1",), answers.first)

CHECKS: Final = (
    Check("envelope of every answer", ("wire",), answers.envelopes),
    Check("the same command again", ("P2", "M1"), answers.again),
    Check("the same command side by side", ("P2",), answers.side_by_side),
    Check("the same command with another payload", ("P2", "D1"), answers.other_payload),
    Check("the same saga, another step", ("P1",), answers.another_step),
    Check("the same saga, two branches of a for-each", ("P1", "P2", "P3"), answers.branches),
    Check("business rejection, then its compensation", ("P8", "P2", "P4", "P5"), answers.rejection),
    Check("compensation after its command", ("P3", "P5"), compensations.after),
    Check("compensation before its command", ("P4", "P5"), compensations.before),
    Check("compensation side by side with its command", ("P3", "P4", "P5"), compensations.side_by_side),
    Check("fields that nobody knows yet", ("S13",), poison.added_fields),
    Check("garbage, unknown types and versions, 1 MB", ("S16", "S13", "D1"), poison.poison, once=True),
    Check("a body of 1 MB that is a command", ("S16",), poison.large_command, once=True),
    Check("many commands at once", ("load",), bursts.burst),
    Check("killed while it works", ("S2",), restarts.killed_at_work),
    Check("everything again after a restart", ("P2", "P4", "P5"), restarts.again_after),
    Check("behind the low-water mark", ("P7", "D1"), marks.behind_the_mark, once=True),
    Check("all that came, seen together", ("P2", "P3", "M1"), whole.consistent, once=True),
)


async def participant_report(play: Play, tell: Tell = lambda _: None) -> Report:
    """Try everything with a participant. Raises Failure where the broker or the restart fails."""
    return await performed(play, FIRST, CHECKS, tell)
