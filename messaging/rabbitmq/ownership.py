"""Whose a virtual host is, over AMQP alone (M4).

AMQP cannot read what is declared. But RabbitMQ compares an exchange's alternate exchange whenever the
exchange is declared, and names the one that stands: so the first installation's id stays there. A second
exchange, whose name has the id in it, can be looked up by users who may declare nothing.
"""

from __future__ import annotations

import re
from typing import Any, Final, Protocol
from uuid import UUID

from aiormq.abc import AbstractChannel

from contracts.routing import INSTALLATION_EXCHANGE, installation_exchange
from messaging.rabbitmq.connection import BrokerError, asking, close_quietly
from messaging.transport import ForeignBroker

_NOT_FOUND: Final = 404
_PRECONDITION_FAILED: Final = 406
_ACCESS_REFUSED: Final = 403
_KIND: Final = "fanout"
_STANDING: Final = re.compile(r"current is .*?\.([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})'")


class Channels(Protocol):
    """Where a channel for questions comes from."""

    async def plain_channel(self) -> AbstractChannel:
        """Open one. Raises BrokerError."""


async def claim(connection: Channels, installation: UUID, prefix: str) -> bool:
    """Mark the virtual host as this installation's, unless it has an owner; says whether it is marked.

    It stays without a mark where nobody has made one yet and this broker user may not.

    Raises:
        ForeignBroker: it is another installation's.
        BrokerError: the broker could not be asked.
    """
    ours, mark = prefix + installation_exchange(installation), prefix + INSTALLATION_EXCHANGE
    try:
        await _declare(connection, mark, arguments={"alternate-exchange": ours})
        await _declare(connection, ours)
    except BrokerError as error:
        if error.code == _PRECONDITION_FAILED:
            raise ForeignBroker(installation, await _owner(connection, mark)) from error
        if error.code != _ACCESS_REFUSED:
            raise
    else:
        return True
    if not await _exists(connection, mark):
        return False
    if not await _exists(connection, ours):
        raise ForeignBroker(installation, None)
    return True


async def is_claimed(connection: Channels, prefix: str) -> bool:
    """Whether somebody has marked the virtual host. Raises BrokerError."""
    return await _exists(connection, prefix + INSTALLATION_EXCHANGE)


async def is_ours(connection: Channels, installation: UUID, prefix: str) -> bool:
    """Whether the virtual host bears this installation's mark. Changes nothing. Raises BrokerError."""
    return await _exists(connection, prefix + installation_exchange(installation))


async def disclaim(connection: Channels, owner: str | None, prefix: str) -> None:
    """Take the mark of an installation away. Raises BrokerError."""
    names = [INSTALLATION_EXCHANGE, *([] if owner is None else [installation_exchange(owner)])]
    channel = await connection.plain_channel()
    try:
        for name in names:
            async with asking():
                await channel.exchange_delete(prefix + name)
    finally:
        await close_quietly(channel)


async def _declare(connection: Channels, name: str, **properties: Any) -> None:
    channel = await connection.plain_channel()
    try:
        async with asking():
            await channel.exchange_declare(name, exchange_type=_KIND, durable=True, **properties)
    finally:
        await close_quietly(channel)


async def _exists(connection: Channels, name: str) -> bool:
    try:
        await _declare(connection, name, passive=True)
    except BrokerError as error:
        if error.code == _NOT_FOUND:
            return False
        raise
    return True


async def _owner(connection: Channels, mark: str) -> str | None:
    """Whose the mark is. Asked in few words: the answer has 255 bytes, and repeats what was asked.

    None where that is not enough, in a virtual host with a very long name.
    """
    try:
        await _declare(connection, mark, arguments={"alternate-exchange": mark})
    except BrokerError as error:
        if error.code == _PRECONDITION_FAILED and (found := _STANDING.search(str(error))) is not None:
            return found.group(1)
    return None
