"""Killed: what it had taken is answered by its successor, and what it had answered is answered the same."""

from __future__ import annotations

from contracts.events import Effect
from oms.conformance.case import COMPENSATING, FORWARD, Owed
from oms.conformance.play import Play
from oms.conformance.repertoire import Example
from oms.conformance.verdict import Broken, Finding, NotTried


async def killed_at_work(play: Play, example: Example) -> None:
    """S2: killed between taking and answering, it leaves nothing unanswered; nothing is sent again."""
    if example.after:
        raise NotTried("it stands on other work of its saga")
    if play.restart is None:
        raise NotTried("--restart was not given")
    stand_in = play.stand_in
    cases = [play.case(example) for _ in range(play.burst)]
    owed = Owed(stand_in, cases, FORWARD)
    await stand_in.send(*(case.command() for case in cases))
    await stand_in.until(lambda: owed.answered() > 0, stand_in.patience.answer_s)
    so_far = owed.answered()
    await play.killed()
    await stand_in.while_it_grows(owed.answered, len(cases))
    if missing := owed.missing:
        sent = f"{len(cases)} {example.command} at once; killed when {so_far} were answered"
        came = f"nothing for {len(missing)}, such as saga {missing[0].saga_id}"
        raise Broken(Finding("S2", sent, "an answer for each from its successor", came))


async def again_after(play: Play, example: Example) -> None:
    """P2, P4, P5: the ledger outlives the process."""
    if play.restart is None:
        raise NotTried("--restart was not given")
    done = play.case(example)
    answer = await done.succeed()
    rejected = undone = buried = None
    if example.rejection is not None:
        rejected = play.case(example)
        rejection = await rejected.reject()
    if example.compensation is not None:
        undone, buried = play.case(example), play.case(example)
        await undone.succeed()
        compensated = await undone.compensate(Effect.UNDONE, "P3", "after its command")
        await buried.compensate(Effect.NOTHING, "P4", "before its command")
    await play.killed()
    what = "again, after a restart"
    await done.again(answer, done.command(), what)
    if rejected is not None and example.rejection is not None:
        await rejected.again(rejection, rejected.command(example.rejection.body), what)
    if undone is not None and buried is not None:
        await undone.again(compensated, undone.compensation(), what, "P3")
        await undone.refuse("after its compensation and a restart")
        await buried.refuse("after a compensation that came first, and a restart")
        if not buried.answered(COMPENSATING):
            raise AssertionError("a tombstone was answered before")
