"""Answers: the first one, the same again, another payload, a rejection (P1, P2, P8)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Final

from contracts.envelope import Direction
from contracts.events import Effect, StepRefused
from messaging.transport import Message
from oms.conformance.case import COMPENSATING, FORWARD, Case
from oms.conformance.envelope import code_flaws, described, flaws
from oms.conformance.play import Play
from oms.conformance.repertoire import Example
from oms.conformance.stand_in import Event
from oms.conformance.verdict import Broken, Finding, NotTried

COPIES: Final = 5
OTHER_STEP: Final = "other"


async def first(play: Play, example: Example) -> None:
    """P1: it is done and answered."""
    await play.case(example).succeed()


async def envelopes(play: Play, example: Example) -> None:
    """Wire: every kind of answer is what the orchestrator, a trace and third parties need."""
    found: list[Finding] = []
    for case, event, key in await _of_every_kind(play, example):
        direction = COMPENSATING if key == _undone_key(example) else FORWARD
        found += _judged(case, event, direction, key)
        if example.rejection is not None and event.type == example.rejection.type:
            found += [Finding("wire", event.type, "a code", each) for each in code_flaws(event)]
    if found:
        raise Broken(*found)


async def again(play: Play, example: Example) -> None:
    """P2: one after the other, and written in another order of its fields."""
    case = play.case(example)
    answer = await case.succeed()
    for _ in range(2):
        await case.again(answer, case.command(), "the same command again")
    await case.again(answer, _reordered(case.command()), "the same command, its fields in another order")


async def side_by_side(play: Play, example: Example) -> None:
    """P2: copies that arrive together, of work that is new."""
    case = play.case(example)
    await case.prepare()
    copies = [case.command() for _ in range(COPIES)]
    await play.stand_in.send(*copies)
    await play.stand_in.until(lambda: case.answered(FORWARD), play.stand_in.patience.answer_s)
    events = case.events(FORWARD)
    what = f"{COPIES} copies at once"
    success = example.success.type
    if not events or events[0].type != success:
        came = described(events[0]) if events else "nothing"
        raise Broken(Finding("P2", case.said(copies[0], what), success, came))
    await case.again(events[0], case.command(), f"once more after {what}")


async def other_payload(play: Play, example: Example) -> None:
    """P2: another payload under the same identity fails for good, and changes nothing."""
    case = play.case(example)
    answer = await case.succeed()
    if example.other_body is not None:
        await case.fail(case.command(example.other_body), "P2", "with other_body, after its own body")
    else:
        other = str(play.stand_in.new_id())
        await case.fail(
            case.command(changes={"order_id": other}), "P2", f"with order_id {other}, after its own"
        )
    await case.again(answer, case.command(), "with its own body, after another one was refused")


async def another_step(play: Play, example: Example) -> None:
    """P1: the ledger's key is saga and step, not the saga alone."""
    if example.after:
        raise NotTried("it stands on other work of its saga")
    one = play.case(example)
    answer = await one.succeed()
    name = f"{example.step}_{OTHER_STEP}"
    other = play.case(example, saga_id=one.saga_id, order_id=one.order_id, step=name)
    other.siblings.add(one.step)
    one.siblings.add(name)
    second = await other.succeed()
    if second.event_id == answer.event_id is not None:
        sent = other.said(other.command(), f"after step {one.step} of the same saga")
        raise Broken(Finding("P1", sent, "an answer of its own", f"that of step {one.step} again"))


async def branches(play: Play, example: Example) -> None:
    """P1, P2, P3: two branches of a for-each, ``ship[1]`` and ``ship[2]``, are two pieces of work (S22)."""
    if example.after:
        raise NotTried("it stands on other work of its saga")
    one = play.case(example, step=f"{example.step}[1]")
    two = play.case(example, saga_id=one.saga_id, order_id=one.order_id, step=f"{example.step}[2]")
    one.siblings.add(two.step)
    two.siblings.add(one.step)
    first_answer, answer = await one.succeed(), await two.succeed()
    if answer.event_id == first_answer.event_id is not None:
        sent = two.said(two.command(), f"after its sibling {one.step}")
        raise Broken(Finding("P1", sent, "an answer of its own", f"that of {one.step} again"))
    if example.compensation is not None:
        await one.compensate(Effect.UNDONE, "P3", f"beside its sibling {two.step}")
    await two.again(answer, two.command(), f"again, after its sibling {one.step} was asked for")
    if example.compensation is not None:
        await two.compensate(Effect.UNDONE, "P3", f"after its sibling {one.step} was undone")


async def rejection(play: Play, example: Example) -> None:
    """P8, P2, P4, P5: it is an answer, stays one, holds nothing, and does not come after its compensation."""
    if example.rejection is None:
        raise NotTried("no rejection is given for it")
    case = play.case(example)
    rejected = await case.reject()
    await case.again(rejected, case.command(example.rejection.body), "the rejected command again")
    if example.compensation is not None:
        await case.compensate(Effect.NOTHING, "P4", "after the command was rejected")
        refused = await case.ask(case.command(example.rejection.body), FORWARD, _is_refusal)
        if refused.event is None or not _is_refusal(refused.event):
            sent = case.said(case.command(), "rejected before, and compensated since")
            raise Broken(Finding("P5", sent, StepRefused.__name__, str(refused)))


def _is_refusal(event: Event) -> bool:
    return event.type == StepRefused.__name__


async def _of_every_kind(play: Play, example: Example) -> list[tuple[Case, Event, str]]:
    """One answer of each kind, with its case and routing key; what cannot be had is found elsewhere."""
    found: list[tuple[Case, Event, str]] = []
    done, rejected, buried = play.case(example), play.case(example), play.case(example)
    with suppress(Broken):
        found.append((done, await done.succeed(), example.success.key))
    if example.rejection is not None:
        with suppress(Broken):
            found.append((rejected, await rejected.reject(), example.rejection.key))
    if example.compensation is not None:
        key = example.compensation.answer.key
        with suppress(Broken):
            found.append((done, await done.compensate(Effect.UNDONE, "P3", ""), key))
        with suppress(Broken):
            found.append((buried, await buried.compensate(Effect.NOTHING, "P4", ""), key))
            found.append((buried, await buried.refuse(""), StepRefused.key))
    return found


def _undone_key(example: Example) -> str | None:
    return None if example.compensation is None else example.compensation.answer.key


def _judged(case: Case, event: Event, direction: Direction, key: str) -> Iterator[Finding]:
    message = case.command() if direction is FORWARD else case.compensation()
    for flaw in flaws(event, case.identity(direction), key, case.traceparent):
        yield Finding("wire", case.said(message), f"a sound {event.type}", flaw)


def _reordered(message: Message) -> Message:
    fields = json.loads(message.body)
    return replace(message, body=json.dumps(dict(reversed(fields.items())), indent=1).encode())
