"""The messages as an AsyncAPI 3.0 document: channels, operations, envelope, examples.

A channel is a place of `routing`: a routing key of an exchange, or a queue. Whoever sends writes to an
exchange; whoever receives reads from a queue.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel

from contracts.envelope import (
    ATTEMPT,
    CAUSATION_ID,
    CONTENT_TYPE,
    EVENT_ID,
    INSTALLATION,
    SCHEMA_VERSION,
    SCHEMA_VERSION_HEADER,
    TRACEPARENT,
    Body,
)
from contracts.events import OutcomeEvent
from contracts.examples import COMMAND_HEADERS, EVENT_HEADERS
from contracts.failures import MEANING, PERMANENT
from contracts.routing import (
    COMMANDS_EXCHANGE,
    EVENTS_EXCHANGE,
    ORCHESTRATOR,
    OUTCOMES_QUEUE,
    command_queue,
    dead_letter_queue,
    failure_exchange,
)
from contracts.samples import NoSample, sample
from contracts.schemas import schemas_in
from contracts.traffic import OURS, Traffic

Document = dict[str, Any]

_BINDING_VERSION: Final = "0.3.0"
_COMPONENTS: Final = "#/components"


def asyncapi(traffic: Traffic = OURS) -> Document:
    """The whole document: of orders, or of all that travels in an installation."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "OMS saga orchestrator",
            "version": f"{SCHEMA_VERSION}.0.0",
            "description": (
                "Commands that the orchestrator sends to participants, and events with which they answer. "
                "Every message may arrive more than once and in any order. Unknown fields must be ignored. "
                "docs/wire.md says the same in words, with the arguments of the queues."
            ),
        },
        "defaultContentType": CONTENT_TYPE,
        "channels": dict(_channels(traffic)),
        "operations": dict(_operations(traffic)),
        "components": {
            "messages": {name: _message(traffic, model) for name, model in traffic.models.items()},
            "schemas": schemas_in(f"{_COMPONENTS}/schemas/{{model}}", traffic.models.values()),
            "messageTraits": {
                "command": _command_trait(),
                "event": _event_trait(),
                "failed": _failed_trait(),
            },
            "correlationIds": {
                "saga": {
                    "description": "The saga's id; the AMQP property correlation_id holds the same.",
                    "location": "$message.payload#/saga_id",
                }
            },
        },
    }


# -- channels ---------------------------------------------------------------------------------------------


def _channels(traffic: Traffic) -> Iterator[tuple[str, Document]]:
    for participant in traffic.participants:
        about, commands = f"Commands for {participant}.", traffic.taken_by(participant)
        key = _channel(participant, about, commands, _exchange(COMMANDS_EXCHANGE, "direct"))
        yield _key_channel(COMMANDS_EXCHANGE, participant), key
        yield from _queue_channels(command_queue(participant), about, commands)
    for event in traffic.events:
        key = _channel(event.key, _summary(event), [event], _exchange(EVENTS_EXCHANGE, "topic"))
        yield _key_channel(EVENTS_EXCHANGE, event.key), key
    yield from _queue_channels(OUTCOMES_QUEUE, "Every answer that a saga may await.", traffic.outcomes)


def _queue_channels(
    queue: str, about: str, models: Iterable[type[BaseModel]]
) -> Iterator[tuple[str, Document]]:
    messages = tuple(models)
    dead = dead_letter_queue(queue)
    yield queue, _channel(queue, about, messages, _queue(queue))
    yield (
        dead,
        _channel(dead, f"What gave up on its way through {queue}{_WITH_FAILURE}.", messages, _queue(dead)),
    )
    exchange, where = failure_exchange(queue), {"queue": {"description": _HOPS, "examples": [dead]}}
    what = f"What failed on its way through {queue}{_WITH_FAILURE}, to a retry queue or the dead letters."
    hops = _channel("{queue}", what, messages, _exchange(exchange, "direct"))
    yield exchange, {**hops, "parameters": where}


_WITH_FAILURE: Final = ", with the headers of the message trait `failed`"
_HOPS: Final = "The routing key is the name of a retry queue or of the dead-letter queue."


def _key_channel(exchange: str, key: str) -> str:
    return f"{exchange}.{key}"


def _channel(address: str, about: str, models: Iterable[type[BaseModel]], binding: Document) -> Document:
    messages = {model.__name__: _ref("messages", model.__name__) for model in models}
    return {"address": address, "description": about, "messages": messages, "bindings": {"amqp": binding}}


def _exchange(name: str, kind: str) -> Document:
    exchange = {"name": name, "type": kind, "durable": True, "autoDelete": False, "vhost": "/"}
    return {"is": "routingKey", "exchange": exchange, "bindingVersion": _BINDING_VERSION}


def _queue(name: str) -> Document:
    queue = {"name": name, "durable": True, "exclusive": False, "autoDelete": False, "vhost": "/"}
    return {"is": "queue", "queue": queue, "bindingVersion": _BINDING_VERSION}


# -- operations -------------------------------------------------------------------------------------------


def _operations(traffic: Traffic) -> Iterator[tuple[str, Document]]:
    for participant in traffic.participants:
        asked, taken = _key_channel(COMMANDS_EXCHANGE, participant), traffic.taken_by(participant)
        answered = {
            "channel": {"$ref": _pointer("channels", OUTCOMES_QUEUE)},
            "messages": _messages_of(OUTCOMES_QUEUE, traffic.outcomes_of(participant)),
        }
        summary = f"The orchestrator asks {participant} to do or undo a step."
        ask = _operation("send", [ORCHESTRATOR], summary, asked, taken, mandatory=True)
        yield f"ask_{participant}", {**ask, "reply": answered}
        queue, summary = command_queue(participant), f"{participant.capitalize()} takes its commands."
        yield (
            f"{participant}_takes_commands",
            _operation("receive", [participant], summary, queue, taken),
        )
        yield f"{participant}_sends_on_failures", _sends_on(participant, queue, taken)
    for event in traffic.events:
        channel, mandatory = _key_channel(EVENTS_EXCHANGE, event.key), issubclass(event, OutcomeEvent)
        services = traffic.senders(event)
        yield (
            f"publish_{event.__name__}",
            _operation("send", services, _summary(event), channel, [event], mandatory=mandatory),
        )
    summary = "The orchestrator takes the outcomes that its sagas await."
    yield (
        "orchestrator_takes_outcomes",
        _operation("receive", [ORCHESTRATOR], summary, OUTCOMES_QUEUE, traffic.outcomes),
    )
    yield (
        "orchestrator_sends_on_failures",
        _sends_on(ORCHESTRATOR, OUTCOMES_QUEUE, traffic.outcomes),
    )


def _sends_on(service: str, queue: str, models: Iterable[type[BaseModel]]) -> Document:
    summary = f"{service.capitalize()} sends on what failed: to be tried again later, or given up."
    return _operation("send", [service], summary, failure_exchange(queue), models, mandatory=True)


def _operation(
    action: str,
    services: Iterable[str],
    summary: str,
    channel: str,
    models: Iterable[type[BaseModel]],
    *,
    mandatory: bool = False,
) -> Document:
    if action == "send":
        binding: Document = {"deliveryMode": 2, "mandatory": mandatory}
    else:
        binding = {"ack": True}
    return {
        "action": action,
        "channel": {"$ref": _pointer("channels", channel)},
        "summary": summary,
        "tags": [{"name": service} for service in services],
        "messages": _messages_of(channel, models),
        "bindings": {"amqp": {**binding, "bindingVersion": _BINDING_VERSION}},
    }


def _messages_of(channel: str, models: Iterable[type[BaseModel]]) -> list[Document]:
    return [{"$ref": _pointer("channels", channel, "messages", model.__name__)} for model in models]


# -- messages ---------------------------------------------------------------------------------------------


def _message(traffic: Traffic, model: type[BaseModel]) -> Document:
    name = model.__name__
    is_command = name in traffic.commands
    of_saga = {"correlationId": _ref("correlationIds", "saga")} if issubclass(model, Body) else {}
    headers = COMMAND_HEADERS if is_command else EVENT_HEADERS
    return {
        "name": name,
        "title": name,
        "summary": _summary(model),
        "contentType": CONTENT_TYPE,
        **of_saga,
        "traits": [_ref("messageTraits", "command" if is_command else "event")],
        "payload": _ref("schemas", name),
        "bindings": {"amqp": {"messageType": name, "bindingVersion": _BINDING_VERSION}},
        **_examples(model, headers),
    }


def _examples(model: type[BaseModel], headers: Mapping[str, str | int]) -> Document:
    """One example, where one can be made."""
    try:
        example = sample(model).model_dump(mode="json", exclude_none=True)
    except NoSample:
        return {}
    return {"examples": [{"name": "example", "headers": dict(headers), "payload": example}]}


def _command_trait() -> Document:
    return {
        "summary": "Envelope of every command",
        "description": _PROPERTIES,
        "headers": _headers({ATTEMPT: _ATTEMPT}),
    }


def _event_trait() -> Document:
    event_id = _id_schema("Stays the same however often the event is sent; the message id does not.")
    return {
        "summary": "Envelope of every event",
        "description": _PROPERTIES,
        "headers": _headers({EVENT_ID: event_id}),
    }


def _failed_trait() -> Document:
    """On top of the headers that the message had, which stay."""
    of_kind = {name: {"type": "boolean" if name == PERMANENT else "string"} for name in MEANING}
    properties = {name: {**kind, "description": MEANING[name]} for name, kind in of_kind.items()}
    return {
        "summary": "What stands on a message that failed",
        "description": "Beside the headers that it had. The body stays as it was, byte by byte.",
        "headers": {"type": "object", "properties": {ATTEMPT: _ATTEMPT, **properties}},
    }


_ATTEMPT: Final[Document] = {
    "type": "integer",
    "minimum": 1,
    "description": "Which attempt this is: 1 at first, one more with each hop through a retry queue.",
}

_PROPERTIES: Final = (
    "AMQP properties: message_id (another one each time it is sent), correlation_id (the saga's id, if any), "
    "type (the message's name), app_id (the sender), timestamp, content_type, delivery_mode 2."
)


def _headers(own: Mapping[str, Document]) -> Document:
    version = {
        "type": "integer",
        "const": SCHEMA_VERSION,
        "description": "Version of the message type; fields may be added without raising it.",
    }
    trace = {
        "type": "string",
        "pattern": "^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$",
        "description": "W3C trace context.",
    }
    cause = _id_schema("The message that led to this one.")
    whose = _id_schema("The installation whose message it is; an answer repeats the command's (M4).")
    properties = {
        **own,
        SCHEMA_VERSION_HEADER: version,
        CAUSATION_ID: cause,
        TRACEPARENT: trace,
        INSTALLATION: whose,
    }
    return {"type": "object", "properties": properties, "required": [*own, SCHEMA_VERSION_HEADER]}


def _id_schema(about: str) -> Document:
    return {"type": "string", "format": "uuid", "description": about}


def _summary(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().partition("\n")[0]


def _ref(kind: str, name: str) -> Document:
    return {"$ref": f"{_COMPONENTS}/{kind}/{name}"}


def _pointer(*parts: str) -> str:
    return "#/" + "/".join(parts)
