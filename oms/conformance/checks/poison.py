"""Poison: what cannot be understood goes to the dead letters, and the next command is served (S16, S13)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from contracts.envelope import SCHEMA_VERSION, SCHEMA_VERSION_HEADER
from messaging.transport import Message
from oms.conformance.case import COMPENSATING, FORWARD, Case
from oms.conformance.envelope import described, described_dead, reason_flaws
from oms.conformance.play import Play
from oms.conformance.repertoire import Example
from oms.conformance.verdict import Broken, Finding

MEGABYTE: Final = 1024 * 1024
NEW_FIELD: Final = "a_field_of_a_later_release"


async def added_fields(play: Play, example: Example) -> None:
    """S13: a field more is ignored, and does not make it another command."""
    case = play.case(example)
    await case.prepare()
    message = case.command(changes={NEW_FIELD: {"deep": [1, None, "text"]}})
    message = replace(message, headers={**message.headers, "a-header-of-a-later-release": "text"})
    success = example.success.type
    came = await case.ask(message, FORWARD, lambda event: event.type == success)
    if came.event is None or came.event.type != success:
        raise Broken(Finding("S13", case.said(message, f"with the field {NEW_FIELD}"), success, str(came)))
    await case.again(came.event, case.command(), f"the same command without {NEW_FIELD}", "S13")


async def poison(play: Play, example: Example) -> None:
    """S16, S13, D1: each becomes a dead letter with its reason, and what comes after them is served."""
    sent = list(_poison(play, example))
    await play.stand_in.send(*(message for _, _, _, message in sent))
    found: list[Finding] = []
    try:
        await play.case(example).succeed()
    except Broken as broken:
        found += [replace(each, rule="S16", sent=f"{each.sent}, after poison") for each in broken.findings]
    await play.stand_in.while_it_grows(
        lambda: sum(play.stand_in.dead_letter_of(message) is not None for _, _, _, message in sent), len(sent)
    )
    for rule, what, case, message in sent:
        found += _judged(play, case, rule, what, message)
    if found:
        raise Broken(*found)


async def large_command(play: Play, example: Example) -> None:
    """S16: a large command may be served or refused, but neither is it lost nor does it block."""
    case = play.case(example)
    await case.prepare()
    message = case.command(changes={NEW_FIELD: "x" * MEGABYTE})
    came = await case.ask(message, FORWARD, lambda event: event.type == example.success.type)
    if came.event is None and came.dead is None:
        sent = case.said(message, "with a field of 1 MB that nobody knows")
        raise Broken(Finding("S16", sent, "an answer or a dead letter", "nothing"))
    try:
        await play.case(example).succeed()
    except Broken as broken:
        later = [replace(each, rule="S16", sent=f"{each.sent}, after 1 MB") for each in broken.findings]
        raise Broken(*later) from None


def _judged(play: Play, case: Case, rule: str, what: str, message: Message) -> Iterator[Finding]:
    sent = f"{message.type}: {what}"
    expected = "a dead letter with its reason and its bytes"
    dead = play.stand_in.dead_letter_of(message)
    if dead is None:
        answers = case.events(FORWARD)
        yield Finding(rule, sent, expected, described(answers[0]) if answers else "nothing")
    elif dead.died_of is not None:
        yield Finding(rule, sent, expected, described_dead(dead))
    else:
        yield from (Finding("D1", sent, expected, flaw) for flaw in reason_flaws(dead, message))


def _poison(play: Play, example: Example) -> Iterator[tuple[str, str, Case, Message]]:
    """Rule, description, case and message of each; every one is of a saga of its own."""
    bodies = {
        "an empty body": b"",
        "a body that is no JSON": b"<command/>",
        "a body that is no text": b"\xff\xfe\x00\x01",
        "a list for a body": b"[1, 2, 3]",
        "null for a body": b"null",
        "an object without fields": b"{}",
        "a list of lists, 10,000 deep": b"[" * 10_000,
        "1 MB that is no JSON": b"\x01" * MEGABYTE,
    }
    for what, body in bodies.items():
        case = play.case(example)
        yield "S16", what, case, replace(case.command(), body=body)
    fields: dict[str, dict[str, object]] = {
        "a saga_id that is none": {"saga_id": "none"},
        "a step that is a number": {"step": 7},
        "a forward command that calls itself compensating": {"direction": COMPENSATING.value},
    }
    for what, changes in fields.items():
        case = play.case(example)
        yield "S16", what, case, case.command(changes=changes)
    for what, kind in {"a type that there is not": "ConformanceUnknown", "no type": ""}.items():
        case = play.case(example)
        yield "S16", what, case, replace(case.command(), type=kind)
    case = play.case(example)
    good = case.command()
    yield "S16", "a body that ends too early", case, replace(good, body=good.body[:-1])
    later = {**good.headers, SCHEMA_VERSION_HEADER: SCHEMA_VERSION + 1}
    case = play.case(example)
    yield "S13", f"schema-version {SCHEMA_VERSION + 1}", case, replace(case.command(), headers=later)
