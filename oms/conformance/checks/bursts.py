"""Many commands at once: none is lost, and no consumer holds more than its prefetch."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from contracts.envelope import Direction
from contracts.events import Effect
from messaging.transport import Message
from oms.conformance.case import COMPENSATING, FORWARD, Case, Owed
from oms.conformance.play import Play
from oms.conformance.repertoire import Example
from oms.conformance.stand_in import StandIn, Taken
from oms.conformance.verdict import Broken, Finding, NotTried

LOOK_EVERY_S: Final = 0.05


@dataclass(slots=True)
class Held:
    """The most that was seen to be held unacknowledged at one time, and by how many consumers."""

    commands: int = 0
    consumers: int = 0


async def burst(play: Play, example: Example) -> None:
    """Load: all are answered; then all are compensated at once, where something undoes them."""
    if example.after:
        raise NotTried("it stands on other work of its saga")
    cases = [play.case(example) for _ in range(play.burst)]
    held = await _answered(play, cases, [case.command() for case in cases], FORWARD, example.success.type)
    most = play.prefetch * max(1, held.consumers)
    if held.commands > most:
        sent = f"{len(cases)} {example.command} at once"
        expected = f"at most {play.prefetch} unacknowledged for each of {held.consumers} consumers"
        raise Broken(Finding("load", sent, expected, f"{held.commands} held at one time"))
    if example.compensation is not None:
        commands = [case.compensation() for case in cases]
        await _answered(play, cases, commands, COMPENSATING, example.compensation.answer.type)
        wrong = [case for case in cases if case.events(COMPENSATING)[0].body.get("effect") != Effect.UNDONE]
        if wrong:
            sent = f"{len(cases)} {commands[0].type} at once"
            came = f"{len(wrong)} with another effect, such as saga {wrong[0].saga_id}"
            raise Broken(Finding("P3", sent, "effect: undone for each", came))


async def _answered(
    play: Play, cases: Sequence[Case], commands: Sequence[Message], direction: Direction, wanted: str
) -> Held:
    """Send all in one write; raises Broken where one is not answered, or otherwise than wanted."""
    owed, held = Owed(play.stand_in, cases, direction), Held()
    taken = play.stand_in.begin_sending(commands)
    watching = asyncio.create_task(_watch(play.stand_in, taken, owed, held))
    try:
        await play.stand_in.taken(taken)
        await play.stand_in.while_it_grows(owed.answered, len(cases))
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    others = [case for case in cases if [each.type for each in case.events(direction)[:1]] != [wanted]]
    if others:
        got = next(iter(others[0].events(direction)), None)
        came = f"{len(others)} otherwise, such as saga {others[0].saga_id}: {got.type if got else 'nothing'}"
        sent = f"{len(cases)} {commands[0].type} at once"
        raise Broken(Finding("load", sent, f"{wanted} for each", came))
    return held


async def _watch(stand_in: StandIn, taken: Taken, owed: Owed, held: Held) -> None:
    """What the broker has taken, less what waits there and what was answered a moment later, is held.

    Answers that are still on their way are left out by looking for them after the queue.
    """
    while True:
        confirmed = taken.confirmed
        depth = await stand_in.depth()
        await asyncio.sleep(LOOK_EVERY_S)
        held.commands = max(held.commands, confirmed - depth.ready - owed.answered())
        held.consumers = max(held.consumers, depth.consumers)
