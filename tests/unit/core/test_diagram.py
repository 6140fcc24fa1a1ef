"""Any course is drawn: groups in a box, branches, waits; every arrow goes from something drawn to another."""

from __future__ import annotations

import re

from hypothesis import given, settings

from oms.documents import DIAGRAMS, ROOT
from orchestrator.core.definition import ForEach, Group, SagaDefinition, Wait
from orchestrator.core.diagram import flow_diagram
from tests.unit.core.courses import JOURNEY, RETRIABLE, approval, of, step, travellers
from tests.unit.core.happenings import DEFINITION
from tests.unit.core.random_courses import courses

ARROW = re.compile(r"^(\w+) -(?:->|\.->)(?:\|[^|]+\|)? (\w+)$")
NODE = re.compile(r"^(\w+)(?:\[|\{\{|\(\[)")
BOX = re.compile(r"^subgraph (\w+) \[")


def lines_of(definition: SagaDefinition) -> list[str]:
    """The drawing, line by line."""
    return [line.strip() for line in flow_diagram(definition).splitlines()[1:]]


def check_whole(definition: SagaDefinition) -> None:
    """Every line is a node, a box or an arrow; arrows join what is drawn, and each node is drawn once."""
    nodes: list[str] = []
    ends: set[str] = set()
    for line in lines_of(definition):
        if arrow := re.match(r"^started\(\[.*\]\) --> (\w+)$", line):
            nodes.append("started")
            ends.add(arrow[1])
        elif arrow := ARROW.match(line):
            ends |= {arrow[1], arrow[2]}
        elif node := NODE.match(line) or BOX.match(line):
            nodes.append(node[1])
        else:
            assert line == "end", line
    assert len(nodes) == len(set(nodes))
    assert ends <= set(nodes)


@settings(deadline=None, max_examples=60)
@given(courses())
def test_every_course_is_drawn_whole(definition: SagaDefinition) -> None:
    check_whole(definition)


def test_the_order_saga_is_drawn_as_ever() -> None:
    assert (
        flow_diagram(DEFINITION) in (ROOT / DIAGRAMS / f"{DEFINITION.name.replace('_', '-')}.md").read_text()
    )
    assert "subgraph" not in flow_diagram(DEFINITION)


def test_what_is_side_by_side_stands_in_a_box_and_so_does_its_undoing() -> None:
    drawn = lines_of(JOURNEY)
    at = drawn.index('subgraph GROUP2 ["side by side"]')
    assert [line.partition("[")[0] for line in drawn[at + 1 : at + 4]] == ["flight", "hotel", "end"]
    at = drawn.index('subgraph UNDO2 ["side by side"]')
    assert [line.partition("[")[0] for line in drawn[at + 1 : at + 4]] == ["undo_flight", "undo_hotel", "end"]
    for arrow in (
        "seat -->|Booked| GROUP2",
        "GROUP2 -->|Booked| approval",
        "flight -.->|NotBooked| UNDO2",
        "hotel -.->|no answer, cancel| UNDO2",
        "UNDO2 -->|Unbooked| undo_seat",
        "undo_seat -->|Unbooked| undone",
    ):
        assert arrow in drawn


def test_branches_say_what_they_are_for_and_when_they_turn() -> None:
    drawn = lines_of(JOURNEY)
    assert 'ticket{{"<b>ticket</b>, for each of tickets<br/>Book to agency<br/>pivot"}}' in drawn
    assert "ticket -->|Booked of at least one| rest" in drawn
    assert "ticket -->|nothing to do| rest" in drawn
    assert "ticket -.->|NotBooked of all| UNDO2" in drawn


def test_branches_that_can_be_undone_are_undone_before_what_came_before() -> None:
    drawn = lines_of(of(step("seat"), ForEach("rooms", travellers, step("room"))))
    assert "room -->|Booked of all| completed" in drawn
    assert "room -.->|NotBooked| undo_room" in drawn
    assert "undo_room -->|Unbooked| undo_seat" in drawn


def test_waits_say_what_for_how_long_and_what_then() -> None:
    drawn = lines_of(JOURNEY)
    assert 'approval[/"<b>approval</b><br/>waits for Approval, at most 3600 s"/]' in drawn
    assert 'rest[/"<b>rest</b><br/>waits 60 s"/]' in drawn
    assert "approval -->|Approval| ticket" in drawn
    assert "approval -->|not needed| ticket" in drawn
    assert "approval -.->|Approval that refuses, after 3600 s, cancel| UNDO2" in drawn
    assert "rest -->|after 60 s| tell" in drawn
    assert not [line for line in drawn if line.startswith("rest -.->")], "past the pivot it never turns"


def test_the_ends_are_called_what_the_world_is_told_or_by_their_labels() -> None:
    assert lines_of(JOURNEY)[-2:] == ['completed(["JourneyOver"])', 'undone(["JourneyCalledOff"])']
    silent = lines_of(of(step("seat")))
    assert silent[0] == 'started(["pending"]) --> seat'
    assert silent[-2:] == ['completed(["completed"])', 'undone(["rejected or cancelled"])']


def test_steps_may_be_called_like_words_of_the_drawing() -> None:
    odd = of(
        step("end"),
        Group((step("undo_end"), step("default"))),
        Wait("class", 5),
        approval(name="started"),
        Group((step("completed", RETRIABLE), step("style", RETRIABLE))),
        step("undone", RETRIABLE),
    )
    check_whole(odd)
    assert "endSTEP -->|Booked| GROUP2" in lines_of(odd)
