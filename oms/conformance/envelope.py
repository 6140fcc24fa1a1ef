"""Whether a message that came is as the wire has it: an answer, or a dead letter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from pydantic import ValidationError

from contracts.envelope import EVENT_ID, SCHEMA_VERSION, SCHEMA_VERSION_HEADER, TRACEPARENT
from contracts.events import OUTCOMES
from contracts.failures import ERROR_MESSAGE, ERROR_TYPE, PERMANENT
from contracts.flaws import field_flaws
from contracts.limits import IDENTIFIER
from contracts.routing import EVENTS_EXCHANGE
from messaging.retries import parse_id
from messaging.transport import Delivery, Message
from oms.conformance.stand_in import Event

_TRACEPARENT: Final = re.compile(r"00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_SHOWN: Final = 200


def flaws(event: Event, identity: dict[str, str], key: str, traceparent: str | None) -> Iterator[str]:
    """What is wrong with an answer, in a person's words.

    Args:
        identity: the fields that its body must repeat.
        key: its routing key.
        traceparent: that of the command.
    """
    delivery = event.delivery
    if (delivery.exchange, delivery.routing_key) != (EVENTS_EXCHANGE, key):
        where = f"exchange {delivery.exchange!r} with routing key {delivery.routing_key!r}"
        yield f"it went to {where}, not to {EVENTS_EXCHANGE!r} with {key!r}"
    if delivery.correlation_id != identity["saga_id"]:
        yield f"its correlation_id is {delivery.correlation_id!r}, not the saga's {identity['saga_id']}"
    if parse_id(delivery.message_id) is None:
        yield f"its message_id {delivery.message_id!r} is no UUID"
    if parse_id(event.event_id) is None:
        yield f"its header {EVENT_ID} is {delivery.headers.get(EVENT_ID)!r}, no UUID as text"
    version = delivery.headers.get(SCHEMA_VERSION_HEADER, SCHEMA_VERSION)
    if version != SCHEMA_VERSION:
        yield f"its header {SCHEMA_VERSION_HEADER} is {version!r}, not {SCHEMA_VERSION}"
    yield from _trace_flaws(delivery.headers.get(TRACEPARENT), traceparent)
    for name, value in identity.items():
        if event.body.get(name) != value:
            yield f"its body's {name} is {event.body.get(name)!r}, not {value!r}"
    yield from _model_flaws(event)


def code_flaws(event: Event) -> Iterator[str]:
    """What is wrong with the code of a rejection."""
    code = event.body.get("code")
    if not isinstance(code, str) or not re.fullmatch(IDENTIFIER, code):
        yield f"its body's code is {code!r}, not 1 to 64 of a-z, 0-9 and _"


def reason_flaws(dead: Delivery, sent: Message) -> Iterator[str]:
    """What is wrong with a dead letter that must say that the failure is permanent."""
    if dead.died_of is not None:
        yield f"the broker moved it ({dead.died_of}), so nothing says why"
        return
    for name in (ERROR_TYPE, ERROR_MESSAGE):
        if not isinstance(said := dead.headers.get(name), str) or not said:
            yield f"its header {name} is {said!r}"
    if dead.headers.get(PERMANENT) is not True:
        yield f"its header {PERMANENT} is {dead.headers.get(PERMANENT)!r}, not true: trying again is useless"
    if dead.body != sent.body:
        yield f"its body has {len(dead.body)} other bytes than the {len(sent.body)} sent"


def described(event: Event) -> str:
    """An answer in a person's words."""
    body = event.delivery.body.decode("utf-8", "replace")
    shown = body if len(body) <= _SHOWN else f"{body[:_SHOWN]}..."
    return f"{event.type or 'a message without type'} with event-id {event.event_id}: {shown}"


def described_dead(dead: Delivery) -> str:
    """A dead letter in a person's words."""
    if dead.died_of is not None:
        return f"a dead letter that the broker moved ({dead.died_of})"
    kind, message = dead.headers.get(ERROR_TYPE), dead.headers.get(ERROR_MESSAGE)
    return f"a dead letter: {kind}: {str(message)[:_SHOWN]}"


def _trace_flaws(value: Any, traceparent: str | None) -> Iterator[str]:
    asked = _TRACEPARENT.fullmatch(traceparent or "")
    if asked is None:
        return
    came = _TRACEPARENT.fullmatch(value) if isinstance(value, str) else None
    if came is None or came[1] != asked[1]:
        yield f"its header {TRACEPARENT} is {value!r}, which does not go on in trace {asked[1]}"


def _model_flaws(event: Event) -> Iterator[str]:
    """Types that are known here have a schema."""
    model = OUTCOMES.get(event.type)
    if model is None:
        return
    try:
        model.model_validate_json(event.delivery.body)
    except ValidationError as error:
        yield from (f"its body's {flaw}" for flaw in field_flaws(error, "JSON")[:5])
