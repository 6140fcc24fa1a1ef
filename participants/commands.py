"""Commands as they arrive: which work they belong to, checked at the edge (S16)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from pydantic import ValidationError

from contracts.commands import AdvanceLowWaterMark, Command, SettleStep
from contracts.envelope import Direction
from contracts.events import CompensationOutcome, OutcomeEvent, Rejection
from contracts.flaws import flaws_in_line
from messaging.compose import check_envelope, check_version, traceparent_of
from messaging.consumer import Failed
from messaging.errors import Poison
from messaging.transport import Delivery

_STEP_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}(\[[1-9]\d{0,2}\])?")
_IDENTITIES: Final = {"saga_id", "step", "direction"}


@dataclass(frozen=True, slots=True)
class Offer:
    """A kind of step that a participant offers to do: its commands, and the events that answer them."""

    command: type[Command]
    success: type[OutcomeEvent]
    rejection: type[Rejection] | None = None
    compensation: type[Command] | None = None
    undone: type[CompensationOutcome] | None = None

    @property
    def name(self) -> str:
        """The type of its forward command, as the ledger and the wire have it."""
        return self.command.__name__


@dataclass(frozen=True, slots=True)
class Received:
    """A command that can be understood, with the delivery that brought it."""

    delivery: Delivery
    command: Command
    work: Offer | None
    """What it asks for; None for a `SettleStep`, which tells no kind of work."""
    traceparent: str | None

    @property
    def saga_id(self) -> UUID:
        """The saga that asks."""
        return self.command.saga_id

    @property
    def step(self) -> str:
        """The step of that saga."""
        return self.command.step

    @property
    def direction(self) -> Direction:
        """Of the work asked for, or judged."""
        return self.command.direction


@dataclass(frozen=True, slots=True)
class Advance:
    """A low-water mark to be taken, with the delivery that brought it (P7)."""

    delivery: Delivery
    mark: UUID


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a batch of deliveries turned out to be."""

    received: Sequence[Received] = ()
    advances: Sequence[Advance] = ()
    failures: Sequence[Failed] = ()

    def __len__(self) -> int:
        return len(self.received) + len(self.advances) + len(self.failures)

    def singly(self) -> Iterator[Decoded]:
        """Each of them as a batch of its own."""
        yield from (Decoded(received=(one,)) for one in self.received)
        yield from (Decoded(advances=(one,)) for one in self.advances)
        yield from (Decoded(failures=(one,)) for one in self.failures)

    def failed(self, error: Exception) -> Decoded:
        """All of them as failures, those that were none with this error."""
        understood = [one.delivery for one in self.received] + [one.delivery for one in self.advances]
        return Decoded(failures=(*(Failed(delivery, error) for delivery in understood), *self.failures))


class Works:
    """All that one participant can do, by command type."""

    def __init__(self, works: Iterable[Offer]) -> None:
        self._by_command: dict[str, tuple[type[Command], Offer | None, Direction | None]] = {
            SettleStep.__name__: (SettleStep, None, None)
        }
        self._by_name: dict[str, Offer] = {}
        for work in works:
            self._by_name[work.name] = work
            self._by_command[work.name] = (work.command, work, Direction.FORWARD)
            if work.compensation is not None:
                name = work.compensation.__name__
                self._by_command[name] = (work.compensation, work, Direction.COMPENSATING)

    def named(self, command: str) -> Offer | None:
        """The work whose forward command has this type; None for what is not done here."""
        return self._by_name.get(command)

    def decode(self, delivery: Delivery) -> Received:
        """The command that a delivery holds.

        Raises:
            Poison: it is none that this participant understands.
        """
        saga_id = check_envelope(delivery)
        known = self._by_command.get(delivery.type or "")
        if known is None:
            raise Poison("unknown_type", f"{str(delivery.type)[:80]!r} is no command for this participant")
        model, work, direction = known
        try:
            command = model.model_validate_json(delivery.body)
        except ValidationError as error:
            raise Poison("undecodable", flaws_in_line(error)) from None
        if command.saga_id != saga_id:
            raise Poison("bad_envelope", "correlation_id and the body's saga_id differ")
        if not _STEP_NAME.fullmatch(command.step):
            raise Poison("undecodable", "step: not a name of at most 64 letters, digits, '_', '.' or '-'")
        if direction is not None and command.direction is not direction:
            raise Poison("wrong_direction", f"{model.__name__} is never {command.direction}")
        return Received(delivery, command, work, traceparent_of(delivery))

    def decode_all(self, deliveries: Sequence[Delivery]) -> Decoded:
        """What can be understood, in order, and what cannot."""
        received: list[Received] = []
        advances: list[Advance] = []
        failures: list[Failed] = []
        for delivery in deliveries:
            try:
                if delivery.type == AdvanceLowWaterMark.__name__:
                    advances.append(_advance(delivery))
                else:
                    received.append(self.decode(delivery))
            except Poison as poison:
                failures.append(Failed(delivery, poison))
        return Decoded(received, advances, failures)


def _advance(delivery: Delivery) -> Advance:
    check_version(delivery)
    try:
        return Advance(delivery, AdvanceLowWaterMark.model_validate_json(delivery.body).mark)
    except ValidationError as error:
        raise Poison("undecodable", flaws_in_line(error)) from None


def payload_hash(command: Command) -> bytes:
    """SHA-256 over what the command asks for: its type and business fields, the order's id among them (P2).

    Fields that have their default do not count, so that a field added later leaves old hashes as they are.
    """
    fields = command.model_dump_json(exclude=_IDENTITIES, exclude_defaults=True)
    return hashlib.sha256(f"{type(command).__name__} {fields}".encode()).digest()
