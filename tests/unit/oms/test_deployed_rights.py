"""The rights that `deploy/` gives name exactly what the services use."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from contracts import events
from contracts.routing import EVENTS_EXCHANGE, OUTCOMES_QUEUE, PARTICIPANTS, command_queue, dead_letter_queue
from migrations.run import SERVICES
from oms.definitions import registry
from oms.settings import load_settings
from orchestrator.service import topology
from tests.support.servers import PROJECT

DEPLOY = PROJECT / "deploy"
RIGHTS: dict[str, Any] = json.loads((DEPLOY / "rabbitmq/permissions.json").read_text())


def rights(user: str, kind: str) -> re.Pattern[str]:
    [given] = [each for each in RIGHTS["permissions"] if each["user"] == user]
    return re.compile(given[kind])


def everything() -> tuple[set[str], set[str]]:
    settings = load_settings()
    wanted = topology(registry(settings), settings.retry_policy)
    return {each.name for each in wanted.exchanges}, {each.name for each in wanted.queues}


def test_setting_up_may_make_all_that_the_services_need_and_nothing_else() -> None:
    exchanges, queues = everything()
    for name in exchanges | queues:
        assert rights("oms_setup", "configure").search(name), name
    for name in queues:
        assert rights("oms_setup", "write").search(name), name
    for name in ("", "amq.topic", "oms.events2", "payment.commands2", "x.payment.commands"):
        assert not rights("oms_setup", "configure").search(name), name


@pytest.mark.parametrize("participant", PARTICIPANTS)
def test_a_participant_reads_one_queue_and_writes_two_exchanges(participant: str) -> None:
    exchanges, queues = everything()
    user, own = f"oms_{participant}", command_queue(participant)

    assert [name for name in queues if rights(user, "read").search(name)] == [own]
    writes = {name for name in exchanges | queues | {"amq.default"} if rights(user, "write").search(name)}
    assert writes == {EVENTS_EXCHANGE, f"{own}.failed"}
    assert not any(rights(user, "configure").search(name) for name in (*exchanges, *queues, "x"))


def test_the_orchestrator_reads_outcomes_and_dead_letters() -> None:
    _, queues = everything()
    consumed = (*map(command_queue, PARTICIPANTS), OUTCOMES_QUEUE)

    read = {name for name in queues if rights("oms_orchestrator", "read").search(name)}

    assert read == {OUTCOMES_QUEUE, *map(dead_letter_queue, consumed)}


def test_every_event_may_be_sent_by_somebody() -> None:
    patterns = [each["write"] for each in RIGHTS["topic_permissions"] if each["exchange"] == EVENTS_EXCHANGE]
    kinds = [
        kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, events.Event)
    ]
    sent = [kind for kind in kinds if "key" in vars(kind)]
    assert sent
    for kind in sent:
        assert any(re.search(pattern, kind.key) for pattern in patterns), kind.__name__


def test_compose_gives_the_same_rights_and_a_tool_for_people() -> None:
    composed = json.loads((DEPLOY / "compose/broker.json").read_text())

    assert composed["topic_permissions"] == RIGHTS["topic_permissions"]
    assert [each for each in composed["permissions"] if each["user"] != "oms"] == RIGHTS["permissions"]
    assert {each["name"] for each in composed["users"]} == {each["user"] for each in composed["permissions"]}


def test_every_service_has_a_role() -> None:
    roles = (DEPLOY / "postgresql/roles.sql").read_text()
    for service in (*SERVICES, "migrate", "audit", "prune"):
        assert f"'oms_{service}'" in roles
