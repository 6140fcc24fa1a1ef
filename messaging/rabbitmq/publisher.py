"""Publishes batches in one write and tells each message's fate; never waits (M1, M2)."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from messaging.backoff import Pauses
from messaging.batches import Address, Parcel, parcels
from messaging.rabbitmq import frames
from messaging.rabbitmq.connection import (
    BrokerConnection,
    BrokerError,
    Link,
    close_quietly,
    for_ever,
)
from messaging.rabbitmq.topology import NOT_FOUND, Names
from messaging.rabbitmq.wire import Channel, Refusal
from messaging.transport import Confirm, Message, Receipt

MAX_UNCONFIRMED: Final = 10_000
"""Messages that may be on their way at once; more get UNKNOWN and are left to the relay."""

MAX_UNSENT_BYTES: Final = 16 * 1024 * 1024
"""What the socket may hold back before the broker counts as having stopped reading."""

REFUSED_FOR_S: Final = 10.0
"""How long a channel may go on being refused messages before another one is opened.

RabbitMQ remembers with each publishing channel that a quorum queue was full. Up to 3.13 it does not forget it
when the policy that limited the queue is taken away (rabbitmq-server issue 12206).
"""

REFUSAL_HOLDS_S: Final = 60.0
"""Longer than until a relay tries again."""

ASKED_AGAIN_S: Final = 60.0
"""After so long a queue is offered a batch again that did not ask for any."""

Restore = Callable[[BrokerConnection], Awaitable[None]]


class Unconfirmed:
    """Messages of one channel whose fate is open, by delivery tag in order of publishing."""

    def __init__(self) -> None:
        self._open: dict[int, tuple[UUID, Confirm, int]] = {}
        self._messages = 0
        self._oldest = 1
        self._next = 1
        self._returned: set[str] = set()

    def __len__(self) -> int:
        return self._messages

    def add(self, message_id: UUID, confirm: Confirm, parts: int = 1) -> None:
        """The next message was sent, or a batch with so many."""
        self._open[self._next] = (message_id, confirm, parts)
        self._messages += parts
        self._next += 1

    def returned(self, message_id: str | None) -> None:
        """This one came back; its confirm follows and is then no longer good news."""
        if message_id is not None:
            self._returned.add(message_id)

    def confirmed(self, confirm: frames.Confirm, receipt: Receipt) -> None:
        """The broker's word on one message, or on all up to it. Unknown tags are ignored."""
        if not confirm.multiple:
            self._confirm(confirm.tag, receipt)
            return
        first, self._oldest = self._oldest, max(self._oldest, confirm.tag + 1)
        for tag in range(first, min(confirm.tag + 1, self._next)):
            self._confirm(tag, receipt)

    def give_up(self) -> None:
        """Say of everything that nothing is known of it: no word will come any more."""
        left, self._open, self._messages = self._open, {}, 0
        for message_id, confirm, _ in left.values():
            confirm(message_id, Receipt.UNKNOWN)

    def _confirm(self, tag: int, receipt: Receipt) -> None:
        entry = self._open.pop(tag, None)
        if entry is None:
            return
        message_id, confirm, parts = entry
        self._messages -= parts
        if self._returned and str(message_id) in self._returned:
            self._returned.discard(str(message_id))
            receipt = Receipt.RETURNED
        confirm(message_id, receipt)


class RabbitMqPublisher:
    """A `Publisher` with a channel of its own, opened again whenever it is lost.

    While the channel is being opened on a live connection, messages wait for it in memory; it takes
    two round trips.
    """

    def __init__(
        self,
        link: Link,
        names: Names,
        pauses: Pauses,
        restore: Restore,
        on_returned: Callable[[], None],
        log: Any,
        is_foreign: Callable[[], bool] = lambda: False,
        has_exchange: Callable[[str], bool] = lambda name: False,
    ) -> None:
        """
        Args:
            has_exchange: whether an exchange has been declared; to no other one a batch is offered (M5).
            on_returned: called whenever a message comes back.
            is_foreign: whether the virtual host is another installation's, where nothing may be sent (M4).
        """
        self.closed = False
        self._is_foreign = is_foreign
        self._has_exchange = has_exchange
        self._declined: dict[Address, float] = {}
        """Which queues have not asked for batches, and until when none is offered, by the loop's clock."""
        self._offered: set[str] = set()
        """The message ids of batches that are on their way."""
        self._link = link
        self._names = names
        self._pauses = pauses
        self._restore = restore
        self._on_returned = on_returned
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._channel: Channel | None = None
        self._connection: BrokerConnection | None = None
        self._frame_max = 4096
        self._unconfirmed = Unconfirmed()
        self._refused_since: float | None = None
        """When the channel was first refused a message, by the loop's clock."""
        self._outdated: Channel | None = None
        """A channel in good order that is given up for a new one."""
        self._refusal: tuple[str, float] | None = None
        """Why the broker closed the last channel over a message, and when, by the loop's clock."""
        self._unusable: BrokerConnection | None = None
        """The connection on which no channel is to be had just now."""
        self._waiting: list[tuple[Message, Confirm]] = []
        self._task = self._loop.create_task(for_ever(self._keep_open, pauses, log))

    @property
    def trouble(self) -> str | None:
        """Why messages do not arrive although the broker is there: a right is missing, as a rule.

        It is over with the next confirm; or after a while, for who has nothing to send would not see that.
        """
        if self._refusal is None or self._loop.time() - self._refusal[1] > REFUSAL_HOLDS_S:
            return None
        return self._refusal[0]

    @property
    def room(self) -> int:
        """See `Publisher.room`."""
        connection = self._link.connection
        if self.closed or connection is None or connection is self._unusable or connection.blocked:
            return 0
        if self._is_foreign():
            return 0
        if self._channel is None:
            return max(0, MAX_UNCONFIRMED - len(self._waiting))
        if not self._channel.writable or self._channel.unsent_bytes > MAX_UNSENT_BYTES:
            return 0
        return max(0, MAX_UNCONFIRMED - len(self._unconfirmed))

    def publish(self, messages: Sequence[Message], confirm: Confirm) -> None:
        """See `Publisher.publish`."""
        room = self.room
        batch = [(message, confirm) for message in messages[:room]]
        if self._channel is None:
            self._waiting += batch
        elif batch:
            self._send(self._channel, batch)
        for message in messages[room:]:
            self._loop.call_soon(confirm, message.message_id, Receipt.UNKNOWN)

    async def close(self) -> None:
        """See `Publisher.close`."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self.closed = True
        channel, self._channel = self._channel, None
        self._abandon()
        if channel is not None:
            await close_quietly(channel)

    def _send(self, channel: Channel, batch: Sequence[tuple[Message, Confirm]]) -> None:
        confirms = {message.message_id: confirm for message, confirm in batch}
        self._write(channel, parcels([message for message, _ in batch], self._takes), confirms)

    def _write(self, channel: Channel, together: Sequence[Parcel], confirms: Mapping[UUID, Confirm]) -> None:
        written: list[bytes] = []
        for parcel in together:
            message = parcel.message
            confirm = (
                self._told_of_each(parcel, confirms) if parcel.is_batch else confirms[message.message_id]
            )
            try:
                written += self._frames(channel.number, message)
            except (TypeError, ValueError, OverflowError, struct.error) as error:
                self._refuse(message, confirm, error)
            else:
                self._unconfirmed.add(message.message_id, confirm, len(parcel.parts))
        channel.write(b"".join(written))

    def _takes(self, address: Address) -> bool:
        """Whether a batch is worth offering. One that no queue has asked for comes back."""
        return self._has_exchange(address.exchange) and self._declined.get(address, 0) <= self._loop.time()

    def _told_of_each(self, parcel: Parcel, confirms: Mapping[UUID, Confirm]) -> Confirm:
        """Hands the broker's word on a batch to its parts; what came back goes again, one by one."""
        self._offered.add(str(parcel.message.message_id))

        def told(message_id: UUID, receipt: Receipt) -> None:
            self._offered.discard(str(message_id))
            if receipt is Receipt.RETURNED and self._channel is not None:
                address = Address(parcel.message.exchange, parcel.message.routing_key)
                self._declined[address] = self._loop.time() + ASKED_AGAIN_S
                self._write(self._channel, [Parcel(part, (part,)) for part in parcel.parts], confirms)
                return
            for part in parcel.parts:
                confirms[part.message_id](part.message_id, receipt)

        return told

    def _frames(self, number: int, message: Message) -> list[bytes]:
        exchange = self._names.exchange(message.exchange)
        key = self._names.key(message.exchange, message.routing_key)
        method = frames.publish_method(number, exchange, key, message.mandatory)
        return [method, *frames.content(number, message, self._frame_max)]

    def _refuse(self, message: Message, confirm: Confirm, error: Exception) -> None:
        """What cannot be written as AMQP delays itself alone (M2), not the batch it came in."""
        self._log.error("message cannot be sent", message_id=str(message.message_id), error=str(error))
        self._loop.call_soon(confirm, message.message_id, Receipt.REFUSED)

    # -------------------------------------------------------------------------------------- as a Receiver

    def method(self, index: int, arguments: bytes) -> bool:
        """Confirms, by the hundred."""
        if index == frames.ACK:
            self._refusal = None
            self._unconfirmed.confirmed(frames.read_confirm(arguments), Receipt.CONFIRMED)
        elif index == frames.NACK:
            self._unconfirmed.confirmed(frames.read_confirm(arguments), Receipt.REFUSED)
            self._renew_if_refused_for_long()
        else:
            return False
        return True

    def content(self, index: int, arguments: bytes, properties: bytes, body: bytes) -> None:
        """A returned message; its confirm follows."""
        if index == frames.RETURN:
            message_id = frames.read_properties(properties).message_id
            self._unconfirmed.returned(message_id)
            if message_id not in self._offered:
                self._on_returned()

    def ended(self) -> None:
        """The channel is gone, and with it every word on what was sent."""
        outdated = self._channel is not None and self._channel is self._outdated
        self._unusable = None if outdated else self._connection
        self._channel = None
        self._abandon()

    def _renew_if_refused_for_long(self) -> None:
        now = self._loop.time()
        if self._refused_since is None:
            self._refused_since = now
        if self._channel is not None and now - self._refused_since >= REFUSED_FOR_S:
            self._outdated = self._channel
            self._channel.end()

    def _abandon(self) -> None:
        unconfirmed, self._unconfirmed = self._unconfirmed, Unconfirmed()
        unconfirmed.give_up()
        waiting, self._waiting = self._waiting, []
        for message, confirm in waiting:
            confirm(message.message_id, Receipt.UNKNOWN)

    # --------------------------------------------------------------------------------------- its own care

    async def _keep_open(self) -> None:
        """One channel's life."""
        connection = await self._link.connected()
        try:
            channel = await connection.channel(self, confirms=True)
        except BrokerError as error:
            self._unusable = connection
            self._abandon()
            self._log.warning("publisher has no channel", trouble=str(error))
        else:
            self._begin(channel, connection)
            with self._pauses.between():
                await channel.ended.wait()
            if channel is self._outdated:
                await close_quietly(channel)
                return
            self._note_refusal(channel.refusal)
        if not connection.lost.is_set():
            await self._recover(connection)
        self._unusable = None

    def _note_refusal(self, refusal: Refusal | None) -> None:
        """One over something missing is put right by what follows, and is no trouble."""
        if refusal is None or refusal.code == NOT_FOUND:
            return
        trouble = f"the broker does not take what is published: {refusal.text}"
        if self.trouble != trouble:
            self._log.warning("publisher in trouble", trouble=trouble)
        self._refusal = (trouble, self._loop.time())

    def _begin(self, channel: Channel, connection: BrokerConnection) -> None:
        if channel.ended.is_set():
            return
        self._channel, self._connection, self._frame_max = channel, connection, connection.frame_max
        self._refused_since = None
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._send(channel, waiting)

    async def _recover(self, connection: BrokerConnection) -> None:
        """The broker closed the channel: an exchange is gone, as a rule. Put things right, then go on."""
        await self._pauses.pause()
        await self._restore(connection)
