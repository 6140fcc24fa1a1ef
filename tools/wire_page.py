"""Writes the generated parts of ``docs/wire.md``: `python -m tools.wire_page`.

A part stands between ``<!-- begin: NAME -->`` and ``<!-- end: NAME -->``; all else is written by hand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from contracts.asyncapi import asyncapi
from contracts.commands import Command
from contracts.envelope import Direction
from contracts.events import EVENTS, OutcomeEvent
from contracts.examples import COMMAND_HEADERS, EVENT_HEADERS
from contracts.failures import EXAMPLE
from contracts.routing import INVENTORY, command_queue
from contracts.traffic import OURS
from contracts.works import WORKS
from messaging.rabbitmq.topology import Names, queue_arguments
from messaging.retries import RetryPolicy
from messaging.topology import participant_topology
from oms.conformance.checks import CHECKS, FIRST
from participants.fence import TABLE, Move, State
from participants.own_effects import OWN_RULINGS
from participants.retention import FINAL
from participants.verdicts import LEADS_TO, RULINGS, Ruling

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = Path("docs/wire.md")
RECORD: Final = Path("docs/recorded/exchange.json")

_PART: Final = re.compile(r"(<!-- begin: (\S+) -->\n).*?(<!-- end: \2 -->)", re.DOTALL)
_EXAMPLES: Final = {"command": COMMAND_HEADERS, "event": EVENT_HEADERS, "failed": {"attempt": 1, **EXAMPLE}}
_MOVES: Final[Mapping[Move, str]] = {Move.REPEAT: "send the stored answer again"}

Rows = Iterable[Sequence[object]]


def rendered(page: str, record: Mapping[str, Any]) -> str:
    """The page with every part as the code says it now. Raises KeyError for a part that nobody makes."""
    parts: dict[str, Callable[[], str]] = {
        "exchanges": _exchanges,
        "queues": _queues,
        "command-headers": lambda: _headers("command"),
        "event-headers": lambda: _headers("event"),
        "failure-headers": lambda: _headers("failed"),
        "commands": _commands,
        "events": _events,
        "fence": _fence,
        "verdicts": _verdicts,
        "checks": _checks,
        **{f"exchange-{name}": partial(_exchange, each) for name, each in record.items()},
    }
    return _PART.sub(lambda found: f"{found[1]}\n{parts[found[2]]()}\n\n{found[3]}", page)


def _table(head: Sequence[str], rows: Rows) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def _code(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return f"`{text}`" if text else "(empty)"


# -- the broker -------------------------------------------------------------------------------------------


def _exchanges() -> str:
    about = {
        "oms.commands": "the orchestrator sends commands; the key is the participant's name",
        "oms.events": "everybody sends events; the key is the event's own",
        f"{command_queue(INVENTORY)}.failed": "you send what failed; the key is the name of a queue",
    }
    topology = participant_topology(INVENTORY, RetryPolicy().delays_s)
    return _table(
        ("exchange", "kind", "what for"),
        ((_code(each.name), each.kind, about[each.name]) for each in topology.exchanges),
    )


def _queues() -> str:
    topology = participant_topology(INVENTORY, RetryPolicy().delays_s)
    bound = {each.queue: f"{_code(each.exchange)}, key {_code(each.key)}" for each in topology.bindings}
    rows = (
        (
            _code(queue.name),
            bound[queue.name],
            "<br>".join(
                f"`{name}` {_code(value)}" for name, value in queue_arguments(queue, Names("")).items()
            ),
        )
        for queue in topology.queues
    )
    return _table(("queue", "bound to", "arguments"), rows)


def _headers(trait: str) -> str:
    schema = asyncapi()["components"]["messageTraits"][trait]["headers"]
    required = set(schema.get("required", ()))
    rows = (
        (
            _code(name),
            field["type"],
            "always" if name in required else "may be missing",
            _code(_EXAMPLES[trait][name]),
            field["description"],
        )
        for name, field in schema["properties"].items()
    )
    return _table(("header", "type", "", "example", "meaning"), rows)


# -- messages ---------------------------------------------------------------------------------------------


def _commands() -> str:
    return _table(("command", "to", "direction", "answered with"), _commands_of_all())


def _commands_of_all() -> Iterator[Sequence[object]]:
    answers: dict[type[Command], tuple[Direction, tuple[type[OutcomeEvent] | None, ...]]] = {}
    for command, work in WORKS.items():
        answers[command] = Direction.FORWARD, (work.success, work.rejection)
        if work.compensation is not None:
            answers[work.compensation] = Direction.COMPENSATING, (work.undone,)
    for participant, commands in OURS.asked.items():
        for each in commands:
            if each in answers:
                direction, events = answers[each]
                said = " or ".join(_link("events", event.__name__) for event in events if event is not None)
                yield _link("commands", each.__name__), participant, _code(direction.value), said
    yield _link("commands", "SettleStep"), "each", "of the work judged", _link("events", "StepSettled")
    yield _link("commands", "AdvanceLowWaterMark"), "each", "none", "nothing"


def _events() -> str:
    rows = (
        (_link("events", name), _code(event.key), ", ".join(OURS.senders(event)), _answers(event))
        for name, event in EVENTS.items()
    )
    return _table(("event", "routing key", "from", ""), rows)


def _answers(event: type[Any]) -> str:
    return "an answer: `mandatory`" if issubclass(event, OutcomeEvent) else "tells; nobody has to listen"


def _link(kind: str, name: str) -> str:
    return f"[`{name}`](../contracts/generated/{kind}/{name}.schema.json)"


# -- the ledger -------------------------------------------------------------------------------------------


def _fence() -> str:
    states: list[State | None] = [None, *State]
    rows = (
        (
            _state(state),
            *(_cell(state, direction) for direction in (Direction.FORWARD, Direction.COMPENSATING)),
        )
        for state in states
    )
    return _table(("the row is", "a forward command", "its compensation"), rows)


def _cell(state: State | None, direction: Direction) -> str:
    cell = TABLE[state, direction]
    otherwise = f"; where there is none: {cell.without_outcome.value}" if cell.without_outcome else ""
    return f"{_MOVES.get(cell.move, cell.move.value)}{otherwise} ({cell.rule})"


def _verdicts() -> str:
    rows = (
        (_code(direction.value), _code(verdict.value), _state(state), ruling.value, own)
        for (direction, verdict), cells in RULINGS.items()
        for state, ruling in cells.items()
        for own in [_own_ruling(state, OWN_RULINGS[direction, verdict].get(state))]
    )
    return _table(("direction", "verdict", "the row is", "what to do", "in your own database"), rows)


def _own_ruling(state: State | None, ruling: Ruling | None) -> str:
    if state not in (None, *FINAL):
        return "never so"
    return "the same" if ruling in LEADS_TO else "not accepted"


def _checks() -> str:
    return _table(("tried", "rules"), ((check.name, ", ".join(check.rules)) for check in (FIRST, *CHECKS)))


def _state(state: State | None) -> str:
    return "not there" if state is None else _code(state.value)


# -- the recorded exchange --------------------------------------------------------------------------------


def _exchange(messages: Sequence[Mapping[str, Any]]) -> str:
    return "\n\n".join(_message(number, each) for number, each in enumerate(messages, start=1))


def _message(number: int, message: Mapping[str, Any]) -> str:
    properties = message["properties"]
    where = f"{_code(message['exchange'])} key {_code(message['routing_key'])}"
    title = f"**{number}. {properties['type']}**, {where}"
    parts = [("properties", properties), ("headers", message["headers"]), ("body", message["body"])]
    lines = ",\n".join(f' "{name}": {json.dumps(value, ensure_ascii=False)}' for name, value in parts)
    return f"{title}\n\n```json\n{{\n{lines}\n}}\n```"


def write_page(root: Path) -> Path:
    """Write the parts anew; returns the page's path."""
    path = root / PAGE
    record = json.loads((root / RECORD).read_text(encoding="utf-8"))
    path.write_text(rendered(path.read_text(encoding="utf-8"), record), encoding="utf-8")
    return path


if __name__ == "__main__":
    print(write_page(ROOT).relative_to(ROOT))
