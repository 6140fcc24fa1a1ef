"""Compensations: after, before and side by side with their command (P3, P4, P5)."""

from __future__ import annotations

from typing import Final

from contracts.events import Effect, StepRefused
from oms.conformance.case import COMPENSATING, FORWARD, Case, Owed
from oms.conformance.envelope import described
from oms.conformance.play import Play
from oms.conformance.repertoire import Example
from oms.conformance.verdict import Broken, Finding, NotTried

RACES: Final = 20
COPIES: Final = 3


async def after(play: Play, example: Example) -> None:
    """P3, P5: undone once, however often and however many at once; the late command has no effect."""
    _require_compensation(example)
    case = play.case(example)
    await case.succeed()
    undone = await case.compensate(Effect.UNDONE, "P3", "after its command")
    await case.again(undone, case.compensation(), "the same compensation again", "P3")
    await case.refuse("after its compensation")
    await case.refuse("after its compensation, once more")
    await case.again(undone, case.compensation(), "again, after a late command", "P3")
    other = play.case(example)
    await other.succeed()
    await play.stand_in.send(*(other.compensation() for _ in range(COPIES)))
    await play.stand_in.until(lambda: other.answered(COMPENSATING), play.stand_in.patience.answer_s)
    await other.compensate(Effect.UNDONE, "P3", f"again, after {COPIES} copies at once")


async def before(play: Play, example: Example) -> None:
    """P4, P5: a tombstone is left, and the command that comes after it has no effect."""
    _require_compensation(example)
    case = play.case(example)
    nothing = await case.compensate(Effect.NOTHING, "P4", "before its command")
    await case.again(nothing, case.compensation(), "the same compensation again", "P4")
    await case.refuse("after a compensation that came first")
    await case.again(nothing, case.compensation(), "again, after the late command", "P4")


async def side_by_side(play: Play, example: Example) -> None:
    """P3, P4, P5: whichever comes first, a success is undone and nothing takes effect afterwards."""
    _require_compensation(example)
    cases = [play.case(example) for _ in range(RACES)]
    for case in cases:
        await case.prepare()
    pairs = [
        [case.command(), case.compensation()] if number % 2 else [case.compensation(), case.command()]
        for number, case in enumerate(cases)
    ]
    owed = Owed(play.stand_in, cases, COMPENSATING)
    await play.stand_in.send(*(message for pair in pairs for message in pair))
    await play.stand_in.while_it_grows(owed.answered, RACES)
    for case in cases:
        await _require_fit(case)


async def _require_fit(case: Case) -> None:
    """Raises Broken where the two answers do not fit together, or the command takes effect now."""
    what = "side by side with its command"
    undone = next(iter(case.events(COMPENSATING)), None)
    if undone is None:
        expected = "an answer"
        raise Broken(Finding("P3", case.said(case.compensation(), what), expected, "nothing"))
    await case.refuse(f"after it was compensated {what}")
    took_effect = [event for event in case.events(FORWARD) if event.type == case.example.success.type]
    if took_effect and undone.body.get("effect") == Effect.NOTHING:
        came = f"both {described(took_effect[0])} and {described(undone)}"
        expected = f"{StepRefused.__name__} with effect: nothing, or effect: undone"
        raise Broken(Finding("P4", case.said(case.compensation(), what), expected, came))


def _require_compensation(example: Example) -> None:
    if example.compensation is None:
        raise NotTried("nothing undoes it")
