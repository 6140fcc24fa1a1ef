"""Several messages for one queue in one message at the broker (M5): put together, and taken apart again.

A queue asks for batches (`contracts.routing.batch_key`); what a publisher sends at once to one that does
travels by the batch, a lone message as ever. Each part keeps its own properties, headers and body, and is a
delivery like any other on the other side. Pure; transports say who asks and count what is in hand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, Literal, NamedTuple
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json, to_json

from contracts.envelope import BATCH_CONTENT_TYPE, CONTENT_TYPE
from contracts.routing import (
    COMMANDS_EXCHANGE,
    EVENTS_EXCHANGE,
    ORCHESTRATOR,
    OUTCOMES_QUEUE,
    batch_key,
    command_queue,
    dead_letter_queue,
    failure_exchange,
)
from messaging.transport import Delivery, Message

MAX_PARTS: Final = 64
MAX_BYTES: Final = 64 * 1024
"""Of a batch's body. Who sends more breaks the rule: it is not taken apart."""

_FRAME_BYTES: Final = len(b'{"count":64,"messages":[]}')
_PACKABLE: Final = (str, int)
"""What headers' values may be, so that they are read as they were written."""

_LARGEST: Final = 2**63 - 1


class Address(NamedTuple):
    """Where batches for one queue are published."""

    exchange: str
    routing_key: str


@dataclass(frozen=True, slots=True)
class Parcel:
    """One message for the broker, and the messages that it carries: itself, where it is no batch."""

    message: Message
    parts: tuple[Message, ...]

    @property
    def is_batch(self) -> bool:
        """Whether it has to be taken apart."""
        return self.message.content_type == BATCH_CONTENT_TYPE


Takes = Callable[[Address], bool]
"""Whether whoever consumes there asks for batches."""


def address_of(message: Message) -> Address | None:
    """Where a batch with this message would go; None for what always goes by itself.

    Outcomes go past the exchange of events, where anybody may have bound a queue for single ones: through the
    sender's own exchange, on which nobody but the orchestrator can ask for them.
    """
    if not message.mandatory or message.content_type != CONTENT_TYPE:
        return None
    if message.exchange == COMMANDS_EXCHANGE:
        return Address(COMMANDS_EXCHANGE, batch_key(message.routing_key))
    if message.exchange == EVENTS_EXCHANGE:
        return Address(failure_exchange(command_queue(message.app_id)), batch_key(ORCHESTRATOR))
    return None


def parcels(messages: Sequence[Message], takes: Takes) -> list[Parcel]:
    """What to publish for these messages: batches where they are asked for, all else one by one."""
    if len(messages) < 2:
        return [_single(message) for message in messages]
    addresses = [address_of(message) for message in messages]
    several = {address for address, count in Counter(addresses).items() if address and count > 1}
    asking = {address for address in several if takes(address)}
    together: dict[Address, list[Message]] = {}
    singles: list[Parcel] = []
    for message, address in zip(messages, addresses, strict=True):
        if address in asking:
            together.setdefault(address, []).append(message)
        else:
            singles.append(_single(message))
    return singles + [parcel for address, some in together.items() for parcel in _packed(address, some)]


def unpacked(whole: Delivery) -> list[Delivery]:
    """The parts of a batch as it arrived, each with its place behind the tag of the whole.

    A batch that cannot be taken apart is a single delivery with a flaw; so is a part that cannot be read.
    """
    try:
        written = _written(whole.body)
    except ValueError as error:
        return [replace(whole, tag=(*whole.tag, 0), flaw=f"the batch cannot be taken apart: {error}")]
    return [_part(whole, place, part) for place, part in enumerate(written)]


def delivered(
    message: Message,
    queue: str,
    exchange: str,
    routing_key: str,
    redelivered: bool,  # noqa: FBT001 (what the broker says)
    tag: tuple[Any, ...],
    died_of: str | None,
) -> list[Delivery]:
    """A message as its consumer gets it where no wire lies between."""
    is_batch = message.content_type == BATCH_CONTENT_TYPE
    whole = Delivery(
        queue=queue,
        body=message.body,
        message_id=str(message.message_id),
        type=message.type,
        correlation_id=None if message.correlation_id is None else str(message.correlation_id),
        headers=dict(message.headers),
        exchange=exchange,
        routing_key=routing_key,
        redelivered=redelivered,
        tag=tag if is_batch else (*tag, 0),
        died_of=died_of,
    )
    return unpacked(whole) if is_batch else [whole]


def _single(message: Message) -> Parcel:
    return Parcel(message, (message,))


# ------------------------------------------------------------------------------------------------ outgoing


def _packed(address: Address, messages: Sequence[Message]) -> Iterator[Parcel]:
    """Batches within the limits, in the order of the messages; by themselves those that fit into none."""
    parts: list[Message] = []
    texts: list[bytes] = []
    size = _FRAME_BYTES
    for message in messages:
        text = _text_of(message)
        if text is None or len(text) + 1 + _FRAME_BYTES > MAX_BYTES:
            yield _single(message)
            continue
        if len(parts) == MAX_PARTS or size + len(text) + 1 > MAX_BYTES:
            yield _parcel(address, parts, texts)
            parts, texts, size = [], [], _FRAME_BYTES
        parts.append(message)
        texts.append(text)
        size += len(text) + 1
    if parts:
        yield _parcel(address, parts, texts)


def _parcel(address: Address, parts: Sequence[Message], texts: Sequence[bytes]) -> Parcel:
    """It has the message id of its first part, which is on its way with it and with nothing else."""
    first = parts[0]
    if len(parts) == 1:
        return _single(first)
    batch = Message(
        message_id=first.message_id,
        type="batch",
        exchange=address.exchange,
        routing_key=address.routing_key,
        body=b'{"count":%d,"messages":[%b]}' % (len(parts), b",".join(texts)),
        correlation_id=None,
        app_id=first.app_id,
        timestamp=first.timestamp,
        mandatory=True,
        content_type=BATCH_CONTENT_TYPE,
    )
    return Parcel(batch, tuple(parts))


def _text_of(message: Message) -> bytes | None:
    """A part as JSON; None where it would not be read as it was written."""
    headers = message.headers
    for value in headers.values():
        if type(value) not in _PACKABLE or (type(value) is int and abs(value) > _LARGEST):
            return None
    try:
        body = message.body.decode()
        part: dict[str, Any] = {
            "message_id": str(message.message_id),
            "type": message.type,
            "exchange": message.exchange,
            "routing_key": message.routing_key,
            "app_id": message.app_id,
            "timestamp": int(message.timestamp.timestamp()),
            "headers": headers,
            "body": body,
        }
        if message.correlation_id is not None:
            part["correlation_id"] = str(message.correlation_id)
        return to_json(part)
    except (ValueError, OverflowError):
        return None


# ------------------------------------------------------------------------------------------------ incoming


def _within_255_bytes(text: str) -> str:
    if len(text) > 255 or len(text.encode()) > 255:
        raise ValueError("more than 255 bytes")
    return text


Short = Annotated[str, AfterValidator(_within_255_bytes)]
"""What AMQP allows for a property."""

Whole = Annotated[int, Field(ge=-_LARGEST, le=_LARGEST)]


class _Part(BaseModel):
    """One message of a batch. Unknown fields are ignored, so that fields may be added (S13)."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    message_id: Short
    type: Short
    exchange: Short
    routing_key: Short
    correlation_id: Short | None = None
    app_id: Short = ""
    timestamp: Whole = 0
    headers: dict[Short, str | bool | Whole] = {}
    content_type: Literal["application/json"] = "application/json"
    body: str


def _written(body: bytes) -> list[Any]:
    """The parts as JSON. Raises ValueError with what is wrong with the whole."""
    if len(body) > MAX_BYTES:
        raise ValueError(f"it has {len(body)} bytes, and may have {MAX_BYTES}")
    try:
        batch = from_json(body, allow_inf_nan=False)
    except ValueError:
        raise ValueError("it is not JSON") from None
    parts = batch.get("messages") if isinstance(batch, dict) else None
    if not isinstance(parts, list):
        raise ValueError("it has no list of messages")
    if not 1 <= len(parts) <= MAX_PARTS:
        raise ValueError(f"it has {len(parts)} messages, and may have 1 to {MAX_PARTS}")
    if batch.get("count") != len(parts):
        raise ValueError(f"it has {len(parts)} messages, and does not say so")
    return parts


def _part(whole: Delivery, place: int, written: Any) -> Delivery:
    tag = (*whole.tag, place)
    try:
        part = _Part.model_validate(written)
    except ValidationError as error:
        return _rotten(whole, tag, written, _words(error))
    if whole.queue not in _queues_of(part):
        return _rotten(whole, tag, written, "it is for another queue")
    return Delivery(
        whole.queue,
        part.body.encode(),
        part.message_id,
        part.type,
        part.correlation_id,
        part.headers,
        part.exchange,
        part.routing_key,
        whole.redelivered,
        tag,
        died_of=whole.died_of,
    )


def _rotten(whole: Delivery, tag: Any, written: Any, why: str) -> Delivery:
    """A part of which nothing is certain but its bytes."""
    flaw = f"a part of a batch cannot be read: {why}"
    return replace(whole, body=to_json(written), message_id=None, type=None, tag=tag, flaw=flaw)


def _queues_of(part: _Part) -> tuple[str, ...]:
    """Where it may have been delivered."""
    if part.exchange == COMMANDS_EXCHANGE:
        queue = command_queue(part.routing_key)
    elif part.exchange == EVENTS_EXCHANGE:
        queue = OUTCOMES_QUEUE
    else:
        return ()
    return queue, dead_letter_queue(queue)


def _words(error: ValidationError) -> str:
    """The first thing that is wrong, and where. Never a value, which may be sensitive."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(each) for each in first["loc"][:2])
    return f"{where[:80]}: {first['msg'][:80]}" if where else first["msg"][:80]


def ids_of(parcel: Parcel) -> list[UUID]:
    """The messages that it carries."""
    return [part.message_id for part in parcel.parts]
